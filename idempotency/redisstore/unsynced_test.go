package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
)

const roundTrip = 60 * time.Millisecond

// A far server is a round trip away and holds one note in each bucket, two pages long.
type far struct {
	redis.Scripter
	asked         atomic.Int32
	now, most     atomic.Int32 // requests under way
	fail, corrupt string       // buckets
}

var errFar = errors.New("no route to host")

func (f *far) EvalSha(ctx context.Context, _ string, keys []string, args ...any) *redis.Cmd {
	f.asked.Add(1)
	if n := f.now.Add(1); n > f.most.Load() {
		f.most.Store(n)
	}
	defer f.now.Add(-1)
	cmd := redis.NewCmd(ctx)
	timer := time.NewTimer(roundTrip)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		cmd.SetErr(ctx.Err())
		return cmd
	}
	bucket := keys[0]
	switch {
	case f.fail != "" && strings.Contains(bucket, f.fail):
		cmd.SetErr(errFar)
	case f.corrupt != "" && strings.Contains(bucket, f.corrupt):
		cmd.SetErr(errors.New("WRONGTYPE Operation against a key"))
	case args[0] == "0":
		cmd.SetVal([]any{"7"})
	default:
		cmd.SetVal([]any{"0", "|charge|" + bucket, "1 " + idempotency.Fence{Epoch: 1, N: 1}.String()})
	}
	return cmd
}

func list(ctx context.Context, s *redisstore.Store) (marks map[string]int, errs []error) {
	marks = map[string]int{}
	for m, err := range s.Unsynced(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		marks[m.Key.ID]++
	}
	return marks, errs
}

func TestUnsyncedAsksSixteenBucketsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &far{}
		s := newStore(t, f, redisstore.Config{})
		start := time.Now()
		marks, errs := list(t.Context(), s)
		if got, want := time.Since(start), 128*2/16*roundTrip; got != want || f.most.Load() != 16 {
			t.Errorf("the listing took %v with %d requests at a time, want %v with 16", got, f.most.Load(), want)
		}
		if len(marks) != 128 || len(errs) != 0 {
			t.Errorf("%d keys listed, errors %v, want 128", len(marks), errs)
		}
	})
}

func TestUnsyncedIsWholeOrAnError(t *testing.T) {
	for name, c := range map[string]struct {
		far     *far
		timeout time.Duration
		want    error
		marks   int // at least
	}{
		"the server goes":                {&far{fail: "{40}"}, time.Hour, errFar, 0},
		"the caller goes":                {&far{}, 5 * roundTrip / 2, context.DeadlineExceeded, 16},
		"one bucket's notes are damaged": {&far{corrupt: "{40}"}, time.Hour, idempotency.ErrCorrupt, 127},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
				defer cancel()
				marks, errs := list(ctx, newStore(t, c.far, redisstore.Config{}))
				if len(errs) != 1 || !errors.Is(errs[0], c.want) || len(marks) < c.marks {
					t.Errorf("%d keys, errors %v, want at least %d and one %v", len(marks), errs, c.marks, c.want)
				}
			})
		})
	}
}

// Whoever stops reading leaves no request behind: the bubble ends only when all goroutines have.
func TestUnsyncedEndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &far{}
		for range newStore(t, f, redisstore.Config{}).Unsynced(t.Context()) { //nolint:errcheck // it is broken off
			break
		}
		if n := f.now.Load(); n != 0 || f.asked.Load() > 4*16 {
			t.Errorf("%d requests under way after the listing, %d made", n, f.asked.Load())
		}
		defer func() {
			if recover() == nil || f.now.Load() != 0 {
				t.Errorf("a panic of the reader: %d requests under way", f.now.Load())
			}
		}()
		for range newStore(t, f, redisstore.Config{}).Unsynced(t.Context()) { //nolint:errcheck // it is broken off
			panic("reader")
		}
	})
}
