package queue

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// alone returns a queue in memory, and the transport of two Regions whose home it is, with hear told about each attempt.
func alone(hear func(context.Context)) (*Memory, *Regional) {
	m := must(NewMemory(MemoryConfig{}))
	other := must(NewMemory(MemoryConfig{}))
	route := func() ([]string, string) { return regionsAB, "a" }
	return m, must(NewRegional(route, map[string]Transport{"a": m, "b": other}, RegionalConfig{
		Around: func(ctx context.Context, _ string, call func(context.Context) error) error {
			if hear != nil {
				hear(ctx)
			}
			return call(ctx)
		},
		Observe: func(string, error, time.Duration) {},
	}))
}

var regionsAB = []string{"a", "b"}

// TestDeferSendsOnItsGoroutine: to a queue that keeps nobody waiting every caller sends by itself, under its own context.
func TestDeferSendsOnItsGoroutine(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "caller")
	heard := 0
	_, regional := alone(func(ctx context.Context) {
		stack := make([]byte, 64<<10)
		if stack = stack[:runtime.Stack(stack, false)]; !strings.Contains(string(stack), t.Name()) || ctx.Value(key{}) != "caller" {
			t.Errorf("sent with value %v of its context from\n%s", ctx.Value(key{}), stack)
		}
		heard++
	})
	c := must(NewClient(regional, ClientConfig{}))
	if r := must(billing.Defer(ctx, c, charge{})); r.Via != ViaMemory || r.Region != "a" || heard != 1 {
		t.Errorf("receipt %+v after %d attempts, want one at home", r, heard)
	}
	c.sender.rest() // nothing is left in flight
}

// TestCallerLeavesAQueueInMemory: a caller whose context ends while Around holds it up is no sign against the queue.
func TestCallerLeavesAQueueInMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, regional := alone(func(ctx context.Context) { <-ctx.Done() })
		c := must(NewClient(regional, ClientConfig{}))
		for range 2 * failsToDown {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := billing.Defer(ctx, c, charge{})
			cancel()
			if !errors.Is(err, ErrNotDeferred) || !errors.Is(err, context.DeadlineExceeded) || outcome.Of(err) != outcome.NotRun {
				t.Fatalf("Defer = %v, want a deadline, and not run: nothing was sent", err)
			}
		}
		if c.Stats().Down {
			t.Error("the queue is down because callers left")
		}
		c.sender.rest()
	})
}

// panicking panics in its first request, after a while.
type panicking struct {
	Transport
	sends atomic.Int64
}

func (p *panicking) Send(ctx context.Context, m []Outgoing) []SendResult {
	if p.sends.Add(1) == 1 {
		time.Sleep(time.Second / 2)
		panic("boom")
	}
	return p.Transport.Send(ctx, m)
}

// TestPanicIsTheSendersOwn: a caller that sends by itself and whose transport panics sees the panic. Those that came meanwhile, and
// later ones, do not, and nobody waits for ever.
func TestPanicIsTheSendersOwn(t *testing.T) {
	for _, fifo := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			c := must(NewClient(&panicking{Transport: must(NewMemory(MemoryConfig{FIFO: fifo}))}, ClientConfig{}))
			var options []Option
			if fifo {
				options = []Option{Group("g")}
			}
			var panics, fine atomic.Int64
			try := func() {
				defer func() {
					if recover() != nil {
						panics.Add(1)
					}
				}()
				must(billing.Defer(context.Background(), c, charge{}, options...))
				fine.Add(1)
			}
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(try)
			}
			wg.Wait()
			if panics.Load() != 1 || fine.Load() != 4 {
				t.Errorf("%d panics, %d fine, want 1 and 4", panics.Load(), fine.Load())
			}
			try()
			c.sender.rest()
		})
	}
}

// TestLingerOfThoseLeftBehind: messages that come while a full batch is about to be cut linger no longer than others, however long that
// batch takes.
func TestLingerOfThoseLeftBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &noting{Transport: must(NewMemory(MemoryConfig{})), began: time.Now()}
		c := must(NewClient(n, ClientConfig{Linger: 5 * time.Millisecond}))
		all := make([]*pending, batchMax+3)
		for i := range all {
			all[i] = &pending{out: Outgoing{CallID: "a", Body: "b"}, since: time.Now(), done: make(chan struct{}, 1)}
			c.sender.push(all[i], false)
		}
		for _, p := range all {
			<-p.done
		}
		if took := time.Since(n.began); took != 105*time.Millisecond {
			t.Errorf("%v, requests of %q, want the last after its 5ms", took, n.requests)
		}
	})
}

// A tracing queue knows who sends, and takes a while.
type tracing struct {
	Transport
	mu      sync.Mutex // guards the following
	senders []string   // goroutines
}

func (q *tracing) Send(ctx context.Context, m []Outgoing) []SendResult {
	stack := make([]byte, 64)
	who, _, _ := strings.Cut(string(stack[:runtime.Stack(stack, false)]), " [")
	q.mu.Lock()
	q.senders = append(q.senders, who)
	q.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	return q.Transport.Send(ctx, m)
}

// taken returns who has sent since it was last called.
func (q *tracing) taken() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.senders
	q.senders = nil
	return all
}

// TestRunKeepsACarrier: while Run runs, callers who come alone and may leave share one goroutine; each leaves at once when its context ends.
func TestRunKeepsACarrier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := &tracing{Transport: must(NewMemory(MemoryConfig{}))}
		c := must(NewClient(q, ClientConfig{}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		var wg sync.WaitGroup
		for range 3 * batchMax { // whose carriers are not kept
			wg.Go(func() { must(billing.Defer(t.Context(), c, charge{})) })
		}
		wg.Wait()
		synctest.Wait()
		q.taken()
		for range 5 {
			must(billing.Defer(t.Context(), c, charge{}))
			synctest.Wait()
		}
		began := time.Now()
		leaving, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := billing.Defer(leaving, c, charge{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Millisecond {
			t.Errorf("Defer = %v after %v, want a deadline after 1ms", err, time.Since(began))
		}
		if senders := slices.Compact(q.taken()); len(senders) != 1 {
			t.Errorf("six calls were sent by %q, want one goroutine", senders)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		must(billing.Defer(t.Context(), c, charge{})) // leaves nobody behind, or the bubble says so
	})
}
