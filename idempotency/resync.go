package idempotency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	resyncEvery = 2 * time.Second // while a copy is missing
	resyncIdle  = time.Minute     // else: another process may have left notes
)

// Run copies missed keys in the background until ctx ends, and returns nil. A guard's Run does it; call it
// yourself only for a store without a guard.
func (r *Regional) Run(ctx context.Context) error {
	var last error
	for {
		pause := resyncIdle
		if _, damaged := last.(*damageError); !damaged && r.degraded.Load() != 0 { //nolint:errorlint // bare: a pass that met other errors too tries again soon
			pause = resyncEvery
		}
		if !r.rest(ctx, pause) {
			return nil
		}
		last = r.resync(ctx) // what is left is tried again, and UnprotectedSince tells
	}
}

// rest waits for about d, or resyncEvery from when a copy is missed first. It reports false when ctx ends.
func (r *Regional) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(jitter(d))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-r.woken:
			timer.Reset(jitter(resyncEvery))
		}
	}
}

// Resync copies every key that a Region's store had noted as missed by its peer when Resync began, and returns nil when it
// has: the writer and its replica then hold the same, but for calls made meanwhile. Call it in a planned move, when writes
// have stopped. Regions that are neither are copied from as far as they answer; while there is no writer, every Region has to answer.
//
// Keys are copied 32 at a time, in each direction after the other. A key takes two to four round trips, the listing what the store says:
// redisstore eight. With 60 ms to the other Region and nothing to copy that is about 0.6 s. Nobody waits for a single key: each may take
// 2 s, far more than a call waits for the second copy, and is tried twice. The first that fails both times ends the Resync. So does a store that names no note for
// 10 s while it lists them. The error names the Region whose store did not answer.
//
// Damaged keys keep no other from being copied. They are counted, and an error that matches [ErrCorrupt] names one: repair or
// delete it. Until then UnprotectedSince stays.
func (r *Regional) Resync(ctx context.Context) error {
	if err := r.resync(ctx); err != nil {
		return fmt.Errorf("idempotency %q: resync: %w", r.config.Name, err)
	}
	return nil
}

// A damageError counts keys that cannot be copied because what is stored there, or noted of it, is damaged.
type damageError struct {
	keys  int64
	first error
}

func (e *damageError) Error() string { return fmt.Sprintf("%d damaged: %v", e.keys, e.first) }
func (e *damageError) Unwrap() error { return e.first }

// resync returns a *damageError if that is all that keeps the Regions apart.
func (r *Regional) resync(ctx context.Context) error {
	episodes := r.episodes.Load()
	_, writer := r.route()
	ways, err := r.ways(writer)
	if err != nil {
		return err
	}
	var damaged damageError
	var errs []error
	for _, w := range ways {
		if err := r.drain(ctx, w.from, w.to, &damaged); err != nil && w.must {
			errs = append(errs, err)
		}
	}
	r.damaged.Store(damaged.keys)
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case damaged.keys > 0:
		return &damaged
	}
	r.whole(episodes)
	return nil
}

// A way is from where to where missed keys are copied.
type way struct {
	from, to *peer
	must     bool // the Regions are not whole without
}

// ways are all that copy something. While nobody writes, in the middle of a move, nobody says who wrote: each Region's notes are of
// what its own replica has missed.
func (r *Regional) ways(writer string) (all []way, err error) {
	home := r.peers[writer]
	if home == nil && writer != "" {
		return nil, fmt.Errorf("no store for the writer %q", writer)
	}
	var replica *peer
	if home != nil {
		replica = r.peers[r.config.ReplicaOf(writer)]
	}
	for _, name := range r.names {
		w := way{from: r.peers[name], to: home}
		switch {
		case home == nil:
			w.to, w.must = r.peers[r.config.ReplicaOf(name)], true
		case w.from == home:
			w.to, w.must = replica, true
		case w.from == replica:
			w.must = true
		}
		if w.to != nil {
			all = append(all, w)
		}
	}
	return all, nil
}

// whole ends the unprotected time, unless a copy was missed since episodes was read.
func (r *Regional) whole(episodes int64) {
	since := r.degraded.Load()
	if since == 0 || r.episodes.Load() != episodes || !r.degraded.CompareAndSwap(since, 0) {
		return
	}
	if r.episodes.Load() != episodes {
		r.degraded.CompareAndSwap(0, since) // missed between the two looks
		return
	}
	r.log.Info("idempotency keys are held by both Regions again", slog.String("store", r.config.Name),
		slog.Duration("unprotected", time.Since(time.Unix(0, since))))
}

