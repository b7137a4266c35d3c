package journaltest_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/journaltest"
	"github.com/holdfast-go/holdfast/failover/runbook/redisjournal"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func TestMemory(t *testing.T) {
	journaltest.Run(t, func(*testing.T) runbook.Journal { return runbook.NewMemoryJournal() })
}

func TestFile(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) runbook.Journal {
		j, err := runbook.OpenJournal(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return j
	})
}

func TestMiniredis(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) runbook.Journal { return open(t, miniredis.RunT(t).Addr(), "") })
}

func TestRedis(t *testing.T) {
	addr := servertest.Env(t, servertest.RedisA)
	n := 0
	journaltest.Run(t, func(t *testing.T) runbook.Journal {
		n++
		return open(t, addr, fmt.Sprintf("journaltest:%d:%d:", time.Now().UnixNano(), n))
	})
}

func open(t *testing.T, addr, prefix string) runbook.Journal {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	j, err := redisjournal.New(client, redisjournal.Config{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// A lostReply lets a script's first reply get lost on its way, so that the client sends it again.
type lostReply struct{ lost atomic.Bool }

func (h *lostReply) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *lostReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *lostReply) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if strings.HasPrefix(cmd.Name(), "eval") && err == nil && h.lost.CompareAndSwap(false, true) {
			return next(ctx, cmd) // what go-redis does when a connection breaks after the server has run the command
		}
		return err
	}
}

func TestRedisStoresALineOnceThoughItsReplyWasLost(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { client.Close() })
	client.AddHook(&lostReply{})
	j, err := redisjournal.New(client, redisjournal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := j.Acquire(t.Context(), runbook.Entry{Run: "run", Runbook: "book", By: "ann", At: time.Now()})
	entries, loadErr := j.Load(t.Context(), "run")
	if err != nil || loadErr != nil || token != 1 || len(entries) != 1 {
		t.Errorf("Acquire = %d, %v with %d entries, %v; want token 1 and one entry", token, err, len(entries), loadErr)
	}
}
