package redisstore

import (
	"context"
	"fmt"
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
	_, err := status(s.run(ctx, s.scripts.put, s.names(key), false, letters[r.State], letters[r.Prior], who(&r.Owner, &r.Fingerprint, r.Fence.Epoch),
		r.Fence.N, r.Attempt, inMillis(r.Lease), inMillis(r.Running), inMillis(r.Retention), saved, r.Checkpoint, r.Result))
	return err
}

// Discard implements idempotency.Replica.
func (s *Store) Discard(ctx context.Context, key idempotency.Key, f idempotency.Fence) error {
	_, err := status(s.run(ctx, s.scripts.discard, s.names(key), false, epochText(f.Epoch), f.N))
	return err
}

// Unsynced implements idempotency.Replica. It asks bucket after bucket, from a random one on, until it
// has enough: up to 128 round trips.
func (s *Store) Unsynced(ctx context.Context, limit int) ([]idempotency.Mark, error) {
	var marks []idempotency.Mark
	first := rand.Uint32N(buckets)
	for i := range uint32(buckets) {
		if len(marks) >= limit {
			break
		}
		keys := []string{s.bucket((first + i) % buckets)}
		reply, err := s.send(ctx, s.scripts.unsynced, keys, limit-len(marks))
		if err != nil {
			return nil, err
		}
		for pair := reply; len(pair) >= 2; pair = pair[2:] {
			m, err := parseMark(pair[0], pair[1])
			if err != nil {
				return nil, err
			}
			marks = append(marks, m)
		}
	}
	return marks, nil
}

func parseMark(ident, value any) (m idempotency.Mark, err error) {
	name, _ := ident.(string)
	text, _ := value.(string)
	key, ok := parseIdent(name)
	count, fence, ok2 := strings.Cut(text, " ")
	m.Key = key
	m.Count, err = strconv.ParseUint(count, 10, 64)
	if err == nil {
		m.Fence, err = idempotency.ParseFence(fence)
	}
	if err != nil || !ok || !ok2 {
		return m, fmt.Errorf("redisstore: mark %q = %q: %w", name, text, idempotency.ErrCorrupt)
	}
	return m, nil
}

// Synced implements idempotency.Replica.
func (s *Store) Synced(ctx context.Context, m idempotency.Mark) error {
	n := s.names(m.Key)
	_, err := s.send(ctx, s.scripts.synced, []string{n.missed()}, n.ident(), m.Count)
	return err
}
