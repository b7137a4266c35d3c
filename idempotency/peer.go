package idempotency

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// A peer is one Region's store as others see it: how long it takes, and whether to leave it alone.
type peer struct {
	region string
	store  Replica
	limit  time.Duration

	mu      sync.Mutex // guards the following
	down    bool
	probeAt time.Time // while down, the next step that may try
	took    [100]time.Duration
	n       int // steps measured
	wait    time.Duration
}

const (
	minPeerWait  = 20 * time.Millisecond
	measureEvery = 10 // steps between two looks at the quantile
)

// ready reports whether to send the peer a step. While it is down one step a second tries.
func (p *peer) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		return true
	}
	now := time.Now()
	if now.Before(p.probeAt) {
		return false
	}
	p.probeAt = now.Add(probeEvery)
	return true
}

// patience returns how long to wait for a step.
func (p *peer) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait == 0 {
		return p.limit
	}
	return p.wait
}

// note records a step that took d.
func (p *peer) note(d time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = err != nil
	if err != nil {
		p.probeAt = time.Now().Add(probeEvery)
		return
	}
	p.took[p.n%len(p.took)] = d
	p.n++
	if p.n >= len(p.took) && p.n%measureEvery == 0 {
		sorted := p.took
		slices.Sort(sorted[:])
		p.wait = min(p.limit, max(minPeerWait, 3*sorted[len(sorted)-2])) // 99 of 100
	}
}

// knowsLater reports whether p has a later attempt of h's key.
func (p *peer) knowsLater(ctx context.Context, h Holder) (bool, error) {
	found, err := try(ctx, p, func(ctx context.Context) (Record, error) { return p.store.Load(ctx, h.Key) })
	return err == nil && found.State != StateAbsent && found.Fence.Compare(h.Fence) > 0, err
}

// try takes a step at p within its patience. The caller's end is its own, and a damaged record is that key's: neither
// says anything of the peer.
func try[T any](ctx context.Context, p *peer, step func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	start := time.Now()
	v, err := step(limited)
	switch {
	case err == nil || errors.Is(err, ErrCorrupt):
		p.note(time.Since(start), nil)
	case ctx.Err() == nil:
		p.note(time.Since(start), err)
	}
	return v, err
}
