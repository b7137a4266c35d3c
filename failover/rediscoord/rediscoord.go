// Package rediscoord keeps a failover decision in Redis.
//
// # What it can be trusted with
//
// Redis acknowledges writes before its replicas have them. A failover of Redis itself can lose the newest record, and one epoch
// can then be granted twice; instances that see both stop writing, two groups that never meet do not notice. So [Store.Info] says
// that it is not linearizable, and failover.NewController refuses it with FenceLease unless AcceptCoordinatorRisk gives a reason.
// It fits development, fleets of one Region, and a single Redis without replicas in a third Region.
//
// # Keys
//
// Two hashes: <Config.Key> with the fields sequence and record, and <Config.Key>:votes with a field per instance. The braces of
// the default key keep both in one slot of a cluster. Every operation is one script, one round trip.
package rediscoord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover"
)

// Config configures a [Store].
type Config struct {
	// Key is the name of the record's hash. Empty means "{holdfast-failover}". In a cluster it needs a hash tag in braces.
	Key string

	// Survives lists the Regions whose loss this Redis survives: those it does not live in.
	Survives []failover.Region
}

// A Store is a [failover.Coordinator] in Redis. It is safe for concurrent use.
type Store struct {
	client redis.Scripter
	cfg    Config
	keys   []string
}

// New returns a store over client, which the caller owns. It does no I/O.
func New(client redis.Scripter, cfg Config) (*Store, error) {
	if client == nil {
		return nil, errors.New("rediscoord: New: client is nil")
	}
	if cfg.Key == "" {
		cfg.Key = "{holdfast-failover}"
	}
	if strings.ContainsAny(cfg.Key, "\r\n\x00") {
		return nil, fmt.Errorf("rediscoord: Config.Key: %q has control characters", cfg.Key)
	}
	return &Store{client: client, cfg: cfg, keys: []string{cfg.Key, cfg.Key + ":votes"}}, nil
}

var (
	loadScript = redis.NewScript(`return redis.call('HGET', KEYS[1], 'record')`)

	// A sequence is compared as text: Lua's numbers are doubles. A swap that finds itself was sent again because its answer was lost.
	swapScript = redis.NewScript(`
if (redis.call('HGET', KEYS[1], 'sequence') or '0') ~= ARGV[1] then
	if redis.call('HGET', KEYS[1], 'record') == ARGV[3] then return 1 end
	return 0
end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2], 'record', ARGV[3])
return 1`)

	// A vote is stored behind its number in 20 digits, which compare as text.
	voteScript = redis.NewScript(`
local old = redis.call('HGET', KEYS[2], ARGV[1])
if old and string.sub(old, 1, 20) > string.sub(ARGV[2], 1, 20) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1`)

	// Votes older than the retention are dropped by the reader's clock, which coordinators allow for.
	votesScript = redis.NewScript(`return redis.call('HVALS', KEYS[2])`)

	// Only the vote that was read is dropped: its instance may have come back meanwhile.
	dropScript = redis.NewScript(`
for i = 1, #ARGV, 2 do
	if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[2], ARGV[i]) end
end
return 1`)
)

// Load returns the stored record.
func (s *Store) Load(ctx context.Context) (rec failover.Record, err error) {
	text, err := loadScript.RunRO(ctx, s.client, s.keys).Text()
	if errors.Is(err, redis.Nil) {
		return rec, failover.ErrNoRecord
	}
	if err != nil {
		return rec, fmt.Errorf("rediscoord: load: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &rec); err != nil {
		return rec, fmt.Errorf("rediscoord: %s holds no record: %w", s.cfg.Key, err)
	}
	return rec, nil
}

// CompareAndSwap stores next.
func (s *Store) CompareAndSwap(ctx context.Context, sequence uint64, next failover.Record) error {
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("rediscoord: record: %w", err)
	}
	stored, err := swapScript.Run(ctx, s.client, s.keys, strconv.FormatUint(sequence, 10), strconv.FormatUint(next.Sequence, 10), text).Int()
	if err != nil {
		return fmt.Errorf("rediscoord: swap: %w", err)
	}
	if stored == 0 {
		return failover.ErrConflict
	}
	return nil
}

// Vote stores v.
func (s *Store) Vote(ctx context.Context, v failover.Vote) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("rediscoord: vote: %w", err)
	}
	stored, err := voteScript.Run(ctx, s.client, s.keys, v.Instance, fmt.Sprintf("%020d%s", v.Number, text)).Int()
	switch {
	case err != nil:
		return fmt.Errorf("rediscoord: vote: %w", err)
	case stored == 0:
		return failover.ErrConflict
	}
	return nil
}

// Votes returns every instance's newest vote and removes those past their retention.
func (s *Store) Votes(ctx context.Context) ([]failover.Vote, error) {
	texts, err := votesScript.RunRO(ctx, s.client, s.keys).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("rediscoord: votes: %w", err)
	}
	var votes []failover.Vote
	var old []any
	for _, text := range texts {
		var v failover.Vote
		if err := json.Unmarshal([]byte(text[min(20, len(text)):]), &v); err != nil {
			return nil, fmt.Errorf("rediscoord: %s:votes holds something else: %w", s.cfg.Key, err)
		}
		if time.Since(v.At) > failover.VoteRetention {
			old = append(old, v.Instance, text)
			continue
		}
		votes = append(votes, v)
	}
	if len(old) > 0 {
		_ = dropScript.Run(ctx, s.client, s.keys, old...).Err() // the next reader tries again
	}
	return votes, nil
}

// Info says what the package comment explains.
func (s *Store) Info() failover.CoordinatorInfo {
	return failover.CoordinatorInfo{Name: "redis", Linearizable: false, Survives: s.cfg.Survives}
}
