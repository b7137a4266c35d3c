package idempotency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A peer is one Region's store as others see it: how long it takes, and whether to leave it alone.
type peer struct {
	region string
	store  Replica
	limit  time.Duration
	next   *peer       // the one with its second copy, where that is the next Region's; nil if there is none or RegionalConfig.ReplicaOf says
	near   bool        // the store is instant: no step is timed
	down   atomic.Bool // changed under mu

	mu      sync.Mutex // guards the following
	probeAt time.Time  // while down, the next step that may try
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
	if !p.down.Load() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
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
	if wasDown := p.down.Swap(err != nil); err != nil {
		p.probeAt = time.Now().Add(probeEvery)
		if wasDown { // it may be there, and slower than it was: each try gets more time
			p.wait = min(p.limit, 2*p.wait)
		}
		return
	}
	p.took[p.n%len(p.took)] = d
	p.n++
	if p.n >= len(p.took) && p.n%measureEvery == 0 {
		p.wait = min(p.limit, max(minPeerWait, 3*secondLongest(p.took[:]))) // 99 of 100
	}
}

func secondLongest(all []time.Duration) (second time.Duration) {
	var first time.Duration
	for _, d := range all {
		if d > first {
			first, second = d, first
		} else if d > second {
			second = d
		}
	}
	return second
}

// knowsLater reports whether p has a later attempt of h's key.
func (p *peer) knowsLater(ctx context.Context, h Holder) (bool, error) {
	found, err := try(ctx, p, func(ctx context.Context) (Record, error) { return p.store.Load(ctx, h.Key) })
	return err == nil && found.State != StateAbsent && found.Fence.Compare(h.Fence) > 0, err
}

// try is a step by a function that a call waits for.
func try[T any](ctx context.Context, p *peer, take func(context.Context) (T, error)) (T, error) {
	return tryWithin(ctx, p, p.patience(), take)
}

// tryWithin is a step by a function that may take as long as d.
func tryWithin[T any](ctx context.Context, p *peer, d time.Duration, take func(context.Context) (T, error)) (T, error) {
	s := p.stepWithin(ctx, d)
	v, err := take(s.ctx)
	s.end(err)
	return v, err
}

// A step is one that is taken at a peer within a time, for calls its patience.
type step struct {
	peer   *peer
	caller context.Context
	ctx    context.Context // for the store
	cancel context.CancelFunc
	start  time.Time
}

func (p *peer) step(ctx context.Context) step { return p.stepWithin(ctx, p.patience()) }

func (p *peer) stepWithin(ctx context.Context, d time.Duration) step {
	s := step{peer: p, caller: ctx, ctx: ctx}
	if !p.near {
		s.ctx, s.cancel = context.WithTimeout(ctx, d)
		s.start = time.Now()
	}
	return s
}

// end notes how the step went. The caller's end is its own, and a damaged record is that key's: neither says anything of the peer.
func (s *step) end(err error) {
	switch p := s.peer; {
	case err != nil && !errors.Is(err, ErrCorrupt):
		if s.caller.Err() == nil {
			p.note(0, err)
		}
	case !p.near:
		p.note(time.Since(s.start), nil)
	case p.down.Load():
		p.note(0, nil)
	}
	if s.cancel != nil {
		s.cancel()
	}
}
