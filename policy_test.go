package holdfast

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tag is a policy that records when it is entered and left.
func tag(log *[]string, name string) Policy {
	return PolicyFunc(func(ctx context.Context, call func(context.Context) error) error {
		*log = append(*log, "+"+name)
		defer func() { *log = append(*log, "-"+name) }()
		return call(ctx)
	})
}

func TestStackNestsTheFirstOutermost(t *testing.T) {
	var log []string
	p := Stack(tag(&log, "a"), tag(&log, "b"), tag(&log, "c"))
	if err := p.Do(t.Context(), func(context.Context) error { return errPlain }); err != errPlain {
		t.Errorf("Do = %v, want %v", err, errPlain)
	}
	want := []string{"+a", "+b", "+c", "-c", "-b", "-a"}
	if len(log) != len(want) {
		t.Fatalf("order %v, want %v", log, want)
	}
	for i := range want {
		if log[i] != want[i] {
			t.Fatalf("order %v, want %v", log, want)
		}
	}
}

func TestEmptyStackRunsTheCall(t *testing.T) {
	if err := Stack().Do(t.Context(), func(context.Context) error { return errPlain }); err != errPlain {
		t.Errorf("Do = %v, want %v", err, errPlain)
	}
}

func TestStackPanicsNamingANilPolicy(t *testing.T) {
	for name, p := range map[string]Policy{"nil interface": nil, "nil func": PolicyFunc(nil)} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got, want := recover(), "holdfast: Stack: policy 2 of 2 is nil"; got != want {
					t.Errorf("panic %v, want %q", got, want)
				}
			}()
			Stack(Timeout(time.Second), p)
		})
	}
}

func TestStackAllocations(t *testing.T) {
	pass := PolicyFunc(func(ctx context.Context, call func(context.Context) error) error { return call(ctx) })
	ctx := context.Background()
	for n := 1; n <= 4; n++ {
		policies := make([]Policy, n)
		for i := range policies {
			policies[i] = pass
		}
		p, ran := Stack(policies...), 0
		got := testing.AllocsPerRun(100, func() {
			_ = p.Do(ctx, func(context.Context) error { ran++; return nil })
		})
		if int(got) > n {
			t.Errorf("Do over %d policies allocates %v times, want at most %d", n, got, n)
		}
		got = testing.AllocsPerRun(100, func() {
			_, _ = Call(ctx, p, func(context.Context) (int, error) { ran++; return ran, nil })
		})
		if int(got) > n+2 {
			t.Errorf("Call over %d policies allocates %v times, want at most %d", n, got, n+2)
		}
	}
}

func TestCallReturnsZeroOnError(t *testing.T) {
	got, err := Call(t.Context(), Stack(), func(context.Context) (int, error) { return 7, errPlain })
	if got != 0 || err != errPlain {
		t.Errorf("Call = %d, %v, want 0, %v", got, err, errPlain)
	}
}

func TestCallWithoutARunHasNoResult(t *testing.T) {
	skip := PolicyFunc(func(context.Context, func(context.Context) error) error { return nil })
	got, err := Call(t.Context(), skip, func(context.Context) (int, error) { return 7, nil })
	if got != 0 || !errors.Is(err, ErrNoResult) {
		t.Errorf("Call = %d, %v, want 0, %v", got, err, ErrNoResult)
	}
}

func TestCallUnderAConcurrentPolicyKeepsTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := PolicyFunc(func(ctx context.Context, call func(context.Context) error) error {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { _ = call(ctx) })
			}
			wg.Wait()
			return nil
		})
		var mu sync.Mutex
		n := 0
		got, err := Call(t.Context(), both, func(context.Context) (int, error) {
			mu.Lock()
			n++
			me := n
			mu.Unlock()
			time.Sleep(time.Duration(me) * time.Second)
			return me, nil
		})
		if got != 1 || err != nil {
			t.Errorf("Call = %d, %v, want 1, nil", got, err)
		}
	})
}

func TestTimeout(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := Timeout(3*time.Second).Do(t.Context(), hang)
		te, ok := errors.AsType[*TimeoutError](err)
		if !ok || te.After != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) || !te.Timeout() {
			t.Errorf("Do = %v, want a TimeoutError of 3s around the deadline", err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("Do took %v, want 3s", got)
		}
	})
	t.Run("a late success is a success", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := Timeout(time.Second).Do(t.Context(), func(context.Context) error {
				time.Sleep(time.Minute)
				return nil
			})
			if err != nil {
				t.Errorf("Do = %v, want nil", err)
			}
		})
	})
	t.Run("a nearer deadline of the caller stays the caller's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := Timeout(time.Minute).Do(ctx, hang); err != context.DeadlineExceeded {
				t.Errorf("Do = %v, want the bare deadline error", err)
			}
		})
	})
	t.Run("another error after the limit stays as it is", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := Timeout(time.Second).Do(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return errPlain })
			if err != errPlain {
				t.Errorf("Do = %v, want %v", err, errPlain)
			}
		})
	})
	t.Run("the caller's cancel stays the caller's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if err := Timeout(time.Minute).Do(ctx, hang); err != context.Canceled {
				t.Errorf("Do = %v, want %v", err, context.Canceled)
			}
		})
	})
	t.Run("zero panics", func(t *testing.T) {
		defer func() {
			if got, want := recover(), "holdfast: Timeout: 0s is not positive"; got != want {
				t.Errorf("panic %v, want %q", got, want)
			}
		}()
		Timeout(0)
	})
}

func TestMustPanicsWithTheError(t *testing.T) {
	defer func() {
		if got := recover(); got != errPlain {
			t.Errorf("panic %v, want %v", got, errPlain)
		}
	}()
	Must(1, errPlain)
}

func BenchmarkStackOfThree(b *testing.B) {
	pass := PolicyFunc(func(ctx context.Context, call func(context.Context) error) error { return call(ctx) })
	p, ctx := Stack(pass, pass, pass), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = p.Do(ctx, func(context.Context) error { return nil })
	}
}
