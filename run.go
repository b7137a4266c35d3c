package holdfast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/planted"
)

// StopTimeout is how long [Run] waits for each stage to stop.
const StopTimeout = 30 * time.Second

// ErrStopTimeout matches the error of [Run] for a stage that did not stop within [StopTimeout]; from then on
// it is also the cause of that stage's context.
var ErrStopTimeout = errors.New("stop timed out")

// A Stage is a group of functions that stop together. Each blocks until its context ends, then cleans up and returns:
// the Run methods of Holdfast's types are such functions.
type Stage []func(context.Context) error

// Run starts every function of every stage at once, each on a goroutine of its own, and blocks until all have
// stopped. The stop begins when ctx ends or any function returns, with or without an error. Then the stages stop in
// order: the contexts of the first are cancelled, its functions waited for, then those of the next, so that what
// takes work in stops before what carries it out. See the package comment for the order of a service.
//
// A stage that is still running [StopTimeout] after its turn came is left behind: its context's cause becomes
// [ErrStopTimeout], Run goes on with the next stage and its error says which. The functions left behind are
// the only goroutines that can outlive Run.
//
// Run returns the joined errors of the functions, nil if there are none. context.Canceled returned after the function's
// context was cancelled is the normal end and not an error; ctx ending is none either. A panic in a function is not
// recovered. Run panics if a function is nil, naming its position.
func Run(ctx context.Context, stages ...Stage) error {
	stages = inOrder(stages)
	running := make([]*runningStage, len(stages))
	for i, s := range stages {
		running[i] = newRunningStage(ctx, s, i+1, len(stages))
	}
	returned := make(chan struct{})
	begin := sync.OnceFunc(func() { close(returned) })
	for _, s := range running {
		s.start(begin)
	}
	select {
	case <-ctx.Done():
	case <-returned:
	}
	var errs []error
	for _, s := range running {
		errs = append(errs, s.stop()...)
	}
	return errors.Join(errs...)
}

// inOrder is the order in which stages stop: another if a test has planted that.
func inOrder(stages []Stage) []Stage {
	if planted.Has(planted.DrainReversed) {
		stages = slices.Clone(stages)
		slices.Reverse(stages)
	}
	return stages
}

// A runningStage is a [Stage] between its start and its stop.
type runningStage struct {
	funcs  Stage
	label  string
	ctx    *stageContext
	cancel context.CancelFunc // the stage's turn to stop has come
	expire context.CancelCauseFunc
	done   chan struct{} // closed when all funcs have returned

	mu   sync.Mutex // guards the following
	errs []error
}

func newRunningStage(ctx context.Context, funcs Stage, n, of int) *runningStage {
	for i, f := range funcs {
		if f == nil {
			panic(fmt.Sprintf("holdfast: Run: function %d of stage %d is nil", i+1, n))
		}
	}
	base := context.WithoutCancel(ctx)
	turn, cancel := context.WithCancel(base)
	hard, expire := context.WithCancelCause(base)
	return &runningStage{
		funcs: funcs, label: fmt.Sprintf("stage %d of %d", n, of), ctx: &stageContext{turn, hard},
		cancel: cancel, expire: expire, done: make(chan struct{}),
	}
}

func (s *runningStage) start(returned func()) {
	var wg sync.WaitGroup
	for _, f := range s.funcs {
		wg.Go(func() {
			defer returned()
			s.note(f(s.ctx))
		})
	}
	go func() { // ends with the last func
		wg.Wait()
		close(s.done)
	}()
}

func (s *runningStage) note(err error) {
	normal := s.ctx.Err() != nil && errors.Is(err, context.Canceled)
	if err == nil || normal {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

// stop cancels the stage's contexts and returns the errors of its functions.
func (s *runningStage) stop() []error {
	s.cancel()
	timer := time.NewTimer(StopTimeout)
	defer timer.Stop()
	select {
	case <-s.done:
		s.expire(nil)
	case <-timer.C:
		s.expire(ErrStopTimeout)
		s.note(fmt.Errorf("holdfast: %s is still running after %v: %w", s.label, StopTimeout, ErrStopTimeout))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs
}

// A stageContext is done when its stage's turn to stop has come. Its values, and with them its cause, come from
// a second context that ends when the stage was left behind: a context has one cause, set once, and this
// one must not be spent on the orderly part of the stop.
type stageContext struct {
	turn context.Context
	hard context.Context
}

func (c *stageContext) Deadline() (time.Time, bool) { return c.turn.Deadline() }
func (c *stageContext) Done() <-chan struct{}       { return c.turn.Done() }
func (c *stageContext) Err() error                  { return c.turn.Err() }
func (c *stageContext) Value(key any) any           { return c.hard.Value(key) }

// AfterFunc lets package context derive contexts without a goroutine for each.
func (c *stageContext) AfterFunc(f func()) func() bool { return context.AfterFunc(c.turn, f) }
