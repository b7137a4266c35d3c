package idempotency_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

type receipt struct {
	Amount int
	Lines  []string
}

func TestRow1FirstCallRuns(t *testing.T) {
	bubble(t, "with its attempt in the context", func(t *testing.T) {
		g := newGuard(t, newRemote(t), idempotency.Config{})
		got, info, err := idempotency.DoInfo(t.Context(), g, key("a"), func(ctx context.Context) (int, error) {
			a, ok := idempotency.From(ctx)
			if !ok || a.Number != 1 || a.Fence.N == 0 || a.Key != key("a") || a.Prior != idempotency.StateAbsent || a.Lease() <= 0 {
				t.Errorf("From = %+v, %t, want attempt 1 of the key with a fence and a lease", a, ok)
			}
			return 7, nil
		})
		wantValue(t, got, err, 7)
		if !info.Stored || info.Replayed || info.Attempt != 1 || info.Fence.N == 0 {
			t.Errorf("info = %+v, want stored by attempt 1", info)
		}
	})
}

func replayed[T any](t *testing.T, g *idempotency.Guard, id string, want T) {
	t.Helper()
	if _, err := idempotency.Do(t.Context(), g, key(id), value(want, nil)); err != nil {
		t.Fatal(err)
	}
	got, info, err := idempotency.DoInfo(t.Context(), g, key(id), never[T](t))
	if err != nil || !reflect.DeepEqual(got, want) || !info.Replayed {
		t.Errorf("replay = %#v, %+v, %v, want %#v", got, info, err, want)
	}
}

func TestRow2Replay(t *testing.T) {
	for name, s := range map[string]idempotency.Store{"memory": newMemory(t, idempotency.MemoryConfig{}), "remote": newRemote(t)} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t, s, idempotency.Config{})
			replayed(t, g, "int", 7)
			replayed(t, g, "zero", 0)
			replayed(t, g, "empty string", "")
			replayed(t, g, "false", false)
			replayed(t, g, "empty struct", struct{}{})
			replayed(t, g, "struct", receipt{3, []string{"a", ""}})
			replayed(t, g, "empty slice", []int{})
			replayed[[]int](t, g, "nil slice", nil)
			replayed[*receipt](t, g, "nil pointer", nil)
			replayed(t, g, "pointer", &receipt{Amount: 1})
			replayed[any](t, g, "any", "text")
			replayed(t, g, "bytes", []byte("\x00\xff"))
			replayed(t, g, "no bytes", []byte{})
		})
	}
}

func TestRow2ReplayedBytesAreTheCallers(t *testing.T) {
	g := newGuard(t, newMemory(t, idempotency.MemoryConfig{}), idempotency.Config{})
	for range 3 {
		got, err := idempotency.Do(t.Context(), g, key("a"), value([]byte("abc"), nil))
		if err != nil || string(got) != "abc" {
			t.Fatalf("Do = %q, %v, want abc", got, err)
		}
		got[0] = 'x'
	}
}

func TestRow2StoredErrorReplays(t *testing.T) {
	g := newGuard(t, newRemote(t), idempotency.Config{Errors: []error{io.EOF, errShop}, Verdict: func(error) idempotency.Verdict { return idempotency.VerdictStore }})
	declined := errors.Join(errShop, errors.New("code 51"))
	if err := g.Do(t.Context(), key("a"), func(context.Context) error { return declined }); !errors.Is(err, errShop) {
		t.Fatalf("first = %v", err)
	}
	_, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
	e, ok := errors.AsType[*idempotency.StoredError](err)
	if !ok || e.Message != declined.Error() || !errors.Is(err, errShop) || errors.Is(err, io.EOF) || !e.Permanent() || e.NotRun() || e.OutcomeUnknown() {
		t.Errorf("replayed error = %#v, want the text and identity of %v", err, declined)
	}
}

func TestRow3Mismatch(t *testing.T) {
	bubble(t, "of a done call", func(t *testing.T) {
		g := newGuard(t, newRemote(t), idempotency.Config{})
		replayed(t, g, "a", 1)
		k := key("a")
		k.Fingerprint = idempotency.Raw([]byte("other"))
		_, err := idempotency.Do(t.Context(), g, k, never[int](t))
		if e := wantError(t, err, idempotency.ErrMismatch); !e.NotRun() || !e.Permanent() || e.OutcomeUnknown() {
			t.Errorf("marks of %v: want not run and permanent", err)
		}
	})
	bubble(t, "of a call in flight does not wait", func(t *testing.T) {
		g := newGuard(t, newRemote(t), idempotency.Config{Wait: time.Hour})
		release := make(chan struct{})
		go g.Do(t.Context(), key("a"), func(context.Context) error { <-release; return nil })
		synctest.Wait()
		k := key("a")
		k.Fingerprint = idempotency.Sum{}
		wantError(t, g.Do(t.Context(), k, nil), idempotency.ErrMismatch)
		close(release)
	})
}

