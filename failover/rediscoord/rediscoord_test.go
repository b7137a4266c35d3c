package rediscoord_test

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/coordtest"
	"github.com/holdfast-go/holdfast/failover/rediscoord"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func open(t *testing.T) (*rediscoord.Store, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	s, err := rediscoord.New(client, rediscoord.Config{Survives: []failover.Region{"us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	return s, server
}

func TestCoordinator(t *testing.T) {
	coordtest.Run(t, func(t *testing.T) failover.Coordinator {
		s, _ := open(t)
		return s
	})
}

func TestAgainstRedis(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: servertest.Env(t, servertest.RedisA)})
	t.Cleanup(func() { client.Close() })
	coordtest.Run(t, func(t *testing.T) failover.Coordinator {
		s, err := rediscoord.New(client, rediscoord.Config{Key: "{failover-" + rand.Text() + "}"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestFencedScript(t *testing.T) {
	server := miniredis.RunT(t)
	clients := []*redis.Client{redis.NewClient(&redis.Options{Addr: server.Addr()})}
	if addr, ok := os.LookupEnv(string(servertest.RedisA)); ok {
		clients = append(clients, redis.NewClient(&redis.Options{Addr: addr}))
	}
	incr := rediscoord.NewFencedScript(`return redis.call('INCRBY', KEYS[1], ARGV[1])`)
	for _, client := range clients {
		t.Cleanup(func() { client.Close() })
		fence, counter := "{"+rand.Text()+"}fence", "{x}"+rand.Text()
		run := func(epoch uint64) (int, error) {
			return incr.Run(t.Context(), client, failover.Fence{Epoch: epoch}, fence, []string{counter}, 2).Int()
		}
		for _, tt := range []struct {
			epoch uint64
			want  int
		}{{3, 2}, {3, 4}, {1 << 48, 6}, {3, 0}, {1<<48 - 1, 0}, {1<<48 | 1, 8}} {
			n, err := run(tt.epoch)
			stale, refused := errors.AsType[*rediscoord.StaleEpochError](err)
			if n != tt.want || refused != (tt.want == 0) || refused && (stale.Learned != failover.FormatEpoch(1<<48) || !stale.NotRun()) {
				t.Errorf("Run at epoch %x = %d, %v, want %d", tt.epoch, n, err, tt.want)
			}
		}
	}
}

func TestGarbageIsNamed(t *testing.T) {
	s, server := open(t)
	server.HSet("{holdfast-failover}", "sequence", "1", "record", "garbage")
	if _, err := s.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "{holdfast-failover}") {
		t.Errorf("Load = %v, want an error that names the key", err)
	}
}

func TestControllerRefusesRedisWithALease(t *testing.T) {
	s, _ := open(t)
	cfg := failover.ControllerConfig{Regions: []failover.Region{"us-east-1", "us-west-2"}, Self: "us-east-1", Coordinator: s}
	if _, err := failover.NewController(cfg); err == nil || !strings.Contains(err.Error(), "ControllerConfig.Coordinator") {
		t.Errorf("NewController = %v, want a refusal that names the field", err)
	}
	cfg.AcceptCoordinatorRisk = "test"
	if _, err := failover.NewController(cfg); err != nil {
		t.Errorf("NewController with AcceptCoordinatorRisk = %v, want nil", err)
	}
}

func TestNewRefusesANilClient(t *testing.T) {
	if _, err := rediscoord.New(nil, rediscoord.Config{}); err == nil {
		t.Error("New(nil) = nil error")
	}
}
