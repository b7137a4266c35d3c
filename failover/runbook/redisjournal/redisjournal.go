// Package redisjournal keeps runbook journals in Redis, for runners on several machines.
//
// An entry is as durable as Redis makes it: with asynchronous replication a failover of Redis can lose the newest entries, among them
// the one that says that a Do was started. Use a Redis outside the Regions that the runbook moves, with appendfsync always, or the file
// journal.
//
// # Keys
//
// <Config.Prefix>{<run>}: a list of JSON lines, one per entry; <Config.Prefix>runs: a sorted set of run IDs by the instant of their first entry, in
// seconds. Every operation on a run is one script.
package redisjournal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// Config configures a [Journal].
type Config struct {
	// Prefix begins every key. Empty means "holdfast:runbook:".
	Prefix string
}

// A Journal is a [runbook.Journal] in Redis. It is safe for concurrent use.
type Journal struct {
	client redis.UniversalClient
	prefix string
}

// New returns a journal over client, which the caller owns. It does no I/O.
func New(client redis.UniversalClient, cfg Config) (*Journal, error) {
	if client == nil {
		return nil, errors.New("redisjournal: New: client is nil")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "holdfast:runbook:"
	}
	if strings.ContainsAny(cfg.Prefix, "{}\r\n\x00") {
		return nil, fmt.Errorf("redisjournal: Config.Prefix: %q has braces or control characters", cfg.Prefix)
	}
	return &Journal{client: client, prefix: cfg.Prefix}, nil
}

func (j *Journal) key(run string) (string, error) {
	if run == "" || strings.ContainsAny(run, "{}\r\n\x00") {
		return "", fmt.Errorf("redisjournal: run ID %q is empty or has braces or control characters", run)
	}
	return j.prefix + "{" + run + "}", nil
}

// addScript appends a line if the list still has the length that the line was chained to. The chain needs the line before, which is made
// here in Go: so an append is optimistic, and tried again after a conflict. A line that is there already was stored by a first attempt
// whose reply the client lost.
var addScript = redis.NewScript(`
local n = redis.call('LLEN', KEYS[1])
if n == tonumber(ARGV[1]) then
  redis.call('RPUSH', KEYS[1], ARGV[2])
  return 1
end
if redis.call('LINDEX', KEYS[1], ARGV[1]) == ARGV[2] then return 1 end
return 0`)

// casFloor is the least pause after a conflict; as much again is added at random.
const casFloor = 50 * time.Millisecond

// add chains and appends e once check agrees with the entries so far.
func (j *Journal) add(ctx context.Context, e runbook.Entry, check func([]runbook.Entry, *runbook.Entry) error) error {
	key, err := j.key(e.Run)
	if err != nil {
		return err
	}
	for {
		lines, err := j.client.LRange(ctx, key, 0, -1).Result()
		if err != nil {
			return fmt.Errorf("redisjournal: %w", err)
		}
		entries, err := decode(e.Run, lines)
		if err != nil {
			return err
		}
		next := e
		if err := check(entries, &next); err != nil {
			return err
		}
		var last []byte
		if len(lines) > 0 {
			last = []byte(lines[len(lines)-1])
		} else if err := j.index(ctx, e); err != nil {
			return err
		}
		line, err := runbook.Chain(last, next)
		if err != nil {
			return err
		}
		stored, err := addScript.Run(ctx, j.client, []string{key}, len(lines), line).Int()
		if err != nil {
			return fmt.Errorf("redisjournal: %w", err)
		}
		if stored == 1 {
			return nil
		}
		if err := pause(ctx, casFloor+rand.N(casFloor)); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// index makes the run known before its first entry: a crash in between leaves an index entry without a run, which Runs passes over.
func (j *Journal) index(ctx context.Context, e runbook.Entry) error {
	at := float64(e.At.UnixNano()) / float64(time.Second)
	if err := j.client.ZAddNX(ctx, j.prefix+"runs", redis.Z{Score: at, Member: e.Run}).Err(); err != nil {
		return fmt.Errorf("redisjournal: %w", err)
	}
	return nil
}

// highest is the highest token among entries.
func highest(entries []runbook.Entry) (token uint64) {
	for _, e := range entries {
		if e.Event == runbook.EventAcquired {
			token = max(token, e.Token)
		}
	}
	return token
}

// Acquire makes its caller the run's runner.
func (j *Journal) Acquire(ctx context.Context, first runbook.Entry) (token uint64, err error) {
	err = j.add(ctx, first, func(entries []runbook.Entry, e *runbook.Entry) error {
		token = highest(entries) + 1
		e.Event, e.Token = runbook.EventAcquired, token
		return nil
	})
	return token, err
}

// Append stores e.
func (j *Journal) Append(ctx context.Context, e runbook.Entry) error {
	return j.add(ctx, e, func(entries []runbook.Entry, e *runbook.Entry) error {
		if e.Token != 0 && highest(entries) > e.Token {
			return runbook.ErrFenced
		}
		return nil
	})
}

// Load returns the run's entries.
func (j *Journal) Load(ctx context.Context, run string) ([]runbook.Entry, error) {
	key, err := j.key(run)
	if err != nil {
		return nil, err
	}
	lines, err := j.client.LRange(ctx, key, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("redisjournal: %w", err)
	}
	return decode(run, lines)
}

// Runs returns the first entry of every run.
func (j *Journal) Runs(ctx context.Context) (first []runbook.Entry, err error) {
	ids, err := j.client.ZRange(ctx, j.prefix+"runs", 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("redisjournal: %w", err)
	}
	for _, id := range ids {
		entries, err := j.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			first = append(first, entries[0])
		}
	}
	return first, nil
}

func decode(run string, lines []string) (entries []runbook.Entry, err error) {
	for i, line := range lines {
		var e runbook.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("redisjournal: run %q: line %d: %w", run, i+1, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