func TestRow4LostReplyOfBegin(t *testing.T) {
	bubble(t, "the key is freed in the background", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		s.set(func(r *remote) { r.lose = true })
		_, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
		wantError(t, err, idempotency.ErrUnavailable)
		s.set(func(r *remote) { r.lose = false })
		time.Sleep(time.Second)
		v, err := idempotency.Do(t.Context(), g, key("a"), value(1, nil))
		wantValue(t, v, err, 1)
	})
}

func TestRow5InFlight(t *testing.T) {
	bubble(t, "here and elsewhere", func(t *testing.T) {
		s := newRemote(t)
		here, elsewhere := newGuard(t, s, idempotency.Config{}), newGuard(t, s, idempotency.Config{})
		go here.Do(t.Context(), key("a"), func(context.Context) error { time.Sleep(5 * time.Minute); return nil })
		time.Sleep(10 * time.Second)
		for _, g := range []*idempotency.Guard{here, elsewhere} {
			e := wantError(t, g.Do(t.Context(), key("a"), nil), idempotency.ErrInFlight)
			if e.RetryAfter() != 10*time.Second || !e.NotRun() || e.Permanent() {
				t.Errorf("refusal = %v, not run %t, want an advice to wait as long as the call has run, 10s", e, e.NotRun())
			}
		}
		time.Sleep(5 * time.Minute)
		if err := elsewhere.Do(t.Context(), key("a"), nil); err != nil {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestRow6Abandoned(t *testing.T) {
	bubble(t, "rerun with the checkpoint", func(t *testing.T) {
		s := newRemote(t)
		h := claim(t, s, key("a"), time.Minute)
		if _, err := s.Renew(t.Context(), idempotency.Renewal{Holder: h, Lease: time.Minute, Retention: time.Hour, Checkpoint: []byte("half")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Second)
		g := newGuard(t, s, idempotency.Config{})
		err := g.Do(t.Context(), key("a"), func(ctx context.Context) error {
			a, _ := idempotency.From(ctx)
			if a.Number != 2 || a.Prior != idempotency.StateInFlight || string(a.Saved) != "half" || a.Fence.Compare(h.Fence) <= 0 {
				t.Errorf("attempt = %+v, want the second with its past", a)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	bubble(t, "refuse", func(t *testing.T) {
		s := newRemote(t)
		claim(t, s, key("a"), time.Second)
		time.Sleep(time.Minute)
		g := newGuard(t, s, idempotency.Config{OnAbandoned: idempotency.PolicyRefuse})
		e := wantError(t, g.Do(t.Context(), key("a"), nil), idempotency.ErrUnknownOutcome)
		if !e.OutcomeUnknown() || e.NotRun() {
			t.Errorf("marks of %v: want outcome unknown", e)
		}
	})
	bubble(t, "terms refuse where the config has the default", func(t *testing.T) {
		s := newRemote(t)
		claim(t, s, key("a"), time.Second)
		time.Sleep(time.Minute)
		terms := idempotency.Terms{OnAbandoned: idempotency.PolicyRefuse}
		wantError(t, newGuard(t, s, idempotency.Config{}).With(terms).Do(t.Context(), key("a"), nil), idempotency.ErrUnknownOutcome)
		g := newGuard(t, s, idempotency.Config{OnAbandoned: idempotency.PolicyRerun}).With(terms)
		if err := g.Do(t.Context(), key("a"), func(context.Context) error { return nil }); err != nil {
			t.Errorf("with Config.OnAbandoned: %v", err)
		}
	})
}

func TestRow6Reconcile(t *testing.T) {
	tests := []struct {
		name      string
		result    any
		done      bool
		err       error
		ran       bool
		want      int
		wantError error
	}{
		{"finds the result", 42, true, nil, false, 42, nil},
		{"finds that it is done, without a result", nil, true, nil, false, 0, nil},
		{"finds that nothing happened", nil, false, nil, true, 7, nil},
		{"does not know", nil, false, errDown, false, 0, idempotency.ErrUnknownOutcome},
		{"returns another type", "42", true, nil, false, 0, idempotency.ErrUnknownOutcome},
	}
	for _, tt := range tests {
		for _, past := range []string{"held", "abandoned"} {
			bubble(t, past+" "+tt.name, func(t *testing.T) {
				s := newRemote(t)
				h := claim(t, s, key("a"), time.Second)
				if past == "held" {
					_, _ = s.Release(t.Context(), idempotency.Release{Holder: h, Hold: true, Retention: time.Hour})
				}
				time.Sleep(time.Minute)
				ran := false
				g := newGuard(t, s, idempotency.Config{
					OnUnknown: idempotency.PolicyReconcile, OnAbandoned: idempotency.PolicyReconcile,
					Reconcile: func(ctx context.Context, a *idempotency.Attempt) (any, bool, error) {
						return tt.result, tt.done, tt.err
					},
				})
				got, info, err := idempotency.DoInfo(t.Context(), g, key("a"), func(context.Context) (int, error) { ran = true; return 7, nil })
				if got != tt.want || !errors.Is(err, tt.wantError) || ran != tt.ran {
					t.Fatalf("Do = %d, %v, ran %t, want %d, %v, %t", got, err, ran, tt.want, tt.wantError, tt.ran)
				}
				if info.Reconciled != (tt.done && tt.wantError == nil) {
					t.Errorf("Info.Reconciled = %t", info.Reconciled)
				}
				refusing := newGuard(t, s, idempotency.Config{OnAbandoned: idempotency.PolicyRefuse})
				again, err := idempotency.Do(t.Context(), refusing, key("a"), never[int](t))
				if again != tt.want || !errors.Is(err, tt.wantError) {
					t.Errorf("next Do = %d, %v, want %d, %v: an unknown past stays", again, err, tt.want, tt.wantError)
				}
			})
		}
	}
}

func TestRow7LateCompletion(t *testing.T) {
	bubble(t, "counts while nobody took over", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		_, info, err := idempotency.DoInfo(t.Context(), g, key("a"), func(ctx context.Context) (int, error) {
			s.setDown(true)
			time.Sleep(time.Minute)
			s.setDown(false)
			if !errors.Is(context.Cause(ctx), idempotency.ErrLeaseLost) {
				t.Errorf("cause = %v, want ErrLeaseLost", context.Cause(ctx))
			}
			return 1, nil
		})
		if err != nil || !info.Stored || info.Fenced {
			t.Errorf("Do = %+v, %v, want stored", info, err)
		}
		replayed(t, g, "a", 1)
	})
}

func TestRow10And11Fenced(t *testing.T) {
	for _, tt := range []struct {
		name     string
		finished bool
		want     int
	}{{"by an attempt in flight", false, 1}, {"by a result", true, 2}} {
		bubble(t, tt.name, func(t *testing.T) {
			s := newRemote(t)
			old, next := newGuard(t, s, idempotency.Config{}), newGuard(t, s, idempotency.Config{})
			wait := make(chan struct{})
			got, info, err := idempotency.DoInfo(t.Context(), old, key("a"), func(context.Context) (int, error) {
				s.setDown(true) // the owner is cut off; others are not
				time.Sleep(time.Minute)
				s.setDown(false)
				go idempotency.Do(t.Context(), next, key("a"), func(context.Context) (int, error) {
					if !tt.finished {
						<-wait
					}
					return 2, nil
				})
				synctest.Wait()
				return 1, nil
			})
			close(wait)
			if got != tt.want || err != nil || !info.Fenced || info.Replayed != tt.finished {
				t.Errorf("Do = %d, %+v, %v, want %d, fenced", got, info, err, tt.want)
			}
			synctest.Wait()
			v, err := idempotency.Do(t.Context(), old, key("a"), never[int](t))
			wantValue(t, v, err, 2)
		})
	}
}

func TestRow12And13Heartbeat(t *testing.T) {
	bubble(t, "keeps the lease of a long call", func(t *testing.T) {
		s := newRemote(t)
		g, other := newGuard(t, s, idempotency.Config{}), newGuard(t, s, idempotency.Config{})
		go func() {
			for range 100 {
				time.Sleep(6 * time.Second)
				wantError(t, other.Do(t.Context(), key("a"), nil), idempotency.ErrInFlight)
			}
		}()
		err := g.Do(t.Context(), key("a"), func(ctx context.Context) error {
			time.Sleep(10*time.Minute + time.Second)
			return ctx.Err()
		})
		if err != nil {
			t.Error(err)
		}
		if n := s.count("renew"); n != 80 {
			t.Errorf("%d heartbeats in 601s, want 80, one each 7.5s", n)
		}
	})
	bubble(t, "unconfirmed, cancels before others may take the key", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		start := time.Now()
		err := g.Do(t.Context(), key("a"), func(ctx context.Context) error {
			time.Sleep(8 * time.Second) // one heartbeat, at 7.5s
			s.setDown(true)
			<-ctx.Done()
			a, _ := idempotency.From(ctx)
			if got, want := time.Since(start), 7500*time.Millisecond+30*time.Second-3750*time.Millisecond; got != want || a.Lease() > 0 {
				t.Errorf("cancelled after %v with a lease of %v, want after %v", got, a.Lease(), want)
			}
			return context.Cause(ctx)
		})
		if !errors.Is(err, idempotency.ErrLeaseLost) {
			t.Errorf("Do = %v, want ErrLeaseLost", err)
		}
	})
	bubble(t, "answered fenced, cancels at once", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		start := time.Now()
		_ = g.Do(t.Context(), key("a"), func(ctx context.Context) error {
			s.lost(t)
			<-ctx.Done()
			if got := time.Since(start); got != 7500*time.Millisecond {
				t.Errorf("cancelled after %v, want at the first heartbeat", got)
			}
			return ctx.Err()
		})
		// The outcome is unknown and the store knows nothing: the key is held.
		wantError(t, g.Do(t.Context(), key("a"), nil), idempotency.ErrUnknownOutcome)
	})
}

func TestCheckpoint(t *testing.T) {
	bubble(t, "saves, extends, and tells of a lost lease", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{MaxBytes: 8, Seal: reverse{}})
		_ = g.Do(t.Context(), key("a"), func(ctx context.Context) error {
			a, _ := idempotency.From(ctx)
			if err := a.Checkpoint(ctx, []byte("step 1")); err != nil {
				t.Error(err)
			}
			if err := a.Checkpoint(ctx, []byte("more than 8")); err == nil {
				t.Error("a checkpoint above MaxBytes was taken")
			}
			panicked(func() { panic("crash") })
			return errUnknown
		})
		rerun := newGuard(t, s, idempotency.Config{OnUnknown: idempotency.PolicyRerun, Seal: reverse{}})
		_ = rerun.Do(t.Context(), key("a"), func(ctx context.Context) error {
			a, _ := idempotency.From(ctx)
			if string(a.Saved) != "step 1" || a.Prior != idempotency.StateHeld {
				t.Errorf("attempt = %+v, want the checkpoint of a held one", a)
			}
			s.lost(t)
			if err := a.Checkpoint(ctx, nil); !errors.Is(err, idempotency.ErrLeaseLost) || ctx.Err() == nil {
				t.Errorf("Checkpoint without a record = %v, want ErrLeaseLost and a cancelled context", err)
			}
			return nil
		})
	})
}

func panicked(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// reverse seals by writing backwards.
type reverse struct{}

func (reverse) Seal(_ context.Context, _ idempotency.Key, b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b))
	for i := len(b) - 1; i >= 0; i-- {
		out = append(out, b[i])
	}
	return out, nil
}

func (r reverse) Open(ctx context.Context, k idempotency.Key, b []byte) ([]byte, error) {
	return r.Seal(ctx, k, b)
}

func TestRow16Verdicts(t *testing.T) {
	const released, stored, held = "released", "stored", "held"
	tests := []struct {
		name   string
		err    error
		cancel bool
		want   string
	}{
		{"plain", errShop, false, released},
		{"not run", errNotRun, false, released},
		{"not run wins over an ended context", errNotRun, true, released},
		{"not run wins over permanent", outcomeError{notRun: true, permanent: true}, false, released},
		{"permanent", errPermanent, false, stored},
		{"permanent wins over an ended context", errPermanent, true, stored},
		{"unknown", errUnknown, false, held},
		{"unknown wins over permanent", outcomeError{unknown: true, permanent: true}, false, held},
		{"lost connection", io.ErrUnexpectedEOF, false, held},
		{"plain after the context ended", errShop, true, held},
		{"deadline", context.DeadlineExceeded, false, held},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			g := newGuard(t, newRemote(t), idempotency.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := g.Do(ctx, key("a"), func(context.Context) error {
				if tt.cancel {
					cancel()
				}
				return tt.err
			})
			if err != tt.err {
				t.Errorf("Do = %v, want the function's %v", err, tt.err)
			}
			if got := fate(t, g); got != tt.want {
				t.Errorf("the key is %s, want %s", got, tt.want)
			}
		})
	}
}

// fate says what became of key a.
func fate(t *testing.T, g *idempotency.Guard) string {
	t.Helper()
	ran := false
	_, err := idempotency.Do(t.Context(), g, key("a"), func(context.Context) (int, error) { ran = true; return 0, nil })
	_, stored := errors.AsType[*idempotency.StoredError](err)
	switch {
	case ran:
		return "released"
	case stored:
		return "stored"
	case errors.Is(err, idempotency.ErrUnknownOutcome):
		return "held"
	}
	return err.Error()
}

func TestRow16VerdictFunc(t *testing.T) {
	verdict := map[error]idempotency.Verdict{errShop: idempotency.VerdictStore, errPermanent: idempotency.VerdictHold, errUnknown: idempotency.VerdictRelease}
	want := map[error]string{errShop: "stored", errPermanent: "held", errUnknown: "released", errNotRun: "released"}
	for err, want := range want {
		g := newGuard(t, newRemote(t), idempotency.Config{Verdict: func(err error) idempotency.Verdict { return verdict[err] }})
		_ = g.Do(t.Context(), key("a"), func(context.Context) error { return err })
		if got := fate(t, g); got != want {
			t.Errorf("%v: the key is %s, want %s", err, got, want)
		}
	}
}

func TestRow17PanicAndGoexitHold(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		for _, terms := range []idempotency.Terms{{}, {MaxRun: time.Minute}} {
			bubble(t, name, func(t *testing.T) {
				g := newGuard(t, newRemote(t), idempotency.Config{})
				var got any
				returned := false
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { got = recover() }()
					_ = g.With(terms).Do(t.Context(), key("a"), func(context.Context) error { end(); return nil })
					returned = true
				}()
				<-done
				if returned || name == "panic" && got != "boom" {
					t.Errorf("returned %t, recovered %v, want the %s to go on", returned, got, name)
				}
				if got := fate(t, g); got != "held" {
					t.Errorf("the key is %s, want held", got)
				}
			})
		}
	}
}

// shaky panics where a store or a codec of somebody else might.
type shaky struct{ *remote }

func (s *shaky) Complete(context.Context, idempotency.Completion) (idempotency.Answer, error) {
	panic("a store's mistake")
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("a codec's mistake") }

func TestRow17PanicsOfStoreAndCodecHold(t *testing.T) {
	bubble(t, "and free the callers that wait", func(t *testing.T) {
		s := newRemote(t)
		for name, call := range map[string]func(*idempotency.Guard){
			"store": func(*idempotency.Guard) {
				g := newGuard(t, &shaky{remote: s}, idempotency.Config{})
				_ = g.Do(t.Context(), key("store"), func(context.Context) error { return nil })
			},
			"codec": func(g *idempotency.Guard) {
				_, _ = idempotency.Do(t.Context(), g, key("codec"), value(panicking{}, nil))
			},
		} {
			g := newGuard(t, s, idempotency.Config{Wait: time.Minute})
			if got := panicked(func() { call(g) }); got == nil {
				t.Errorf("%s: no panic", name)
			}
			wantError(t, g.Do(t.Context(), key(name), nil), idempotency.ErrUnknownOutcome)
		}
	})
}

func TestRow18CallerLeaves(t *testing.T) {
	bubble(t, "the key is not free while the function runs", func(t *testing.T) {
		s := newRemote(t)
		g, other := newGuard(t, s, idempotency.Config{}), newGuard(t, s, idempotency.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		err := g.Do(ctx, key("a"), func(ctx context.Context) error {
			cancel()
			time.Sleep(10 * time.Minute) // deaf
			for _, g := range []*idempotency.Guard{g, other} {
				wantError(t, g.Do(t.Context(), key("a"), nil), idempotency.ErrInFlight)
			}
			return nil
		})
		if err != nil {
			t.Errorf("Do = %v: a success is never discarded", err)
		}
		if err := other.Do(t.Context(), key("a"), nil); err != nil {
			t.Errorf("replay = %v", err)
		}
	})
	bubble(t, "detached, the function runs on and its result is stored", func(t *testing.T) {
		g := newGuard(t, newRemote(t), idempotency.Config{}).With(idempotency.Terms{MaxRun: time.Minute})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "kept"))
		go func() { time.Sleep(time.Second); cancel() }()
		start := time.Now()
		_, err := idempotency.Do(ctx, g, key("a"), func(ctx context.Context) (int, error) {
			time.Sleep(30 * time.Second)
			if ctx.Value(ctxKey{}) != "kept" {
				t.Error("the caller's values are gone")
			}
			return 1, ctx.Err()
		})
		e := wantError(t, err, idempotency.ErrDetached)
		if time.Since(start) != time.Second || !e.OutcomeUnknown() || e.NotRun() || !errors.Is(err, context.Canceled) {
			t.Errorf("left after %v with %v, want ErrDetached at once", time.Since(start), err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if err := g.Run(ctx); err != nil || time.Since(start) != 30*time.Second {
			t.Errorf("Run = %v after %v, want nil after the function", err, time.Since(start))
		}
		v, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
		wantValue(t, v, err, 1)
	})
	bubble(t, "detached, MaxRun ends the function", func(t *testing.T) {
		g := newGuard(t, newRemote(t), idempotency.Config{}).With(idempotency.Terms{MaxRun: time.Minute})
		start := time.Now()
		err := g.Do(t.Context(), key("a"), func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("Do = %v after %v, want the deadline after a minute", err, time.Since(start))
		}
		if got := fate(t, g); got != "held" {
			t.Errorf("the key is %s, want held", got)
		}
	})
}

type ctxKey struct{}

func TestRow19CompletionFails(t *testing.T) {
	bubble(t, "the value is returned, replayed here, and stored later", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		v, info, err := idempotency.DoInfo(t.Context(), g, key("a"), func(context.Context) (int, error) { s.setDown(true); return 1, nil })
		wantValue(t, v, err, 1)
		if info.Stored {
			t.Error("Info.Stored, with the store down")
		}
		v, info, err = idempotency.DoInfo(t.Context(), g, key("a"), never[int](t))
		wantValue(t, v, err, 1)
		if !info.Replayed {
			t.Errorf("info = %+v, want replayed from this process", info)
		}
		time.Sleep(20 * time.Second)
		s.setDown(false)
		time.Sleep(2 * time.Second)
		v, err = idempotency.Do(t.Context(), newGuard(t, s, idempotency.Config{}), key("a"), never[int](t))
		wantValue(t, v, err, 1)
	})
	bubble(t, "a lost reply is no conflict", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		_, _, err := idempotency.DoInfo(t.Context(), g, key("a"), func(context.Context) (int, error) {
			s.set(func(r *remote) { r.lose = true })
			return 1, nil
		})
		s.set(func(r *remote) { r.lose = false })
		time.Sleep(2 * time.Second)
		v, err2 := idempotency.Do(t.Context(), g, key("a"), never[int](t))
		wantValue(t, v, errors.Join(err, err2), 1)
	})
	bubble(t, "given up after a lease", func(t *testing.T) {
		s := newRemote(t)
		g := newGuard(t, s, idempotency.Config{})
		_, _ = idempotency.Do(t.Context(), g, key("a"), func(context.Context) (int, error) { s.setDown(true); return 1, nil })
		start := time.Now()
		time.Sleep(15 * time.Second) // Run waits 20 s
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = g.Run(ctx)
		if took := time.Since(start); took < 29*time.Second || took > 32*time.Second {
			t.Errorf("Run waited %v for a result that cannot be stored, want about a lease", took)
		}
	})
}

