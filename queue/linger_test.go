package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// noting is a queue that is 100 ms away, and notes when it was asked, and for how many.
type noting struct {
	Transport
	began time.Time

	mu       sync.Mutex // guards requests
	requests []string
}

func (n *noting) Send(ctx context.Context, messages []Outgoing) []SendResult {
	n.mu.Lock()
	n.requests = append(n.requests, fmt.Sprint(len(messages), " at ", time.Since(n.began)))
	n.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	return n.Transport.Send(ctx, messages)
}

// TestLingerBeginsWithTheCall: a full batch takes along the message that the timer was set for; those that come after it wait
// their own time for company.
func TestLingerBeginsWithTheCall(t *testing.T) {
	callers(t, func(t *testing.T, ctx context.Context) {
		n := &noting{Transport: must(NewMemory(MemoryConfig{})), began: time.Now()}
		c := must(NewClient(n, ClientConfig{Linger: 20 * time.Millisecond}))
		var wg sync.WaitGroup
		for _, calls := range []struct {
			at time.Duration
			n  int
		}{{0, 1}, {10 * time.Millisecond, 1}, {15 * time.Millisecond, 9}, {20 * time.Millisecond, 1}, {35 * time.Millisecond, 1}} {
			for range calls.n {
				wg.Go(func() {
					time.Sleep(calls.at)
					must(billing.Defer(ctx, c, charge{}))
				})
			}
		}
		wg.Wait()
		if want := []string{"1 at 0s", "10 at 15ms", "2 at 40ms"}; !slices.Equal(n.requests, want) {
			t.Errorf("requests of %q, want %q", n.requests, want)
		}
	})
}

// TestRoomIsEnough: an envelope is written once, where it stays, and wastes little.
func TestRoomIsEnough(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)
	e := Envelope{ID: newID(now), Name: "billing.charge.v1", Source: "orders", Time: now, Data: []byte(`{"order":"o-1"}`), Version: envelopeVersion}
	check := func(what string) {
		t.Helper()
		if need, room := len(e.Append(nil)), e.room(); need > room || room > need+48 {
			t.Errorf("%s: room for %d bytes, want %d or a little more", what, room, need)
		}
	}
	check("plain")
	e.Region, e.Group, e.Epoch = "eu-west-1", "g", 1<<63
	check("with Region, group, epoch")
	e.TraceParent, e.TraceState = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b"
	check("traced")
	e.KeyID = "key-1"
	check("sealed")
}
