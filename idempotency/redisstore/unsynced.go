package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/idempotency"
)

// bucketsAtOnce is how many buckets are asked at a time. A planned move waits for the listing with writes stopped, and one after
// the other the buckets of another Region take seconds.
const bucketsAtOnce = 16

// Unsynced implements idempotency.Replica. It asks all 128 buckets, from a random one on and 16 at a time: at least 128 requests, in the
// time of 8 round trips. Its requests have ended when the listing has.
func (s *Store) Unsynced(ctx context.Context) iter.Seq2[idempotency.Mark, error] {
	return func(yield func(idempotency.Mark, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		l := &listing{store: s, first: rand.Uint32N(buckets), pages: make(chan page), stop: make(chan struct{})}
		var workers sync.WaitGroup
		defer func() {
			close(l.stop)
			cancel()
			workers.Wait()
		}()
		for range bucketsAtOnce {
			workers.Go(func() { l.work(ctx) })
		}
		for left := buckets; left > 0; {
			p := <-l.pages
			if !p.yield(yield) {
				return
			}
			if p.last {
				left--
			}
		}
	}
}

// A listing is what the workers of one Unsynced share.
type listing struct {
	store *Store
	first uint32
	taken atomic.Uint32 // buckets
	pages chan page
	stop  chan struct{} // closed when nobody reads pages any more
}

// A page is one reply: notes in pairs, or the error of a bucket.
type page struct {
	pairs []any
	err   error
	last  bool // of its bucket
}

// work asks buckets until there are no more. It drops no page while somebody reads, not even when ctx ends: a listing that
// misses a bucket must not look whole.
func (l *listing) work(ctx context.Context) {
	for {
		i := l.taken.Add(1) - 1
		if i >= buckets {
			return
		}
		bucket := l.store.bucket((l.first + i) % buckets)
		for p, cursor := (page{}), "0"; !p.last; {
			p, cursor = l.store.page(ctx, bucket, cursor)
			select {
			case l.pages <- p:
			case <-l.stop:
				return
			}
		}
	}
}

// page asks for what a bucket holds from cursor on, and returns the next cursor.
func (s *Store) page(ctx context.Context, bucket, cursor string) (p page, next string) {
	reply, err := s.send(ctx, s.scripts.unsynced, []string{bucket}, cursor)
	list, ok := reply.([]any)
	next, ok2 := at(list, 0).(string)
	if err == nil && !(ok && ok2) {
		err = fmt.Errorf("redisstore: %w", idempotency.ErrCorrupt)
	}
	if err != nil {
		return page{err: err, last: true}, ""
	}
	return page{pairs: list[1:], last: next == "0"}, next
}

// yield passes p on and reports whether the listing goes on: notes that are no hash are one bucket's matter, all else is the server's.
func (p *page) yield(to func(idempotency.Mark, error) bool) (more bool) {
	if p.err != nil {
		return to(idempotency.Mark{}, p.err) && errors.Is(p.err, idempotency.ErrCorrupt)
	}
	for pairs := p.pairs; len(pairs) >= 2; pairs = pairs[2:] {
		if !to(parseMark(pairs[0], pairs[1])) {
			return false
		}
	}
	return true
}
