package redisstore

import (
	"context"
	"fmt"
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

// parseNote reads what is noted of a key: a count, the fence of the write and, for the scripts alone, how long the note is worth something.
func parseNote(text string) (count uint64, f idempotency.Fence, err error) {
	number, rest, _ := strings.Cut(text, " ")
	fence, _, _ := strings.Cut(rest, " ")
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
