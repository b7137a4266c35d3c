package idempotency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	resyncEvery = 2 * time.Second // while a copy is missing
	resyncIdle  = time.Minute     // else: another process may have left notes
	resyncBatch = 100
)

// Run copies missed keys in the background until ctx ends, and returns nil. A guard's Run does it; call it
// yourself only for a store without a guard.
func (r *Regional) Run(ctx context.Context) error {
	for {
		pause := resyncIdle
		if r.degraded.Load() != 0 {
			pause = resyncEvery
		}
		timer := time.NewTimer(jitter(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		_ = r.Resync(ctx) // what is left is tried again, and UnprotectedSince tells
	}
}

// Resync copies every key that a Region's store noted as missed by its peer, and returns nil when the writer and its
// replica hold the same. Call it before a planned move. Regions that are neither are copied from as far as they answer.
func (r *Regional) Resync(ctx context.Context) error {
	episodes := r.episodes.Load()
	_, writer := r.route()
	home := r.peers[writer]
	if home == nil {
		return fmt.Errorf("idempotency %q: resync: no store for the writer %q", r.config.Name, writer)
	}
	copyName := r.config.ReplicaOf(writer)
	replica := r.peers[copyName]
	var errs []error
	for _, name := range r.names {
		from, to := r.peers[name], home
		if from == home {
			to = replica
		}
		if to == nil {
			continue
		}
		err := r.drain(ctx, from, to)
		if err != nil && (from == home || from == replica) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("idempotency %q: resync: %w", r.config.Name, err)
	}
	r.whole(episodes)
	return nil
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

// drain copies from's missed keys to to until none is listed but those whose records are damaged, which it reports.
// A peer that does not answer is asked for one record and no more: listing costs many round trips.
func (r *Regional) drain(ctx context.Context, from, to *peer) error {
	if _, err := try(ctx, to, func(ctx context.Context) (Record, error) { return to.store.Load(ctx, ping) }); err != nil {
		return err
	}
	for {
		marks, err := from.store.Unsynced(ctx, resyncBatch)
		if err != nil || len(marks) == 0 {
			return err
		}
		var damaged error
		copied := 0
		for _, m := range marks {
			switch err := r.drainOne(ctx, from.store, to, m); {
			case err == nil:
				copied++
			case errors.Is(err, ErrCorrupt):
				damaged = err
			default:
				return err
			}
		}
		if copied == 0 {
			return damaged
		}
	}
}

// ping is a key that no call has.
var ping = Key{Op: "holdfast", ID: "resync"}

func (r *Regional) drainOne(ctx context.Context, from Replica, to *peer, m Mark) error {
	if err := r.copyRecord(ctx, from, to, m); err != nil {
		return err
	}
	return from.Synced(ctx, m)
}

// copyRecord brings one key from a store to a peer. It then looks whether the record has changed on the way: a step that
// met the peer before the copy did would otherwise be undone there by what it replaced.
func (r *Regional) copyRecord(ctx context.Context, from Replica, to *peer, m Mark) error {
	record, err := from.Load(ctx, m.Key)
	if err != nil {
		return err
	}
	for {
		_, err = try(ctx, to, func(ctx context.Context) (struct{}, error) {
			if record.State == StateAbsent {
				return struct{}{}, to.store.Discard(ctx, m.Key, m.Fence)
			}
			return struct{}{}, to.store.Put(ctx, m.Key, record)
		})
		if err != nil || record.State == StateDone {
			return err
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
