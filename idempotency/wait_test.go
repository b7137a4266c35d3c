package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// crowd makes n calls of key a over the guards and returns how often the function ran and the values.
func crowd(t *testing.T, n int, fn func(context.Context) (int, error), guards ...*idempotency.Guard) (values []int, errs []error) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			v, err := idempotency.Do(t.Context(), guards[i%len(guards)], key("a"), fn)
			mu.Lock()
			defer mu.Unlock()
			values, errs = append(values, v), append(errs, err)
		})
	}
	wg.Wait()
	return values, errs
}

func TestRow23Waiters(t *testing.T) {
	bubble(t, "all get the one result, here for one trip each way", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{Wait: time.Minute})
		var runs atomic.Int32
		values, errs := crowd(t, 50, func(context.Context) (int, error) {
			time.Sleep(10 * time.Second)
			return int(runs.Add(1)), nil
		}, g)
		for i, v := range values {
			wantValue(t, v, errs[i], 1)
		}
		if s.count("begin") != 1 || s.count("complete") != 1 {
			t.Errorf("%d begins, %d completes, want 1 and 1", s.count("begin"), s.count("complete"))
		}
	})
	bubble(t, "over several processes", func(t *testing.T) {
		s := newRemote(t)
		var runs atomic.Int32
		values, errs := crowd(t, 40, func(context.Context) (int, error) {
			time.Sleep(10 * time.Second)
			return int(runs.Add(1)), nil
		}, newGuard(t, s, idempotency.Config{Wait: time.Minute}), newGuard(t, s, idempotency.Config{Wait: idempotency.Unlimited}), newGuard(t, s, idempotency.Config{Wait: time.Minute}))
		for i, v := range values {
			wantValue(t, v, errs[i], 1)
		}
	})
	bubble(t, "one successor at a time when owners fail", func(t *testing.T) {
		s := newRemote(t)
		var running, runs, together atomic.Int32
		_, errs := crowd(t, 10, func(context.Context) (int, error) {
			if running.Add(1) > 1 {
				together.Add(1)
			}
			defer running.Add(-1)
			time.Sleep(time.Second)
			if runs.Add(1) < 5 {
				return 0, errShop
			}
			return 1, nil
		}, newGuard(t, s, idempotency.Config{Wait: time.Minute}), newGuard(t, s, idempotency.Config{Wait: time.Minute}))
		failed := 0
		for _, err := range errs {
			if err != nil {
				failed++
			}
		}
		if failed != 4 || runs.Load() != 5 || together.Load() != 0 {
			t.Errorf("%d failed, %d runs, %d overlaps, want 4, 5, 0", failed, runs.Load(), together.Load())
		}
	})
	bubble(t, "a store that wakes is asked once more at the end", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{})
		owner, waiter := newGuard(t, m, idempotency.Config{}), newGuard(t, m, idempotency.Config{Wait: time.Hour})
		start := time.Now()
		go owner.Do(t.Context(), key("a"), func(context.Context) error { time.Sleep(1234 * time.Millisecond); return nil })
		synctest.Wait()
		if err := waiter.Do(t.Context(), key("a"), nil); err != nil || time.Since(start) != 1234*time.Millisecond {
			t.Errorf("waiter = %v after %v, want nil at the owner's end", err, time.Since(start))
		}
	})
	bubble(t, "patience and contexts end", func(t *testing.T) {
		s := newRemote(t)
		here, there := newGuard(t, s, idempotency.Config{Wait: 5 * time.Second}), newGuard(t, s, idempotency.Config{Wait: 5 * time.Second})
		go here.Do(t.Context(), key("a"), func(context.Context) error { time.Sleep(time.Minute); return nil })
		synctest.Wait()
		for _, g := range []*idempotency.Guard{here, there} {
			start := time.Now()
			wantError(t, g.Do(t.Context(), key("a"), nil), idempotency.ErrInFlight)
			if took := time.Since(start); took < 5*time.Second || took > 5*time.Second+100*time.Millisecond {
				t.Errorf("waited %v, want 5s", took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start = time.Now()
			err := g.Do(ctx, key("a"), nil)
			cancel()
			if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, idempotency.ErrInFlight) {
				t.Errorf("waited %v and got %v, want the deadline after 1s", took, err)
			}
		}
		time.Sleep(time.Minute)
	})
	bubble(t, "a call made from within its own call is refused", func(t *testing.T) {
		g := newGuard(t, newRemote(t), idempotency.Config{Wait: idempotency.Unlimited})
		err := g.Do(t.Context(), key("a"), func(ctx context.Context) error {
			return g.Do(ctx, key("b"), func(ctx context.Context) error { return g.Do(ctx, key("a"), nil) })
		})
		wantError(t, err, idempotency.ErrInFlight)
	})
	bubble(t, "an abandoned key is taken soon after its lease", func(t *testing.T) {
		s := newRemote(t)
		claim(t, s, key("a"), 10*time.Second)
		start := time.Now()
		g := newGuard(t, s, idempotency.Config{Wait: time.Minute})
		if err := g.Do(t.Context(), key("a"), func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 10*time.Second || took > 10*time.Second+200*time.Millisecond {
			t.Errorf("taken after %v, want just over 10s", took)
		}
	})
}

func TestRow24MemoryFull(t *testing.T) {
	m := newMemory(t, idempotency.MemoryConfig{MaxEntries: 3})
	for _, id := range []string{"done 1", "done 2"} {
		h := claim(t, m, key(id), time.Minute)
		_, _ = m.Complete(t.Context(), idempotency.Completion{Holder: h, Result: []byte("x"), Retention: time.Hour})
	}
	look := idempotency.Claim{Key: key("done 1"), Existing: true}
	if a, _ := m.Begin(t.Context(), look); a.Status != idempotency.StatusDone {
		t.Fatalf("done 1 = %v", a.Status)
	}
	claim(t, m, key("live 1"), time.Minute)
	claim(t, m, key("live 2"), time.Minute) // evicts done 2, read longest ago
	if a, _ := m.Begin(t.Context(), look); a.Status != idempotency.StatusDone {
		t.Errorf("done 1 = %v, want done: it was read last", a.Status)
	}
	h := claim(t, m, key("live 3"), time.Minute)
	_, err := m.Begin(t.Context(), idempotency.Claim{Key: key("live 4"), Owner: idempotency.Owner{1}, Lease: time.Minute, Retention: time.Hour})
	if !errors.Is(err, idempotency.ErrStoreFull) || m.Len() != 3 {
		t.Errorf("Begin of a full store = %v with %d records, want ErrStoreFull and 3", err, m.Len())
	}
	g := newGuard(t, m, idempotency.Config{})
	e := wantError(t, g.Do(t.Context(), key("live 4"), nil), idempotency.ErrStoreFull)
	if !e.NotRun() || e.RetryAfter() <= 0 {
		t.Errorf("refusal = %v, want not run, with a wait", e)
	}
	if wait, ok := g.Ready(); !ok || wait != 0 {
		t.Errorf("Ready = %v, %t: a full store is there", wait, ok)
	}
	open := newGuard(t, m, idempotency.Config{OnOutage: idempotency.OutageFailOpen})
	_, info, err := idempotency.DoInfo(t.Context(), open, key("live 4"), value(1, nil))
	if err != nil || !info.Unprotected {
		t.Errorf("fail open = %+v, %v, want unprotected", info, err)
	}
	if _, err := m.Release(t.Context(), idempotency.Release{Holder: h}); err != nil {
		t.Fatal(err)
	}
	if err := g.Do(t.Context(), key("live 5"), func(context.Context) error { return nil }); err != nil {
		t.Errorf("after a release: %v", err)
	}
}

func TestMemoryBoundsAndRetention(t *testing.T) {
	bubble(t, "copies and late results make room too", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{MaxEntries: 10})
		for i := range 50 {
			k := key(fmt.Sprint(i))
			_ = m.Put(t.Context(), k, idempotency.Record{State: idempotency.StateDone, Result: []byte("x"), Retention: time.Hour})
			k.Scope = "late"
			_, _ = m.Complete(t.Context(), idempotency.Completion{Holder: idempotency.Holder{Key: k, Owner: idempotency.Owner{1}}, Result: []byte("x"), Retention: time.Hour})
		}
		if m.Len() > 10 {
			t.Errorf("%d records, want at most 10", m.Len())
		}
	})
	bubble(t, "results past MaxBytes go, oldest first", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{MaxBytes: 10_000})
		g := newGuard(t, m, idempotency.Config{})
		for i := range 100 {
			if _, err := idempotency.Do(t.Context(), g, key(string(rune('!'+i%90))+"x"), value(make([]byte, 1000), nil)); err != nil {
				t.Fatal(err)
			}
		}
		if m.Len() > 9 {
			t.Errorf("%d results of 1000 bytes are kept, want at most 9", m.Len())
		}
	})
	bubble(t, "whatever its key, a result is kept while older ones are there", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{MaxBytes: 1 << 20})
		g := newGuard(t, m, idempotency.Config{})
		const total, newest = 8000, 500
		for i := range total {
			time.Sleep(time.Millisecond)
			if _, err := idempotency.Do(t.Context(), g, key(fmt.Sprint(i)), value(make([]byte, 700), nil)); err != nil {
				t.Fatal(err)
			}
		}
		lost := 0
		for i := total - newest; i < total; i++ {
			_, info, err := idempotency.DoInfo(t.Context(), g, key(fmt.Sprint(i)), value(make([]byte, 1), nil))
			if err != nil || !info.Replayed {
				lost++
			}
		}
		if m.Len() < 2*newest || lost > 0 {
			t.Errorf("%d of the newest %d results are lost, with %d kept", lost, newest, m.Len())
		}
	})
	bubble(t, "records past their retention go as others come", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{MaxEntries: 50})
		for i := range 40 {
			claim(t, m, key(idempotency.NewID()), time.Second)
			if i%2 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(2 * time.Hour)
		for range 30 {
			claim(t, m, key(idempotency.NewID()), time.Second)
		}
		if m.Len() != 30 {
			t.Errorf("%d records, want the 30 that are live", m.Len())
		}
	})
}