const (
	copiesAtOnce = 32              // keys that are copied at a time
	copyWithin   = 2 * time.Second // for a step of a copy: what a call waits for is learnt in good times, and under load would let every copy fail
	copyAttempts = 2               // a kept connection may be broken since an outage
)

// drain copies from's missed keys to to, [copiesAtOnce] at a time. It counts those that are damaged and goes on. A peer that does not
// answer is asked for one record and no more: listing costs many round trips.
func (r *Regional) drain(ctx context.Context, from, to *peer, damaged *damageError) error {
	err := insist(ctx, func() error {
		_, err := tryWithin(ctx, to, copyWithin, func(ctx context.Context) (Record, error) { return to.store.Load(ctx, ping) })
		return err
	})
	if err != nil {
		return fmt.Errorf("store of Region %q: %w", to.region, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, copiesAtOnce)
	var (
		copies sync.WaitGroup
		mu     sync.Mutex // guards damaged
	)
	settle := func(m Mark, err error) {
		switch {
		case err == nil:
		case errors.Is(err, ErrCorrupt):
			mu.Lock()
			defer mu.Unlock()
			damaged.add(m, err)
		default:
			cancel(err) // the first error stands; the copies that it ends add nothing
		}
	}
	src := from.source()
	for m, err := range src.Unsynced(ctx) {
		if err != nil {
			settle(m, err)
		} else {
			slots <- struct{}{}
			copies.Go(func() {
				defer func() { <-slots }()
				settle(m, drainOne(ctx, src, to, m))
			})
		}
		if ctx.Err() != nil {
			break
		}
	}
	copies.Wait()
	return context.Cause(ctx)
}

func (e *damageError) add(m Mark, err error) {
	if e.keys++; e.keys == 1 {
		e.first = fmt.Errorf("key %q of %q: %w", shorten(m.Key.ID), shorten(m.Key.Op), err)
	}
}

// ping is a key that no call has.
var ping = Key{Op: "holdfast", ID: "resync"}

func drainOne(ctx context.Context, from Replica, to *peer, m Mark) error {
	return insist(ctx, func() error {
		if err := copyRecord(ctx, from, to, copyWithin, m); err != nil {
			return err
		}
		return from.Synced(ctx, m)
	})
}

// insist takes a step of a copy again if it fails.
func insist(ctx context.Context, step func() error) (err error) {
	for range copyAttempts {
		if err = step(); err == nil || ctx.Err() != nil || errors.Is(err, ErrCorrupt) {
			break
		}
	}
	return err
}

// copyRecord brings one key from a store to a call's second copy.
func (r *Regional) copyRecord(ctx context.Context, from Replica, to *peer, m Mark) error {
	return copyRecord(ctx, from, to, to.patience(), m)
}

// copyRecord brings one key from a store to a peer, in steps that may take as long as within. It then looks whether the record has changed on the way: a step that
// met the peer before the copy did would otherwise be undone there by what it replaced.
func copyRecord(ctx context.Context, from Replica, to *peer, within time.Duration, m Mark) error {
	record, err := from.Load(ctx, m.Key)
	if err != nil {
		return err
	}
	for {
		_, err = tryWithin(ctx, to, within, func(ctx context.Context) (struct{}, error) {
			if record.State == StateAbsent {
				return struct{}{}, to.store.Discard(ctx, m.Key, m.Fence)
			}
			return struct{}{}, to.store.Put(ctx, m.Key, record)
		})
		switch {
		case err != nil:
			return fmt.Errorf("store of Region %q: %w", to.region, err)
		case record.State == StateDone:
			return nil
		}
		was := record
		if record, err = from.Load(ctx, m.Key); err != nil || sameRecord(&was, &record) {
			return err
		}
		if was.Fence.Compare(m.Fence) > 0 {
			m.Fence = was.Fence
		}
	}
}

// sameRecord reports whether nothing happened between a and b but heartbeats.
func sameRecord(a, b *Record) bool {
	return a.State == b.State && a.Fence == b.Fence && a.Owner == b.Owner && bytes.Equal(a.Checkpoint, b.Checkpoint)
}
