package redisstore_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
)

// Whoever opens the subscription connection and leaves before it stands takes nothing from those who wait beside it.
func TestWatchOutlivesTheFirstWatcher(t *testing.T) {
	m := miniredis.RunT(t)
	var dials atomic.Int32
	dialing := make(chan struct{})
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			close(dialing)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	defer client.Close()
	s := newStore(t, client, redisstore.Config{Prefix: "watch:"})
	first, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, _, err := s.Watch(first, idempotency.Key{ID: "first"})
		left <- err
	}()
	<-dialing
	type watched struct {
		stop func()
		err  error
	}
	second := make(chan watched, 1)
	go func() {
		_, stop, err := s.Watch(t.Context(), idempotency.Key{ID: "second"})
		second <- watched{stop, err}
	}()
	time.Sleep(100 * time.Millisecond) // it waits for the first: nobody can see that it does
	leave()
	if err := <-left; err == nil {
		t.Error("the first one's Watch returned no error, and its context had ended")
	}
	w := <-second
	if w.err != nil {
		t.Fatalf("Watch beside one that left = %v", w.err)
	}
	w.stop()
}