func TestEpochs(t *testing.T) {
	bubble(t, "0 replays and refuses the rest", func(t *testing.T) {
		s := newRemote(t)
		replayed(t, newGuard(t, s, idempotency.Config{}), "done", 1)
		claim(t, s, key("abandoned"), time.Second)
		time.Sleep(time.Minute)
		g := newGuard(t, s, idempotency.Config{Epoch: func() (uint64, time.Time) { return 0, time.Time{} }})
		v, err := idempotency.Do(t.Context(), g, key("done"), never[int](t))
		wantValue(t, v, err, 1)
		for _, id := range []string{"new", "abandoned"} {
			_, err = idempotency.Do(t.Context(), g, key(id), never[int](t))
			if e := wantError(t, err, idempotency.ErrNotWriter); !e.NotRun() || e.RetryAfter() < time.Second {
				t.Errorf("%s: %v, want not run, with a wait", id, err)
			}
		}
	})
	bubble(t, "a new one takes the old Region's claims at once, the old one then gets nothing", func(t *testing.T) {
		s := newRemote(t)
		at := func(epoch uint64) idempotency.Config {
			return idempotency.Config{Epoch: func() (uint64, time.Time) { return epoch, time.Time{} }}
		}
		old, next := newGuard(t, s, at(4)), newGuard(t, s, at(5))
		got, info, err := idempotency.DoInfo(t.Context(), old, key("a"), func(context.Context) (int, error) {
			v, info, err := idempotency.DoInfo(t.Context(), next, key("a"), value(2, nil))
			wantValue(t, v, err, 2)
			if info.Fence.Epoch != 5 || info.Attempt != 2 {
				t.Errorf("info = %+v, want attempt 2 of epoch 5", info)
			}
			return 1, nil
		})
		if got != 2 || err != nil || !info.Fenced {
			t.Errorf("old owner = %d, %+v, %v, want the new result, fenced", got, info, err)
		}
		_ = next.Do(t.Context(), key("b"), func(context.Context) error { return errUnknown })
		_ = newGuard(t, s, at(5))
		wantError(t, old.Do(t.Context(), key("b"), nil), idempotency.ErrUnknownOutcome)
		claim5 := idempotency.Claim{Key: key("c"), Owner: idempotency.Owner{1}, Lease: time.Second, Retention: time.Hour, Epoch: 5}
		_, _ = s.Begin(t.Context(), claim5)
		time.Sleep(time.Minute)
		wantError(t, old.Do(t.Context(), key("c"), nil), idempotency.ErrNotWriter)
	})
}

