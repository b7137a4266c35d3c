package breaker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// take occupies n places.
func take(t *testing.T, h *Bulkhead, n int) []Permit {
	t.Helper()
	var permits []Permit
	for range n {
		p, err := h.Allow()
		if err != nil {
			t.Fatal(err)
		}
		permits = append(permits, p)
	}
	return permits
}

func wantBulkhead(t *testing.T, h *Bulkhead, inFlight, queued int) {
	t.Helper()
	if s := h.Stats(); s.InFlight != inFlight || s.Queued != queued {
		t.Fatalf("%d in flight, %d queued, want %d, %d", s.InFlight, s.Queued, inFlight, queued)
	}
}

func TestBulkheadRefusesAtItsLimit(t *testing.T) {
	h := must(NewBulkhead(BulkheadConfig{Name: "db", MaxInFlight: 2}))
	permits := take(t, h, 2)
	err := h.Do(t.Context(), func(context.Context) error { t.Error("ran"); return nil })
	full, _ := errors.AsType[*FullError](err)
	if full == nil || !errors.Is(err, ErrFull) || !full.NotRun() || full.OutcomeUnknown() || !full.LocalRefusal() || full.RetryAfter() != time.Second {
		t.Errorf("Do = %#v, want a FullError that says not run, retry in 1s", err)
	}
	if got, want := err.Error(), `bulkhead "db": full, 2 in flight, 0 waiting, retry in 1s`; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if _, err := h.Acquire(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("Acquire = %v", err)
	}
	if _, err := h.Allow(); !errors.Is(err, ErrFull) {
		t.Errorf("Allow = %v", err)
	}
	permits[0].Done(nil)
	if err := h.Do(t.Context(), fail); err != errBoom {
		t.Errorf("Do with a place = %v, want the call's error", err)
	}
	permits[1].DoneAs(VerdictFailure, nil)
	wantBulkhead(t, h, 0, 0)
	if got := h.Stats().Refused; got != 3 {
		t.Errorf("refused %d, want 3", got)
	}
}

func TestBulkheadPermitComesBack(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("x") }, "Goexit": runtime.Goexit} {
		h := must(NewBulkhead(BulkheadConfig{MaxInFlight: 1}))
		abandon(func() { _ = h.Do(context.Background(), func(context.Context) error { leave(); return nil }) })
		if err := h.Do(t.Context(), ok); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

func TestBulkheadDoneTwicePanics(t *testing.T) {
	h := must(NewBulkhead(BulkheadConfig{}))
	p := take(t, h, 1)[0]
	p.Done(nil)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	p.Done(nil)
}

func TestBulkheadOrder(t *testing.T) {
	tests := []struct {
		order Order
		want  string
	}{{OrderFIFO, "[1 2 3]"}, {OrderLIFO, "[3 2 1]"}}
	for _, tt := range tests {
		t.Run(tt.order.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := must(NewBulkhead(BulkheadConfig{MaxInFlight: 1, MaxQueue: 3, MaxWait: Off, Order: tt.order}))
				first := take(t, h, 1)[0]
				var served []int
				for i := range 3 {
					go h.Do(context.Background(), func(context.Context) error { served = append(served, i+1); return nil })
					synctest.Wait()
				}
				wantBulkhead(t, h, 1, 3)
				if err := h.Do(t.Context(), ok); !errors.Is(err, ErrFull) {
					t.Errorf("a fourth waits: %v", err)
				}
				if _, err := h.Allow(); !errors.Is(err, ErrFull) {
					t.Errorf("Allow waits or overtakes: %v", err)
				}
				first.Done(nil)
				synctest.Wait()
				if got := fmt.Sprint(served); got != tt.want {
					t.Errorf("served %s, want %s", got, tt.want)
				}
				wantBulkhead(t, h, 0, 0)
			})
		})
	}
}

func TestBulkheadMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := must(NewBulkhead(BulkheadConfig{Name: "db", MaxInFlight: 1, MaxQueue: 1, MaxWait: 3 * time.Second}))
		permit := take(t, h, 1)[0]
		start := time.Now()
		err := h.Do(t.Context(), ok)
		if took := time.Since(start); took != 3*time.Second || !errors.Is(err, ErrFull) {
			t.Errorf("Do = %v after %v, want ErrFull after 3s", err, took)
		}
		if got, want := err.Error(), `bulkhead "db": full for 3s, 1 in flight, 1 waiting, retry in 1s`; got != want {
			t.Errorf("text %q, want %q", got, want)
		}
		wantBulkhead(t, h, 1, 0)
		time.AfterFunc(time.Second, func() { permit.Done(nil) })
		if err := h.Do(t.Context(), ok); err != nil {
			t.Errorf("served within MaxWait: %v", err)
		}
		if got := h.Stats().TimedOut; got != 1 {
			t.Errorf("timed out %d, want 1", got)
		}
	})
}

func TestBulkheadWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := must(NewBulkhead(BulkheadConfig{Name: "db", MaxInFlight: 1, MaxQueue: 5, MaxWait: Off}))
		permit := take(t, h, 1)[0]
		why := errors.New("user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(why) })
		_, err := h.Acquire(ctx)
		if !errors.Is(err, ErrFull) || !errors.Is(err, why) {
			t.Errorf("Acquire = %v, want ErrFull and the cause", err)
		}
		if got, want := err.Error(), `bulkhead "db": gave up after 1h0m0s, 1 in flight, 1 waiting: user left`; got != want {
			t.Errorf("text %q, want %q", got, want)
		}
		permit.Done(nil)
		wantBulkhead(t, h, 0, 0)
		if got := h.Stats().GaveUp; got != 1 {
			t.Errorf("gave up %d, want 1", got)
		}
	})
}

// TestBulkheadStepBackFreesNothing plays by hand a goroutine that is between the two steps of tryAcquire: what it
// undoes was never a place, and no waiter may get it.
func TestBulkheadStepBackFreesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := must(NewBulkhead(BulkheadConfig{MaxInFlight: 1, MaxQueue: 1, MaxWait: Off}))
		permit := take(t, h, 1)[0]
		served := false
		go h.Do(context.Background(), func(context.Context) error { served = true; return nil })
		synctest.Wait()
		h.state.Add(1)
		if h.stepBack() {
			t.Error("stepping back found a place in a full bulkhead")
		}
		synctest.Wait()
		if served {
			t.Error("a waiter runs beside the only permit")
		}
		permit.Done(nil)
		synctest.Wait()
		if !served {
			t.Error("the waiter was forgotten")
		}
		wantBulkhead(t, h, 0, 0)
	})
}

// TestBulkheadUnderRace: never more in flight than allowed, no place lost, nobody forgotten.
func TestBulkheadUnderRace(t *testing.T) {
	for _, order := range []Order{OrderFIFO, OrderLIFO} {
		h := must(NewBulkhead(BulkheadConfig{MaxInFlight: 3, MaxQueue: 8, MaxWait: 200 * time.Microsecond, Order: order}))
		var in, most, ran atomic.Int64
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(uint64(g), 3))
				for range 500 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(400))*time.Microsecond)
					abandonHere(func() {
						_ = h.Do(ctx, func(context.Context) error {
							n := in.Add(1)
							defer in.Add(-1)
							for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
							}
							ran.Add(1)
							if random.IntN(100) == 0 {
								panic("x")
							}
							runtime.Gosched()
							return nil
						})
					})
					cancel()
				}
			})
		}
		wg.Wait()
		if most.Load() > 3 || ran.Load() == 0 {
			t.Errorf("%v: %d in flight at once, want 3 at most; %d ran", order, most.Load(), ran.Load())
		}
		wantBulkhead(t, h, 0, 0)
		take(t, h, 3)
	}
}

func TestBulkheadAllocations(t *testing.T) {
	ctx := context.Background()
	h, full := must(NewBulkhead(BulkheadConfig{})), must(NewBulkhead(BulkheadConfig{MaxInFlight: 1}))
	take(t, full, 1)
	tests := map[string]func(){
		"Do":       func() { _ = h.Do(ctx, ok) },
		"two-step": func() { p, _ := h.Acquire(ctx); p.Done(nil) },
		"refusal":  func() { _ = full.Do(ctx, ok) },
	}
	for name, f := range tests {
		if got := testing.AllocsPerRun(200, f); got != 0 {
			t.Errorf("%s allocates %v times, want 0", name, got)
		}
	}
}

// While a second Done is being noticed a bulkhead looks full. Who begins to wait in that moment must not be forgotten.
func TestBulkheadDoneTwiceForgetsNobody(t *testing.T) {
	h := must(NewBulkhead(BulkheadConfig{MaxInFlight: 1, MaxQueue: 1, MaxWait: Off}))
	below := h.state.Add(^uint64(0)) // what the second Done does first
	w := &waiter{ready: make(chan struct{})}
	if place, err := h.enqueue(w); place == nil || err != nil {
		t.Fatalf("enqueue = %v, %v, want a place in the queue", place, err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		h.handOver(below)
	}()
	if s := h.Stats(); !w.granted || s.InFlight != 1 || s.Queued != 0 {
		t.Errorf("granted %t, %+v, want the place", w.granted, s)
	}
}
