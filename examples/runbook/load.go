package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// A load places orders all the time and remembers what became of each.
type load struct {
	stop func()

	mu      sync.Mutex // guards the following
	acked   map[string]failover.Region
	unknown map[string]bool
	refused int
}

// startLoad begins to place orders, from so many clients.
func startLoad(ctx context.Context, f *fleet, clients int) *load {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &load{acked: map[string]failover.Region{}, unknown: map[string]bool{}}
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for n := 0; running.Err() == nil; n++ {
				l.place(running, f, fmt.Sprintf("%d-%06d", client, n))
			}
		})
	}
	l.stop = func() { cancel(); wg.Wait() }
	return l
}

// place tries until the order is placed or nobody knows whether it is.
func (l *load) place(ctx context.Context, f *fleet, id string) {
	for ctx.Err() == nil {
		region, err := f.place(ctx, id)
		var lost *failover.UnknownOutcomeError
		l.mu.Lock()
		switch {
		case err == nil:
			l.acked[id] = region
		case errors.As(err, &lost):
			l.unknown[id] = true
		default:
			l.refused++
		}
		l.mu.Unlock()
		pause(ctx, 10*time.Millisecond)
		if err == nil || lost != nil {
			return
		}
	}
}

// placed returns the orders that were acknowledged so far, in any Region or in those given.
func (l *load) placed(in ...failover.Region) map[string]failover.Region {
	l.mu.Lock()
	defer l.mu.Unlock()
	orders := maps.Clone(l.acked)
	maps.DeleteFunc(orders, func(_ string, region failover.Region) bool { return len(in) > 0 && !slices.Contains(in, region) })
	return orders
}

func (l *load) open() (unknown, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.unknown), l.refused
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
