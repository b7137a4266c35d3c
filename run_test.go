package holdfast

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a log of events shared by the functions of stages.
type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) add(e string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.events, " ")
}

// until returns a function that runs until its context ends, then takes drain to stop.
func (r *recorder) until(name string, drain time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		r.add(name + "?")
		time.Sleep(drain)
		r.add(name + "!")
		return nil
	}
}

func TestRunStopsStageByStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		var r recorder
		start := time.Now()
		err := Run(ctx, Stage{r.until("a", 2*time.Second)}, Stage{r.until("b", time.Second)}, Stage{r.until("c", 0)})
		if got, want := r.String(), "a? a! b? b! c? c!"; err != nil || got != want {
			t.Errorf("Run = %v with %q, want nil with %q", err, got, want)
		}
		if got, want := time.Since(start), 63*time.Second; got != want {
			t.Errorf("Run took %v, want %v", got, want)
		}
	})
}

func TestRunStopsWhenAFunctionReturns(t *testing.T) {
	for name, want := range map[string]error{"with an error": errPlain, "without": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				err := Run(t.Context(), Stage{r.until("a", 0)},
					Stage{func(context.Context) error { time.Sleep(time.Second); return want }})
				if !errors.Is(err, want) || (want == nil) != (err == nil) || r.String() != "a? a!" {
					t.Errorf("Run = %v with %q, want %v with a stopped", err, &r, want)
				}
			})
		})
	}
}

func TestRunJoinsErrorsAndForgivesTheNormalEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		errOther := errors.New("other")
		failing := func(err error) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); return err }
		}
		err := Run(ctx, Stage{failing(errPlain), failing(context.Canceled)}, Stage{failing(errOther)})
		if !errors.Is(err, errPlain) || !errors.Is(err, errOther) || errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want plain and other joined, without context.Canceled", err)
		}
	})
}

func TestRunReportsACancelThatIsNotItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Run(t.Context(), Stage{func(context.Context) error { return context.Canceled }})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want context.Canceled: nobody had cancelled the function", err)
		}
	})
}

func TestRunLeavesAStuckStageBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var r recorder
		var causeInTurn, causeLate error
		release := make(chan struct{})
		stuck := func(ctx context.Context) error {
			<-ctx.Done()
			causeInTurn = context.Cause(ctx)
			<-release
			causeLate = context.Cause(ctx)
			return errPlain
		}
		start := time.Now()
		err := Run(ctx, Stage{stuck}, Stage{r.until("b", 0)})
		if !errors.Is(err, ErrStopTimeout) || !strings.Contains(err.Error(), "stage 1 of 2") {
			t.Errorf("Run = %v, want ErrStopTimeout naming stage 1 of 2", err)
		}
		if got := time.Since(start); got != StopTimeout {
			t.Errorf("Run took %v, want %v", got, StopTimeout)
		}
		if r.String() != "b? b!" {
			t.Errorf("events %q: the next stage was not stopped", &r)
		}
		close(release)
		synctest.Wait()
		if causeInTurn != context.Canceled || !errors.Is(causeLate, ErrStopTimeout) {
			t.Errorf("causes %v then %v, want context.Canceled then ErrStopTimeout", causeInTurn, causeLate)
		}
	})
}

func TestRunContextDerives(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		time.AfterFunc(time.Second, cancel)
		err := Run(ctx, Stage{func(ctx context.Context) error {
			child, stop := context.WithTimeout(ctx, time.Hour)
			defer stop()
			<-child.Done()
			if child.Err() != context.Canceled || ctx.Value(key{}) != "v" {
				t.Errorf("child ended with %v and value %v, want canceled and v", child.Err(), ctx.Value(key{}))
			}
			return nil
		}})
		if err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestRunPanicsNamingANilFunction(t *testing.T) {
	defer func() {
		if got, want := recover(), "holdfast: Run: function 1 of stage 2 is nil"; got != want {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	_ = Run(t.Context(), Stage{}, Stage{nil})
}

func TestRunWithoutStagesWaitsForTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := Run(ctx); err != nil || time.Since(start) != time.Second {
			t.Errorf("Run = %v after %v, want nil after 1s", err, time.Since(start))
		}
	})
}
