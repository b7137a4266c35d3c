package journaltest_test

import (
	"fmt"
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
