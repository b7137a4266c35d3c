package idempotency_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/holdfast-go/holdfast/idempotency"
)

// A slowNet delays or loses claims on their way.
type slowNet struct {
	*remote
	beginTakes time.Duration // before the reply, whatever the context says
	lateBegin  time.Duration // the reply is lost at once, the claim arrives later
}

func (s *slowNet) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	if s.lateBegin > 0 {
		late := s.lateBegin
		s.lateBegin = 0
		go func() {
			time.Sleep(late)
			_, _ = s.remote.Begin(context.Background(), c)
		}()
		return idempotency.Answer{}, errDown
	}
	a, err := s.remote.Begin(ctx, c)
	time.Sleep(s.beginTakes)
	return a, err
}

func TestAClaimThatArrivesLateBlocksNobody(t *testing.T) {
	bubble(t, "behind its own release", func(t *testing.T) {
		s := &slowNet{remote: newRemote(t), lateBegin: 2 * time.Second}
		g := newGuard(t, s, idempotency.Config{OnAbandoned: idempotency.PolicyRefuse})
		_, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
		wantError(t, err, idempotency.ErrUnavailable)
		time.Sleep(10 * time.Second)
		v, err := idempotency.Do(t.Context(), g, key("a"), value(1, nil))
		wantValue(t, v, err, 1)
	})
}

func TestASlowClaimFencesItselfInTime(t *testing.T) {
	bubble(t, "before others may take the key", func(t *testing.T) {
		s := &slowNet{remote: newRemote(t), beginTakes: 20 * time.Second}
		g := newGuard(t, s, idempotency.Config{})
		start := time.Now()
		_ = g.Do(t.Context(), key("a"), func(ctx context.Context) error {
			s.setDown(true)
			<-ctx.Done()
			if took, want := time.Since(start), 30*time.Second-7500*time.Millisecond/2; took > want {
				t.Errorf("cancelled %v after the claim was sent, want at most %v", took, want)
			}
			return context.Cause(ctx)
		})
	})
}

func TestRefusedCallsCostNoResult(t *testing.T) {
	bubble(t, "in an outage", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		v, err := idempotency.Do(t.Context(), g, key("a"), func(context.Context) (int, error) {
			s.setDown(true)
			var wg sync.WaitGroup
			for i := range 1500 {
				wg.Go(func() { _ = g.Do(t.Context(), key(fmt.Sprint("refused ", i)), nil) })
			}
			wg.Wait()
			return 1, nil
		})
		wantValue(t, v, err, 1)
		time.Sleep(10 * time.Second)
		s.setDown(false)
		time.Sleep(time.Minute)
		v, err = idempotency.Do(t.Context(), g, key("a"), never[int](t))
		wantValue(t, v, err, 1)
	})
}

func TestConcurrentReplays(t *testing.T) {
	bubble(t, "of a call that is done long since", func(t *testing.T) {
		s := &slowNet{remote: newRemote(t)}
		g := newGuard(t, s, idempotency.Config{})
		replayed(t, g, "a", 1)
		s.beginTakes = 10 * time.Millisecond
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				v, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
				if err != nil || v != 1 {
					t.Errorf("Do = %v, %v, want 1", v, err)
				}
			})
		}
		wg.Wait()
	})
	bubble(t, "of a call that runs elsewhere", func(t *testing.T) {
		s := &slowNet{remote: newRemote(t), beginTakes: 10 * time.Millisecond}
		claim(t, s, key("a"), time.Minute)
		g := newGuard(t, s, idempotency.Config{})
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
				if e := wantError(t, err, idempotency.ErrInFlight); e.Wait <= 0 {
					t.Errorf("no wait in %v", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 20*time.Millisecond {
			t.Errorf("a hundred refusals took %v: they queue", took)
		}
	})
}

// A fenced success whose successor's result cannot be handed on stays what it is.
func TestAFencedSuccessIsNoError(t *testing.T) {
	for name, succeed := range map[string]func(context.Context, *idempotency.Guard){
		"too large": func(ctx context.Context, g *idempotency.Guard) {
			_, _ = idempotency.Do(ctx, g, key("a"), value(strings.Repeat("x", 1000), nil))
		},
		"another type": func(ctx context.Context, g *idempotency.Guard) {
			_, _ = idempotency.Do(ctx, g, key("a"), value(2, nil))
		},
		"none": func(ctx context.Context, g *idempotency.Guard) {
			_ = g.Do(ctx, key("a"), func(context.Context) error { return nil })
		},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newRemote(t)
			at := func(epoch uint64) *idempotency.Guard {
				return newGuard(t, s, idempotency.Config{MaxBytes: 100, Epoch: func() (uint64, time.Time) { return epoch, time.Time{} }})
			}
			old, next := at(4), at(5)
			v, info, err := idempotency.DoInfo(t.Context(), old, key("a"), func(ctx context.Context) (string, error) {
				succeed(context.Background(), next)
				return "mine", nil
			})
			if v != "mine" || err != nil || !info.Fenced || info.Replayed {
				t.Errorf("Do = %q, %+v, %v, want its own result, fenced", v, info, err)
			}
		})
	}
}

func TestLocalHeartbeatsSayNothingOfTheStore(t *testing.T) {
	bubble(t, "while it is out", func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{OnOutage: idempotency.OutageLocal, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
		s.setDown(true)
		_ = g.Do(t.Context(), key("a"), func(context.Context) error {
			time.Sleep(time.Minute)
			if metrics(t, reader)["store.up"] != 0 {
				t.Error("a store that is out counts as up")
			}
			return nil
		})
	})
}
