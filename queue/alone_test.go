package queue

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
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

// panicking panics when its second request begins, and holds up the first.
type panicking struct {
	Transport
	mu    sync.Mutex
	sends int
}

func (p *panicking) Send(ctx context.Context, m []Outgoing) []SendResult {
	p.mu.Lock()
	p.sends++
	n := p.sends
	p.mu.Unlock()
	switch n {
	case 1:
		time.Sleep(time.Second / 2)
	case 2:
		panic("boom")
	}
	return p.Transport.Send(ctx, m)
}

// TestPanicIsTheSendersOwn: a caller that sends for others and whose transport panics sees the panic; the others learn that their outcome
// is unknown, nobody waits for ever, and the client goes on.
func TestPanicIsTheSendersOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := must(NewClient(&panicking{Transport: must(NewMemory(MemoryConfig{}))}, ClientConfig{Linger: time.Second}))
		var mu sync.Mutex
		panics, unknowns, fine := 0, 0, 0
		var wg sync.WaitGroup
		for i := range 1 + batchMax {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					if recover() != nil {
						panics++
					}
				}()
				_, err := billing.Defer(context.Background(), c, charge{})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					fine++
				case outcome.Of(err) == outcome.Unknown && errors.Is(err, errPanicked):
					unknowns++
				}
			})
		}
		wg.Wait()
		if panics != 1 || unknowns != batchMax-1 || fine != 1 {
			t.Errorf("%d panics, %d unknown, %d fine, want 1, %d, 1", panics, unknowns, fine, batchMax-1)
		}
		must(billing.Defer(context.Background(), c, charge{}))
		c.sender.rest()
	})
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
