package openfeatureflags

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/memprovider"

	"github.com/holdfast-go/holdfast/degrade"
)

func flag(level string) memprovider.InMemoryFlag {
	return memprovider.InMemoryFlag{State: memprovider.Enabled, DefaultVariant: "on", Variants: map[string]any{"on": level}}
}

func disabled(f memprovider.InMemoryFlag) memprovider.InMemoryFlag {
	f.State = memprovider.Disabled
	return f
}

// client returns a client of its own domain on provider; nil = none.
func client(t *testing.T, provider openfeature.FeatureProvider) *openfeature.Client {
	t.Helper()
	if provider != nil {
		if err := openfeature.SetNamedProviderWithContextAndWait(t.Context(), t.Name(), provider); err != nil {
			t.Fatal(err)
		}
	}
	return openfeature.NewClient(t.Name())
}

func newFlags(t *testing.T, c Client) *Flags {
	t.Helper()
	f, err := New(c, Config{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLoad(t *testing.T) {
	f := newFlags(t, client(t, memprovider.NewInMemoryProvider(map[string]memprovider.InMemoryFlag{
		"degrade.checkout": flag("read-only"), "degrade.all": flag("limited"), "degrade.off": disabled(flag("offline")),
		"degrade.typo": flag("Offline"), "degrade.number": {State: memprovider.Enabled, DefaultVariant: "on", Variants: map[string]any{"on": 7}},
	})))
	set, err := f.Load(t.Context(), []string{"checkout", "off", "search"})
	want := map[string]degrade.Level{"checkout": degrade.ReadOnly, degrade.All: degrade.Limited}
	if err != nil || !maps.Equal(set.Levels, want) {
		t.Errorf("Load = %v, %v, want %v", set.Levels, err, want)
	}
	for feature, text := range map[string]string{"typo": `"Offline" is not a level`, "number": "degrade.number", "all": "for all features"} {
		if set, err := f.Load(t.Context(), []string{"checkout", feature}); err == nil || !strings.Contains(err.Error(), text) || set.Levels != nil {
			t.Errorf("Load = %v, %v, want an error with %q and no set", set, err, text)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Load(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Load = %v, want the context's end", err)
	}
}

// TestNoSilentDefaults: where OpenFeature answers with code defaults, Load refuses.
func TestNoSilentDefaults(t *testing.T) {
	if _, err := newFlags(t, client(t, openfeature.NoopProvider{})).Load(t.Context(), nil); err == nil {
		t.Error("the no-op provider's defaults were taken for flags")
	}
	for _, state := range []openfeature.State{openfeature.NotReadyState, openfeature.ErrorState, openfeature.FatalState} {
		f := newFlags(t, inState{client(t, memprovider.NewInMemoryProvider(nil)), state})
		if _, err := f.Load(t.Context(), nil); err == nil || !strings.Contains(err.Error(), string(state)) {
			t.Errorf("Load = %v in state %s, want an error that names it", err, state)
		}
	}
	f := newFlags(t, inState{client(t, memprovider.NewInMemoryProvider(nil)), openfeature.StaleState})
	if set, err := f.Load(t.Context(), []string{"a"}); err != nil || len(set.Levels) != 0 {
		t.Errorf("Load = %v, %v of a stale provider, want what it knows", set, err)
	}
	if _, err := New(nil, Config{}); err == nil {
		t.Error("a nil client was accepted")
	}
}

// inState pretends to a provider state.
type inState struct {
	*openfeature.Client
	state openfeature.State
}

func (s inState) State() openfeature.State { return s.state }

func TestControllerFollowsTheProvidersEvents(t *testing.T) {
	provider := memprovider.NewInMemoryProvider(map[string]memprovider.InMemoryFlag{})
	c, err := degrade.New(degrade.Config{Provider: newFlags(t, client(t, provider)), RefreshEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c.Feature("checkout", degrade.FeatureConfig{})
	c.Feature("search", degrade.FeatureConfig{})
	reached := make(chan struct{}, 10)
	c.Subscribe(func(e degrade.Event) {
		if e.Name == "checkout" && e.To == "limited" {
			reached <- struct{}{}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for range 200 { // the event of a change before Watch has added its handler is missed: change again
		provider.UpdateFlags(map[string]memprovider.InMemoryFlag{"degrade.checkout": flag("limited")})
		select {
		case <-reached:
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("the change of a flag was not followed")
}
