//go:build unix

package servers

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A picked port can be taken by a stranger between the look and the start.
func TestPickedPortTakenMeanwhile(t *testing.T) {
	t.Parallel()
	var tried []int
	s := (&Server{address: loopback, dir: t.TempDir()}).init(Place{Name: "sleeper", Dir: t.TempDir()})
	s.answers = func(context.Context) error {
		if len(tried) == 1 {
			return errors.New("not mine")
		}
		return nil
	}
	s.argv = func(port int) []string {
		tried = append(tried, port)
		if len(tried) > 1 {
			return []string{"/bin/sleep", "600"}
		}
		ln, err := net.Listen("tcp", loopback(port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return []string{"/bin/false"}
	}
	if err := s.open(t.Context()); err != nil {
		t.Fatalf("open: %v", err)
	}
	if len(tried) != 2 || s.Addr() != loopback(tried[1]) {
		t.Errorf("tried ports %v and lives at %s", tried, s.Addr())
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if s.Proc().Alive() {
		t.Error("runs after Close")
	}
}

func TestLeaseExcludesTheSamePort(t *testing.T) {
	t.Parallel()
	l, err := leasePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(l.file.Name())
	if second := tryLease(dir, l.port); second != nil {
		t.Errorf("port %d leased twice", l.port)
	}
	l.release()
	again := tryLease(dir, l.port)
	if again == nil {
		t.Fatalf("port %d not free after its release", l.port)
	}
	again.release()
}

func TestFolderThatTheAccountCannotReach(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	me := &account{uid: os.Getuid(), gid: os.Getgid()}
	base := filepath.Join(closed, "pg")
	got, err := me.folder(base)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(got)
	if got == base || !reachable(got) {
		t.Errorf("folder = %s, want one that everybody can reach", got)
	}
	if again, err := me.folder(base); again != got || err != nil {
		t.Errorf("folder = %s, %v, want %s again: a crash must not leave another behind each time", again, err, got)
	}
}

func TestDebianPackagesOnlyForRoot(t *testing.T) {
	bin := t.TempDir()
	ran := filepath.Join(bin, "ran")
	if err := os.WriteFile(filepath.Join(bin, "apt-get"), []byte("#!/bin/sh\n: > "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	t.Setenv("HOLDFAST_INSTALL", "")
	in := &installer{out: new(bytes.Buffer)}
	err := in.redis(t.Context())
	if want := "redis-server is missing: only root may install it; run: apt-get install redis-server"; err == nil || err.Error() != want {
		t.Errorf("redis = %v, want %s", err, want)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("apt-get was run by somebody who is not root")
	}
}

// An installation that is interrupted leaves no half-made folder that a later run would take.
func TestInterruptedInstallation(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache) // where macOS keeps its caches
	ctx, cancel := context.WithCancelCause(t.Context())
	in := &installer{out: new(bytes.Buffer)}
	err := in.build(ctx, "npm", "fauxqs", func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "node_modules"), 0o755); err != nil {
			t.Fatal(err)
		}
		cancel(errInterrupted)
		return in.run(ctx, dir, "sleep", "600")
	})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("build = %v, want %v", err, errInterrupted)
	}
	final, err := cached("npm", "fauxqs")
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(final)); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestFailedInstallationQuotesItsEnd(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	in := &installer{out: new(bytes.Buffer)}
	err := in.build(t.Context(), "npm", "fauxqs", func(dir string) error {
		return in.run(t.Context(), dir, "sh", "-c", "echo network unreachable >&2; exit 7")
	})
	want := "fauxqs is missing: sh -c: exit status 7 (it ends: network unreachable)"
	if err == nil || err.Error() != want {
		t.Errorf("build = %v, want %s", err, want)
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "''", "a b": "'a b'", "it's": `'it'\''s'`} {
		if got := quote(text); got != want {
			t.Errorf("quote(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	if got := redact("postgres://holdfast:secret@127.0.0.1:1/postgres"); strings.Contains(got, "secret") {
		t.Errorf("redact = %s", got)
	}
	if got := redact("127.0.0.1:6379"); got != "127.0.0.1:6379" {
		t.Errorf("redact = %s", got)
	}
}

// Between fork and exec a child holds every open file of its parent. A look at a port that left
// such a copy of a listener behind would make the server's own listen fail.
func TestLeasedPortCanBeListenedOnWhileProcessesStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				exec.Command("/bin/true").Run() //nolint:errcheck // only that it forks matters
			}
		})
	}
	for range 500 {
		l, err := leasePort()
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", loopback(l.port))
		if err != nil {
			t.Fatalf("leased %d: %v", l.port, err)
		}
		ln.Close()
		l.release()
	}
}