func TestAmbiguousAfterFailover(t *testing.T) {
	const lag = 10 * time.Second
	tests := []struct {
		name   string
		age    time.Duration // of the key at the failover
		policy idempotency.Policy
		terms  idempotency.Policy
		want   error
		calls  int // of Reconcile
	}{
		{"made within the lag", time.Second, idempotency.PolicyDefault, idempotency.PolicyDefault, idempotency.ErrUnknownOutcome, 0},
		{"made before the lag", time.Minute, idempotency.PolicyDefault, idempotency.PolicyDefault, nil, 0},
		{"made after the failover", -time.Second, idempotency.PolicyDefault, idempotency.PolicyDefault, nil, 0},
		{"rerun", time.Second, idempotency.PolicyRerun, idempotency.PolicyDefault, nil, 0},
		{"rerun by terms", time.Second, idempotency.PolicyDefault, idempotency.PolicyRerun, nil, 0},
		{"reconcile", time.Second, idempotency.PolicyReconcile, idempotency.PolicyRerun, nil, 1},
	}
	for _, tt := range tests {
		for _, prefix := range []string{"", "charge/"} {
			bubble(t, tt.name+" "+prefix, func(t *testing.T) {
				since := time.Now().Add(time.Hour)
				time.Sleep(time.Until(since) - tt.age)
				id := prefix + idempotency.NewID()
				time.Sleep(10*time.Second + tt.age)
				calls := 0
				g := newGuard(t, newRemote(t), idempotency.Config{
					OnAmbiguous: tt.policy, Lag: func() time.Duration { return lag },
					Epoch:     func() (uint64, time.Time) { return 2, since },
					Reconcile: func(context.Context, *idempotency.Attempt) (any, bool, error) { calls++; return nil, true, nil },
				})
				err := g.With(idempotency.Terms{OnAmbiguous: tt.terms}).Once(t.Context(), id, func(context.Context) error { return nil })
				if !errors.Is(err, tt.want) || calls != tt.calls {
					t.Errorf("Once = %v after %d reconciliations, want %v after %d", err, calls, tt.want, tt.calls)
				}
			})
		}
	}
}

