package queue

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

// A Mux holds the handlers of a worker by call name. Register before [NewWorker], which copies it.
type Mux struct {
	mu       sync.Mutex // guards handlers
	handlers map[string]*handler
}

// NewMux returns an empty Mux.
func NewMux() *Mux { return &Mux{handlers: map[string]*handler{}} }

// HandlerConfig configures one handler. The zero value is ready to use.
type HandlerConfig struct {
	// Concurrency is how many runs of this handler one worker has at a time. Zero means as many as it has Workers.
	Concurrency int

	// MaxAttempts is how often the call is tried before it is dead-lettered. Zero means 12. What the worker
	// gives back without running it, and runs stopped by a drain, are not attempts.
	MaxAttempts int

	// Timeout ends the handler's context, with cause [ErrTimeout]; it counts as a failed attempt. Zero means 15
	// minutes. The lease is extended meanwhile; values over 11 h are an error.
	Timeout time.Duration

	// Backoff is the wait after the given failed attempt, counted from 1. Nil means exponential from 1 s to 15 min
	// with full jitter. Waits below 1 s are 1 s; a negative wait gives up. An error with RetryAfter overrules it. For
	// the schedules of package retry use [Schedule].
	Backoff func(attempt int) time.Duration

	// Ready says whether what the handler depends on is there, (*breaker.Breaker).Ready for one. While it says no the call is
	// put off without counting an attempt, and if no handler is ready nothing is received. Give it dependencies,
	// never features.
	Ready func() (wait time.Duration, ok bool)

	// Stale is what to do with calls of an older write epoch. Zero means StaleRun with Once, StaleDead without.
	Stale StalePolicy

	// StaleFunc decides call by call instead. current is the epoch of now. It runs before the call, on its goroutine and without its key, and may look
	// something up within one WorkerConfig.Lease, when ctx ends: the message's lease is extended meanwhile. If it panics, that is a failed
	// attempt of the call, which has not run.
	StaleFunc func(ctx context.Context, e Envelope, current uint64) StalePolicy

	// DeadGroup is what becomes of a FIFO group when one of its calls is dead. Zero means GroupSkip.
	DeadGroup GroupPolicy
}

// StalePolicy is what to do with a call that was deferred under an older write epoch than the current one.
type StalePolicy uint8

const (
	StaleDefault StalePolicy = iota
	StaleRun                 // run it; with Once it is recognised if it ran before the switch
	StaleDead                // dead-letter it as stale_epoch
	StaleForward             // send it to the queue again under the current epoch, at most 3 times
	StaleWait                // put it off for some seconds, without counting an attempt, and ask again
)

// GroupPolicy is what becomes of a FIFO group when one of its calls is dead.
type GroupPolicy uint8

const (
	GroupSkip   GroupPolicy = iota // dead-letter the call, go on with the next
	GroupHalt                      // never dead-letter: the group waits, every 15 minutes the call is tried again
	GroupFollow                    // this worker dead-letters the group's later calls too, for an hour
)

const (
	defaultAttempts = 12
	defaultTimeout  = 15 * time.Minute
	maxTimeout      = 11 * time.Hour
)

func (c *HandlerConfig) setDefaults() error {
	if c.MaxAttempts == 0 {
		c.MaxAttempts = defaultAttempts
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Backoff == nil {
		c.Backoff = defaultBackoff
	}
	switch {
	case c.Concurrency < 0:
		return fmt.Errorf("HandlerConfig.Concurrency: %d is negative", c.Concurrency)
	case c.MaxAttempts < 0:
		return fmt.Errorf("HandlerConfig.MaxAttempts: %d is negative", c.MaxAttempts)
	case c.Timeout < 0 || c.Timeout > maxTimeout:
		return fmt.Errorf("HandlerConfig.Timeout: %v is not within 0 to 11h", c.Timeout)
	case c.Stale > StaleWait || c.DeadGroup > GroupFollow:
		return fmt.Errorf("HandlerConfig: unknown policy")
	}
	return nil
}

// defaultBackoff is full jitter over 1 s, 2 s, 4 s, … 15 min, and never below 1 s.
func defaultBackoff(attempt int) time.Duration {
	ceiling := min(15*time.Minute, minWait<<min(attempt-1, 12))
	return minWait + rand.N(ceiling)
}

// Schedule turns a factory of back-off schedules, such as those of package retry, into a HandlerConfig.Backoff: the
// wait after attempt n is the n-th of a new schedule, the last it had if it has fewer.
//
//	queue.HandlerConfig{Backoff: queue.Schedule(retry.FullJitter(time.Second, time.Hour))}
func Schedule[B interface{ NextBackOff() time.Duration }](schedule func() B) func(attempt int) time.Duration {
	return func(attempt int) time.Duration {
		b := schedule()
		wait := b.NextBackOff()
		for range min(attempt, 64) - 1 {
			next := b.NextBackOff()
			if next < 0 {
				return next
			}
			wait = next
		}
		return wait
	}
}

// A handler is what Handle registered, without its type.
type handler struct {
	name   string
	config HandlerConfig
	decode func(data []byte) (args any, err error) // a *A
	run    func(ctx context.Context, args any) error
}

// Handle registers fn for call. fn runs on a goroutine of the worker, with up to Concurrency others. Its context is not
// cancelled by the worker's: it ends, with a cause, when the handler timed out ([ErrTimeout]), the drain deadline passed
// ([ErrDraining]) or the lease was lost ([ErrLeaseLost]); fn should then return. What it returns decides:
//
//   - nil: the call is done and deleted.
//   - an error marked permanent: dead-lettered at once.
//   - [Snooze]: put off, no attempt. [Drop]: deleted.
//   - any other error, a panic, runtime.Goexit: a failed attempt; again after the back-off, or the RetryAfter the error
//     asks for, and dead-lettered after MaxAttempts.
//
// It panics if call was not made by [Define], fn is nil, the config is invalid, or the name has a handler already.
func Handle[A any](m *Mux, call Call[A], fn func(context.Context, A) error, config HandlerConfig) {
	if call.name == "" || fn == nil {
		panic("queue: Handle: needs a call made by Define and a function")
	}
	if err := config.setDefaults(); err != nil {
		panic(fmt.Sprintf("queue: Handle(%q): %v", call.name, err))
	}
	m.add(&handler{
		name: call.name, config: config,
		decode: func(data []byte) (any, error) {
			args := new(A)
			return args, unmarshal(data, args)
		},
		run: func(ctx context.Context, args any) error { return fn(ctx, *args.(*A)) },
	})
}

func (m *Mux) add(h *handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handlers[h.name] != nil {
		panic(fmt.Sprintf("queue: Handle(%q): registered twice", h.name))
	}
	m.handlers[h.name] = h
}

func (m *Mux) snapshot() map[string]*handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.handlers)
}
