package flags

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
)

type levels = map[string]degrade.Level

func wantLevels(t *testing.T, p degrade.Provider, want levels, features ...string) {
	t.Helper()
	if set, err := p.Load(t.Context(), features); err != nil || !maps.Equal(set.Levels, want) {
		t.Errorf("Load = %v, %v, want %v", set.Levels, err, want)
	}
}

func wantError(t *testing.T, p degrade.Provider, text string, features ...string) {
	t.Helper()
	if set, err := p.Load(t.Context(), features); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("Load = %v, %v, want an error with %q", set, err, text)
	}
}

func TestStatic(t *testing.T) {
	from := levels{"a": degrade.Limited}
	p := Static(from)
	from["b"] = degrade.Offline
	wantLevels(t, p, levels{"a": degrade.Limited})
	wantLevels(t, Static(nil), levels{})
}

func TestEnv(t *testing.T) {
	t.Setenv("SHOP_CHECK_OUT", "read-only")
	t.Setenv("SHOP_ALL", "limited")
	t.Setenv("SHOP_EMPTY", "")
	t.Setenv("SHOP_CONFIRM", "true")
	p := Env("SHOP_")
	wantLevels(t, p, levels{"check-out": degrade.ReadOnly, degrade.All: degrade.Limited}, "check-out", "empty", "unset")
	if set, _ := p.Load(t.Context(), nil); !set.Confirm {
		t.Error("not confirmed")
	}
	wantError(t, p, `both "check-out" and "check.out"`, "check-out", "check.out")
	wantError(t, p, `both "*" and "all"`, "all")
	t.Setenv("SHOP_BAD", "Offline")
	wantError(t, p, "SHOP_BAD", "bad", "check-out")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flags.json")
	p := File(path)
	wantError(t, p, "no such file")
	write(t, path, `{"levels":{"a":"limited"}}`)
	wantLevels(t, p, levels{"a": degrade.Limited})
	write(t, path, `{"levels":{"a":"lim`)
	wantError(t, p, "flags.json")
	wantError(t, p, "flags.json") // again: an error is not cached as a set
	write(t, path, strings.Repeat(" ", maxFile+1))
	wantError(t, p, "above the limit")
	write(t, path, `{"levels":{}}`)
	wantLevels(t, p, levels{})
	wantError(t, File(filepath.Dir(path)), "directory")
}

// TestConfigMapSwap replaces what a chain of symbolic links leads to, as a kubelet does.
func TestConfigMapSwap(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1_700_000_000, 0)
	for version, content := range map[string]string{"v1": `{"levels":{"a":"limited"}}`, "v2": `{"levels":{"a":"offline"}}`} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, version, "flags.json")
		write(t, file, content) // both 26 bytes, and of the same second
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) {
		next := filepath.Join(dir, "..data_tmp")
		if err := errors.Join(os.Symlink(to, next), os.Rename(next, filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	if err := os.Symlink(filepath.Join("..data", "flags.json"), filepath.Join(dir, "flags.json")); err != nil {
		t.Fatal(err)
	}
	p := File(filepath.Join(dir, "flags.json"))
	wantLevels(t, p, levels{"a": degrade.Limited})
	link("v2")
	wantLevels(t, p, levels{"a": degrade.Offline})
}

// TestRewriteWithinTheClocksGrain: same file, size and time, other content is seen after a minute.
func TestRewriteWithinTheClocksGrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "flags.json")
		at := time.Unix(1_700_000_000, 0)
		rewrite := func(content string) {
			write(t, path, content)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		rewrite(`{"levels":{"a":"limited"}}`)
		p := File(path)
		wantLevels(t, p, levels{"a": degrade.Limited})
		rewrite(`{"levels":{"a":"offline"}}`)
		wantLevels(t, p, levels{"a": degrade.Limited})
		time.Sleep(reread)
		wantLevels(t, p, levels{"a": degrade.Offline})
	})
}

type failing struct{ err error }

func (f failing) Load(context.Context, []string) (degrade.FlagSet, error) {
	return degrade.FlagSet{}, f.err
}

type watching struct {
	failing
	end chan error
}

func (w watching) Watch(ctx context.Context, changed func()) error {
	changed()
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.end:
		return err
	}
}

func TestChain(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	p, err := Chain(failing{one}, Static(levels{"a": degrade.Limited}), failing{two})
	if err != nil {
		t.Fatal(err)
	}
	wantLevels(t, p, levels{"a": degrade.Limited})
	p, _ = Chain(failing{one}, failing{two})
	if _, err := p.Load(t.Context(), nil); !errors.Is(err, one) || !errors.Is(err, two) {
		t.Errorf("Load = %v, want both errors", err)
	}
	if _, err := Chain(); err == nil {
		t.Error("an empty chain was accepted")
	}
	if _, err := Chain(Static(nil), nil); err == nil {
		t.Error("a nil provider was accepted")
	}
}

func TestChainWatchesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan error)
		p, _ := Chain(watching{end: ends}, Static(nil), watching{end: make(chan error)})
		hints := make(chan struct{}, 10)
		done := make(chan error)
		go func() { done <- p.(degrade.Watcher).Watch(t.Context(), func() { hints <- struct{}{} }) }()
		synctest.Wait()
		if len(hints) != 2 {
			t.Errorf("%d hints, want one from each", len(hints))
		}
		lost := errors.New("lost")
		ends <- lost
		if err := <-done; !errors.Is(err, lost) {
			t.Errorf("Watch = %v, want %v", err, lost)
		}
		p, _ = Chain(Static(nil))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.(degrade.Watcher).Watch(ctx, nil); err != nil {
			t.Errorf("Watch = %v", err)
		}
	})
}

// flaky is a provider that can be lost.
type flaky struct {
	lost bool
	set  levels
}

func (f *flaky) Load(context.Context, []string) (degrade.FlagSet, error) {
	if f.lost {
		return degrade.FlagSet{}, errors.New("lost")
	}
	return degrade.FlagSet{Levels: f.set}, nil
}

// TestChainDoesNotChangeFlagsWhenABackendIsLost: later providers are for the start.
func TestChainDoesNotChangeFlagsWhenABackendIsLost(t *testing.T) {
	backend := &flaky{lost: true, set: levels{"a": degrade.Offline}}
	p, err := Chain(backend, Static(nil))
	if err != nil {
		t.Fatal(err)
	}
	wantLevels(t, p, levels{})
	backend.lost = false
	wantLevels(t, p, levels{"a": degrade.Offline})
	backend.lost = true
	wantError(t, p, "lost")
	backend.lost = false
	wantLevels(t, p, levels{"a": degrade.Offline})
}