func TestRow20Outage(t *testing.T) {
	bubble(t, "fail closed", func(t *testing.T) {
		s := newRemote(t)
		s.setDown(true)
		g := newGuard(t, s, idempotency.Config{})
		_, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
		e := wantError(t, err, idempotency.ErrUnavailable)
		if !e.NotRun() || e.RetryAfter() != time.Second || !errors.Is(err, errDown) {
			t.Errorf("refusal = %v, want not run, again in 1s, and the cause", err)
		}
		if wait, ok := g.Ready(); ok || wait <= 0 {
			t.Errorf("Ready = %v, %t after a failure, want a wait", wait, ok)
		}
		time.Sleep(40 * time.Second)
		if wait, ok := g.Ready(); !ok || wait <= 0 {
			t.Errorf("Ready = %v, %t later, want probes only", wait, ok)
		}
		s.setDown(false)
		v, err := idempotency.Do(t.Context(), g, key("a"), value(1, nil))
		wantValue(t, v, err, 1)
		if wait, ok := g.Ready(); !ok || wait != 0 {
			t.Errorf("Ready = %v, %t after a success", wait, ok)
		}
	})
	bubble(t, "fail open runs unprotected and stores when it can", func(t *testing.T) {
		s := newRemote(t)
		s.setDown(true)
		g := newGuard(t, s, idempotency.Config{OnOutage: idempotency.OutageFailOpen})
		v, info, err := idempotency.DoInfo(t.Context(), g, key("a"), func(ctx context.Context) (int, error) {
			a, _ := idempotency.From(ctx)
			if err := a.Checkpoint(ctx, nil); !errors.Is(err, idempotency.ErrUnavailable) || a.Lease() != 0 {
				t.Errorf("Checkpoint of an unprotected attempt = %v, lease %v", err, a.Lease())
			}
			return 1, nil
		})
		wantValue(t, v, err, 1)
		if !info.Unprotected || info.Stored {
			t.Errorf("info = %+v, want unprotected and not stored", info)
		}
		if wait, ok := g.Ready(); !ok || wait != 0 {
			t.Errorf("Ready = %v, %t, want ready: calls run in any case", wait, ok)
		}
		s.setDown(false)
		time.Sleep(2 * time.Second)
		v, err = idempotency.Do(t.Context(), newGuard(t, s, idempotency.Config{}), key("a"), never[int](t))
		wantValue(t, v, err, 1)
	})
	bubble(t, "local catches repetitions of this process", func(t *testing.T) {
		s := newRemote(t)
		s.setDown(true)
		g := newGuard(t, s, idempotency.Config{OnOutage: idempotency.OutageLocal})
		v, info, err := idempotency.DoInfo(t.Context(), g, key("a"), value(1, nil))
		wantValue(t, v, err, 1)
		if !info.Unprotected || info.Stored {
			t.Errorf("info = %+v, want unprotected and not stored", info)
		}
		time.Sleep(10 * time.Minute) // the background has given up
		v, err = idempotency.Do(t.Context(), g, key("a"), never[int](t))
		wantValue(t, v, err, 1)
		s.setDown(false) // and the store, which has never heard of the call, is back
		v, err = idempotency.Do(t.Context(), g, key("a"), never[int](t))
		wantValue(t, v, err, 1)
	})
	bubble(t, "the caller's own end is no outage", func(t *testing.T) {
		s := newRemote(t)
		s.setDown(true)
		g := newGuard(t, s, idempotency.Config{OnOutage: idempotency.OutageFailOpen})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := idempotency.Do(ctx, g, key("a"), never[int](t))
		if e := wantError(t, err, idempotency.ErrUnavailable); !e.NotRun() || !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v, want not run, and the cancel", err)
		}
	})
}

