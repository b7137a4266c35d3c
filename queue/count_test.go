package queue

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// TestFailuresAreCountedAcrossProcesses puts a FIFO call off in one process and fails it in the next, and so on: the queue counts all of that as receives.
func TestFailuresAreCountedAcrossProcesses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		store    func(idempotency.Store) idempotency.Store
		failures int
	}{
		{"the store counts", func(s idempotency.Store) idempotency.Store { return s }, 4},
		{"the store does not answer to the count", func(s idempotency.Store) idempotency.Store { return &deafStore{s} }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{FIFO: true})
				g := must(idempotency.New(tt.store(must(idempotency.NewMemory(idempotency.MemoryConfig{}))), idempotency.Config{}))
				var waits []int
				deliveries, failures := 0, 0
				Handle(s.mux, billing, func(context.Context, charge) error {
					if deliveries++; deliveries%2 == 1 {
						return Snooze(time.Minute)
					}
					failures++
					return errPlain
				}, HandlerConfig{MaxAttempts: 4, Backoff: func(n int) time.Duration { waits = append(waits, n); return time.Minute }})
				s.send(Group("a"))
				for range 10 { // processes
					s.run(WorkerConfig{Once: g.Once, OnceRetention: g.OnceRetention()})
					time.Sleep(40 * time.Second)
					s.close()
					time.Sleep(time.Minute)
				}
				if died := fmt.Sprint(s.died()); failures != tt.failures || died != "[attempts after 4]" {
					t.Fatalf("%d failures, dead: %s, want %d and one for 4 attempts", failures, died, tt.failures)
				}
				if want := "[1 2 3 4]"; tt.failures == 4 && fmt.Sprint(waits) != want {
					t.Errorf("back-off asked for the attempts %v, want %s", waits, want)
				}
			})
		})
	}
}

// TestRedriveCountsAnew: a call that was redriven has all its attempts.
func TestRedriveCountsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _, config := guarded(t, idempotency.Config{})
		failures := 0
		Handle(s.mux, billing, func(context.Context, charge) error { failures++; return errPlain }, HandlerConfig{MaxAttempts: 3, Backoff: fixed(time.Second)})
		s.send()
		s.run(config)
		for _, want := range []int{3, 6} {
			time.Sleep(time.Minute)
			if died := fmt.Sprint(s.died()); failures != want || died != "[attempts after 3]" {
				t.Fatalf("%d failures, dead: %s, want %d and one for 3 attempts", failures, died, want)
			}
			time.Sleep(2 * time.Second) // died holds what it has read for one
			must(Redrive(t.Context(), s.memory.DeadLetters(), s.memory, Filter{}, RedriveConfig{By: "ann", Reason: "mended", Audit: io.Discard}))
		}
		s.close()
	})
}

// One call more than are remembered costs the memory of one, and not of all: who has lost the number of its run takes another.
func TestOneMoreForgetsOne(t *testing.T) {
	w := &Worker{known: map[string]int{}}
	for i := range maxCounted + 3 {
		w.count(fmt.Sprint("call ", i), 1)
	}
	w.count(fmt.Sprint("call ", maxCounted+2), 2)
	if len(w.known) != maxCounted || w.counted(fmt.Sprint("call ", maxCounted+2)) != 2 {
		t.Errorf("%d numbers are remembered, want %d, and the last among them", len(w.known), maxCounted)
	}
}

// died tells why calls are in the dead-letter queue, and after how many attempts.
func (s *station) died() (all []string) {
	s.t.Helper()
	for _, m := range must(s.memory.DeadLetters().Receive(s.ctx, ReceiveRequest{Max: 10, Lease: time.Second})) {
		var e Envelope
		if err := e.Decode(m.Body); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s after %d", e.Death.Reason, e.Death.Attempts))
	}
	return all
}

// A deafStore does not know how to count.
type deafStore struct{ idempotency.Store }

func (s *deafStore) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	if strings.Contains(c.Key.ID, " attempt ") {
		return idempotency.Answer{}, errPlain
	}
	return s.Store.Begin(ctx, c)
}

// TestReceivesThatWereNoRunsKillNothing: two processes give a FIFO call back in turns, each far more often than MaxAttempts, and nothing of that is a sign
// that it takes its workers down.
func TestReceivesThatWereNoRunsKillNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ready bool // else the handler is not
	}{
		{"put off before it ran", false},
		{"put off by its run", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{FIFO: true})
				var mended atomic.Bool
				var ended atomic.Int64
				Handle(s.mux, billing, func(context.Context, charge) error {
					if !mended.Load() {
						return Snooze(time.Minute)
					}
					ended.Add(1)
					return nil
				}, HandlerConfig{MaxAttempts: 2, Ready: func() (time.Duration, bool) { return time.Minute, mended.Load() || tt.ready }})
				// A second handler, always ready, keeps the queue polled.
				Handle(s.mux, repeated, func(context.Context, charge) error { return nil }, HandlerConfig{})
				config := onceWorker(newOnce())
				other := &station{t: t, ctx: t.Context(), memory: s.memory, ledger: s.ledger, mux: s.mux}
				s.run(config)
				other.run(config)
				s.send(Group("a"))
				for range 20 {
					inTurn(s.worker, other.worker)
					inTurn(other.worker, s.worker)
				}
				if a, b := s.worker.Stats().PutOff, other.worker.Stats().PutOff; a < 15 || b < 15 {
					t.Fatalf("put off %d and %d times, the test shows nothing", a, b)
				}
				mended.Store(true)
				time.Sleep(5 * time.Minute)
				if died := s.died(); len(died) > 0 || ended.Load() != 1 {
					t.Errorf("%d runs to the end, dead: %v, want one and none", ended.Load(), died)
				}
				s.close()
				other.close()
			})
		})
	}
}

// inTurn has one process receive for a while, and the other not.
func inTurn(one, other *Worker) {
	other.Pause()
	one.Resume()
	time.Sleep(80 * time.Second)
}

// A slippery queue loses every lease.
type slippery struct{ *Memory }

func (slippery) Extend(_ context.Context, messages []*Message, _ time.Duration) []error {
	errs := make([]error, len(messages))
	for i := range errs {
		errs[i] = ErrLeaseLost
	}
	return errs
}

// TestRunsWithoutAnEndAreCounted: a call that never comes to an end is dead after thrice MaxAttempts runs.
func TestRunsWithoutAnEndAreCounted(t *testing.T) {
	for name, config := range map[string]func() WorkerConfig{
		"with Once": func() WorkerConfig { return onceWorker(newOnce()) }, "without": func() WorkerConfig { return WorkerConfig{} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, runs := newStation(t, MemoryConfig{FIFO: true}), 0
				Handle(s.mux, repeated, func(ctx context.Context, _ charge) error {
					runs++
					<-ctx.Done()
					return notRun
				}, HandlerConfig{MaxAttempts: 2})
				must(repeated.Defer(s.ctx, s.client, charge{}, Group("a")))
				s.runOn(slippery{s.memory}, config())
				time.Sleep(time.Hour)
				if died := fmt.Sprint(s.died()); runs != 6 || died != "[receives after 7]" {
					t.Errorf("%d runs, dead: %s, want 6 and one found when it was handed out once more", runs, died)
				}
				s.close()
			})
		})
	}
}