func TestOnce(t *testing.T) {
	bubble(t, "remembers for OnceRetention", func(t *testing.T) {
		g := newGuard(t, newMemory(t, idempotency.MemoryConfig{}), idempotency.Config{OnceRetention: time.Hour})
		runs := 0
		once := func() {
			if err := g.Once(t.Context(), "charge/1", func(context.Context) error { runs++; return nil }); err != nil {
				t.Error(err)
			}
		}
		once()
		time.Sleep(time.Hour - time.Second)
		once()
		if runs != 1 || g.OnceRetention() != time.Hour {
			t.Errorf("%d runs within the hour, want 1", runs)
		}
		time.Sleep(time.Second)
		once()
		if runs != 2 {
			t.Errorf("%d runs after the hour, want 2", runs)
		}
	})
	bubble(t, "and holds no result", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{})
		if err := newGuard(t, m, idempotency.Config{}).Once(t.Context(), "charge/1", func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		a, err := m.Begin(t.Context(), idempotency.Claim{Key: idempotency.Key{ID: "charge/1"}, Existing: true})
		if err != nil || a.Status != idempotency.StatusDone || len(a.Record.Result) > 8 { // an envelope, and nothing in it
			t.Errorf("the store has %v, %q, %v, want done without a result", a.Status, a.Record.Result, err)
		}
	})
}

func TestReplayThroughOnceAllocatesNothing(t *testing.T) {
	g := newGuard(t, newMemory(t, idempotency.MemoryConfig{}), idempotency.Config{})
	call := func(context.Context) error { return nil }
	ctx := t.Context()
	if err := g.Once(ctx, "charge/1", call); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = g.Once(ctx, "charge/1", call) }); n != 0 {
		t.Errorf("a replay allocates %v times, want 0", n)
	}
}

func TestRunRunsItsStore(t *testing.T) {
	bubble(t, "and returns its error", func(t *testing.T) {
		g, err := idempotency.New(runner{newRemote(t)}, idempotency.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := g.Run(ctx); err != errShop || time.Since(start) != time.Minute {
			t.Errorf("Run = %v after %v", err, time.Since(start))
		}
	})
}

type runner struct{ *remote }

func (runner) Run(ctx context.Context) error { <-ctx.Done(); return errShop }