func TestRow21NotReplayable(t *testing.T) {
	s := newRemote(t)
	g := newGuard(t, s, idempotency.Config{MaxBytes: 100})
	unencodable := func(context.Context) (any, error) { return make(chan int), nil }
	for id, fn := range map[string]func(context.Context) (any, error){
		"too big":     value[any](strings.Repeat("x", 200), nil),
		"unencodable": unencodable,
	} {
		if _, info, err := idempotency.DoInfo(t.Context(), g, key(id), fn); err != nil || !info.Stored {
			t.Errorf("%s: first = %+v, %v, want a success", id, info, err)
		}
		_, err := idempotency.Do(t.Context(), g, key(id), never[any](t))
		if e := wantError(t, err, idempotency.ErrNotReplayable); e.NotRun() || !e.Permanent() || e.OutcomeUnknown() {
			t.Errorf("%s: marks of %v: want ran and permanent", id, err)
		}
		if err := g.Do(t.Context(), key(id), nil); err != nil {
			t.Errorf("%s: without a result the call is simply done: %v", id, err)
		}
	}
	unsealable := newGuard(t, s, idempotency.Config{Seal: broken{}})
	_, _ = idempotency.Do(t.Context(), unsealable, key("secret"), value("secret", nil))
	_, err := idempotency.Do(t.Context(), g, key("secret"), never[string](t))
	wantError(t, err, idempotency.ErrNotReplayable)
	if err := g.Do(t.Context(), key("no result"), func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	_, err = idempotency.Do(t.Context(), g, key("no result"), never[int](t))
	wantError(t, err, idempotency.ErrNotReplayable)
}

type broken struct{ reverse }

func (broken) Seal(context.Context, idempotency.Key, []byte) ([]byte, error) { return nil, errDown }

func TestRow22Decode(t *testing.T) {
	s := newRemote(t)
	g := newGuard(t, s, idempotency.Config{})
	replayed(t, g, "a", 7)
	_, err := idempotency.Do(t.Context(), g, key("a"), never[string](t))
	wantError(t, err, idempotency.ErrDecode)
	sealing := newGuard(t, s, idempotency.Config{Seal: reverse{}})
	replayed(t, sealing, "sealed", receipt{Amount: 12})
	_, err = idempotency.Do(t.Context(), g, key("sealed"), never[receipt](t))
	wantError(t, err, idempotency.ErrDecode)
	replayed(t, g, "a", 7) // the record was kept
	h := claim(t, s, key("garbage"), time.Minute)
	for _, garbage := range []string{"x", "\x01\x01\x00\x00body", "\x02" + strings.Repeat("\x00", 20)} {
		_, _ = s.Complete(t.Context(), idempotency.Completion{Holder: h, Result: []byte(garbage), Retention: time.Hour})
		_, err = idempotency.Do(t.Context(), g, key("garbage"), never[int](t))
		if e := wantError(t, err, idempotency.ErrCorrupt); !e.Permanent() {
			t.Errorf("%v is not permanent", err)
		}
	}
}

func TestRow26Keys(t *testing.T) {
	g := newGuard(t, newRemote(t), idempotency.Config{OnOutage: idempotency.OutageFailOpen})
	long := strings.Repeat("x", idempotency.MaxKeyLength+1)
	for _, k := range []idempotency.Key{
		{},
		{Scope: "s", Op: "o"},
		{ID: long},
		{ID: "a", Op: long},
		{ID: "a", Scope: long},
		{ID: "a\n"},
		{ID: "a\x00"},
		{ID: "a\x7f"},
		{ID: "ä"},
		{ID: "a", Op: "\t"},
		{ID: "a", Scope: "ü"},
		{ID: "a", Fingerprint: idempotency.JSON(make(chan int))},
		{ID: "\xff"},
	} {
		_, err := idempotency.Do(t.Context(), g, k, never[int](t))
		if e := wantError(t, err, idempotency.ErrKey); !e.NotRun() || !e.Permanent() || len(e.Error()) > 400 {
			t.Errorf("%q: %v", k.ID, err)
		}
		if !errors.Is(k.Validate(), idempotency.ErrKey) {
			t.Errorf("Validate(%q) = %v, want ErrKey", k.ID, k.Validate())
		}
	}
	if err := g.Once(t.Context(), "", nil); !errors.Is(err, idempotency.ErrKey) {
		t.Errorf("Once of an empty key = %v", err)
	}
	if err := (idempotency.Key{ID: strings.Repeat("~", idempotency.MaxKeyLength), Scope: " "}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestRow27Config(t *testing.T) {
	for want, c := range map[string]idempotency.Config{
		"Config.Lease: 10s is less than three heartbeats": {Lease: 10 * time.Second, Heartbeat: 4 * time.Second},
		"Config.Retention: 1s is less than the lease":     {Retention: time.Second},
		"Config.OnceRetention: 1s is less than the lease": {OnceRetention: time.Second},
		"Config.Lease: -1":     {Lease: -1},
		"Config.Heartbeat: -1": {Heartbeat: -1},
		"Config.Wait: -1":      {Wait: -1},
		"Config.MaxBytes: -1":  {MaxBytes: -1},
		"Config.StoreTimeout: 9s is more than a heartbeat":  {StoreTimeout: 9 * time.Second},
		"Config.OnUnknown: PolicyReconcile without":         {OnUnknown: idempotency.PolicyReconcile},
		"Config.OnAbandoned: PolicyReconcile without":       {OnAbandoned: idempotency.PolicyReconcile},
		"Config.OnAmbiguous: 99 is not a Policy":            {OnAmbiguous: 99},
		"Config.OnOutage: 99 is not an Outage":              {OnOutage: 99},
		"Config.Lease: 1ns leaves no time":                  {Lease: 1},
		"Config.Codec: its name has 65 bytes, more than 64": {Codec: named(strings.Repeat("x", 65))},
	} {
		_, err := idempotency.New(newRemote(t), c)
		if err == nil || !strings.HasPrefix(err.Error(), "idempotency: "+want) {
			t.Errorf("New = %v, want %q", err, want)
		}
	}
	if _, err := idempotency.New(nil, idempotency.Config{}); err == nil {
		t.Error("New without a store")
	}
	for _, c := range []idempotency.MemoryConfig{{MaxEntries: -1}, {MaxBytes: -1}} {
		if _, err := idempotency.NewMemory(c); err == nil {
			t.Errorf("NewMemory(%+v) = nil error", c)
		}
	}
}

type named string

func (n named) Name() string              { return string(n) }
func (named) Marshal(any) ([]byte, error) { return nil, errDown }
func (named) Unmarshal([]byte, any) error { return errDown }
