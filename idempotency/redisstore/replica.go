package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/holdfast-go/holdfast/idempotency"
)

// Load implements idempotency.Replica.
func (s *Store) Load(ctx context.Context, key idempotency.Key) (idempotency.Record, error) {
	a, err := answer(s.run(ctx, s.scripts.load, s.names(key), false))
	return a.Record, err
}

// Put implements idempotency.Replica.
func (s *Store) Put(ctx context.Context, key idempotency.Key, r idempotency.Record) error {
	saved := ""
	if r.Checkpoint != nil {
		saved = "c"
	}
	_, err := status(s.run(ctx, s.scripts.put, s.names(key), false, letters[r.State], letters[r.Prior], who(&r),
		r.Fence.N, r.Attempt, inMillis(r.Lease), inMillis(r.Running), inMillis(r.Retention), saved, r.Checkpoint, r.Result))
	return err
}

// Discard implements idempotency.Replica.
func (s *Store) Discard(ctx context.Context, key idempotency.Key, f idempotency.Fence) error {
	_, err := status(s.run(ctx, s.scripts.discard, s.names(key), false, appendEpoch(nil, f.Epoch), f.N))
	return err
}

// Unsynced implements idempotency.Replica. It asks bucket after bucket, from a random one on: at least 128 round trips.
func (s *Store) Unsynced(ctx context.Context) iter.Seq2[idempotency.Mark, error] {
	return func(yield func(idempotency.Mark, error) bool) {
		first := rand.Uint32N(buckets)
		for i := range uint32(buckets) {
			if !s.unsynced(ctx, s.bucket((first+i)%buckets), yield) {
				return
			}
		}
	}
}

// unsynced yields the marks of one bucket.
func (s *Store) unsynced(ctx context.Context, bucket string, yield func(idempotency.Mark, error) bool) (more bool) {
	for cursor := "0"; ; {
		reply, err := s.send(ctx, s.scripts.unsynced, []string{bucket}, cursor)
		list, ok := reply.([]any)
		next, ok2 := at(list, 0).(string)
		if err == nil && !(ok && ok2) {
			err = fmt.Errorf("redisstore: %w", idempotency.ErrCorrupt)
		}
		if err != nil {
			// Notes that are no hash are one bucket's matter; all else is the server's.
			return yield(idempotency.Mark{}, err) && errors.Is(err, idempotency.ErrCorrupt)
		}
		for pair := list[1:]; len(pair) >= 2; pair = pair[2:] {
			if !yield(parseMark(pair[0], pair[1])) {
				return false
			}
		}
		if cursor = next; cursor == "0" {
			return true
		}
	}
}

func parseMark(ident, value any) (m idempotency.Mark, err error) {
	name, _ := ident.(string)
	text, _ := value.(string)
	key, ok := parseIdent(name)
	if !ok {
		return m, fmt.Errorf("redisstore: mark %q: %w", name, idempotency.ErrCorrupt)
	}
	m.Key = key
	m.Count, m.Fence, err = parseNote(text)
	return m, err
}

// parseNote reads what is noted of a key: a count and the fence of the write.
func parseNote(text string) (count uint64, f idempotency.Fence, err error) {
	number, fence, _ := strings.Cut(text, " ")
	if count, err = strconv.ParseUint(number, 10, 64); err == nil {
		f, err = idempotency.ParseFence(fence)
	}
	if err != nil {
		return 0, f, fmt.Errorf("redisstore: note %q: %w", text, idempotency.ErrCorrupt)
	}
	return count, f, nil
}

// Synced implements idempotency.Replica.
func (s *Store) Synced(ctx context.Context, m idempotency.Mark) error {
	n := s.names(m.Key)
	_, err := s.send(ctx, s.scripts.synced, []string{n.missed()}, n.ident(), m.Count, fenceText(m.Fence))
	return err
}
