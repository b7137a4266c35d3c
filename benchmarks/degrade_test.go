package benchmarks

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/memprovider"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/degrade/shed"
)

// backend is a flag provider that can be lost.
type backend struct{ lost atomic.Bool }

func (b *backend) Load(context.Context, []string) (degrade.FlagSet, error) {
	if b.lost.Load() {
		return degrade.FlagSet{}, errors.New("unreachable")
	}
	return degrade.FlagSet{Levels: map[string]degrade.Level{}}, nil
}

// newFeature returns a feature whose controller runs until b ends.
func newFeature(b *testing.B, up bool) (*degrade.Controller, *degrade.Feature) {
	b.Helper()
	provider := &backend{}
	provider.lost.Store(!up)
	c, err := degrade.New(degrade.Config{Provider: provider})
	if err != nil {
		b.Fatal(err)
	}
	f := c.Feature("checkout", degrade.FeatureConfig{Reads: c.Dependency("db", degrade.DependencyConfig{})})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("Run = %v", err)
		}
	})
	return c, f
}

var (
	loads     atomic.Uint32
	sinkLevel degrade.Level
	sinkInt   int
	sinkErr   error
)

// measure runs op serially and in parallel.
func measure(b *testing.B, name string, op func()) {
	b.Run(name+"/serial", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			op()
		}
	})
	b.Run(name+"/parallel", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				op()
			}
		})
	})
}

// The floor of Level and of a shed decision, and Level: loops of their own, so that what is measured is inlined as in a service.
func BenchmarkDegradeLevel(b *testing.B) {
	b.Run("floor-atomic-load", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			sinkLevel = degrade.Level(loads.Load())
		}
	})
	for _, state := range []string{"backend-up", "backend-down"} {
		_, f := newFeature(b, state == "backend-up")
		b.Run("holdfast-"+state, func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				sinkLevel = f.Level()
			}
		})
	}
	ctx := context.Background()
	client := openFeature(b)
	empty := openfeature.EvaluationContext{}
	b.Run("openfeature-memprovider", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			if client.String(ctx, "checkout", "normal", empty) != "normal" {
				b.Fatal("wrong")
			}
		}
	})
	b.Run("openfeature-memprovider-bool", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			if client.Boolean(ctx, "degraded", true, empty) {
				b.Fatal("wrong")
			}
		}
	})
}

func openFeature(b *testing.B) *openfeature.Client {
	b.Helper()
	provider := memprovider.NewInMemoryProvider(map[string]memprovider.InMemoryFlag{
		"checkout": {State: memprovider.Enabled, DefaultVariant: "on", Variants: map[string]any{"on": "normal"}},
		"degraded": {State: memprovider.Enabled, DefaultVariant: "off", Variants: map[string]any{"off": false}},
	})
	if err := openfeature.SetNamedProviderWithContextAndWait(context.Background(), b.Name(), provider); err != nil {
		b.Fatal(err)
	}
	return openfeature.NewClient(b.Name())
}

// closure is called through a variable, as Read calls what it is given.
var closure func(context.Context) (int, error)

// BenchmarkDegradeRead compares Read at Normal with the call of a closure, both with a captured variable.
func BenchmarkDegradeRead(b *testing.B) {
	ctx := context.Background()
	local := 1
	closure = func(context.Context) (int, error) { return local, nil }
	b.Run("floor-closure", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			sinkInt, _ = closure(ctx)
		}
	})
	for _, state := range []string{"backend-up", "backend-down"} {
		_, f := newFeature(b, state == "backend-up")
		b.Run("holdfast-"+state, func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				sinkInt, _ = degrade.Read(ctx, f, func(context.Context) (int, error) { return local, nil }, func(context.Context) (int, error) { return 0, nil })
			}
		})
	}
	_, f := newFeature(b, true)
	b.Run("holdfast-write", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			sinkInt, _ = degrade.Write(ctx, f, func(context.Context) (int, error) { return local, nil }, nil)
		}
	})
	b.Run("holdfast-allow", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			if f.Allow(ctx, degrade.OpWrite) != nil {
				b.Fatal("refused")
			}
		}
	})
}

// BenchmarkDegradeShed measures the decision alone, an admission that counts the request in, with and without its Done, and a refusal.
func BenchmarkDegradeShed(b *testing.B) {
	ctx := context.Background()
	b.Run("floor-atomic-load", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			sinkLevel = degrade.Level(loads.Load())
		}
	})
	b.Run("floor-atomic-add", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			loads.Add(0)
		}
	})
	s := newShedder(b, 1000)
	b.Run("decide/serial", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			if !s.Allows(shed.Critical) {
				b.Fatal("refused")
			}
		}
	})
	measure(b, "admit-and-done", func() {
		if s.AdmitClass(ctx, shed.Critical) == nil {
			s.Done()
		}
	})
	decide := newShedder(b, 1<<30)
	b.Run("admit/serial", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			_ = decide.AdmitClass(ctx, shed.CriticalPlus)
		}
	})
	full := newShedder(b, 1)
	_ = full.AdmitClass(ctx, shed.Critical)
	b.Run("refuse/serial", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			sinkErr = full.AdmitClass(ctx, shed.Sheddable)
		}
	})
	b.Run("refuse/parallel", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = full.AdmitClass(ctx, shed.Sheddable)
			}
		})
	})
}

func newShedder(b *testing.B, limit int) *shed.Shedder {
	b.Helper()
	s, err := shed.New(shed.Config{MaxInFlight: limit, MinAdmit: shed.None})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkDegradeMiddleware(b *testing.B) {
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	w, r := discard{http.Header{}}, httptest.NewRequest("POST", "/orders", nil)
	measure(b, "floor-handler", func() { next.ServeHTTP(w, r) })
	for _, state := range []string{"backend-up", "backend-down"} {
		c, f := newFeature(b, state == "backend-up")
		levels, err := degradehttp.Middleware(c, degradehttp.Config{Feature: f})
		if err != nil {
			b.Fatal(err)
		}
		h := levels(next)
		measure(b, "degradehttp-"+state, func() { h.ServeHTTP(w, r) })
	}
	h := newShedder(b, 1000).Middleware(next)
	measure(b, "shed", func() { h.ServeHTTP(w, r) })
}
