package rediscoord_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

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

// A hook does something between a command's effect and its answer, once.
type hook struct {
	redis.Hook
	process func(next redis.ProcessHook, ctx context.Context, cmd redis.Cmder) error
}

func (h hook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return h.process(next, ctx, cmd) }
}

// A swap whose answer was lost was made. The client sends it again, and it is no conflict.
func TestSwapWithALostAnswerIsOnesOwn(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { client.Close() })
	repeat := false
	client.AddHook(hook{process: func(next redis.ProcessHook, ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil || !repeat {
			return err
		}
		return next(ctx, cmd)
	}})
	s, err := rediscoord.New(client, rediscoord.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		repeat = i > 0
		if err := s.CompareAndSwap(t.Context(), i, coordtest.Sample(i+1)); err != nil {
			t.Errorf("CompareAndSwap(%d) = %v, want nil", i, err)
		}
	}
	other := coordtest.Sample(3)
	other.Stamps = []string{"other"}
	if err := s.CompareAndSwap(t.Context(), 2, other); !errors.Is(err, failover.ErrConflict) {
		t.Errorf("another's swap = %v, want ErrConflict", err)
	}
}

// An instance that comes back votes while somebody drops its old vote: the new one stays.
func TestReturningInstanceKeepsItsVote(t *testing.T) {
	s, server := open(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	back := failover.Vote{Instance: "a", Number: 2, At: time.Now()}
	client.AddHook(hook{process: func(next redis.ProcessHook, ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if _, list := cmd.(*redis.Cmd); list && err == nil && back.Number == 2 { // the votes have been read
			vote := back
			back.Number = 0
			if err := s.Vote(t.Context(), vote); err != nil {
				t.Error(err)
			}
		}
		return err
	}})
	if err := s.Vote(t.Context(), failover.Vote{Instance: "a", Number: 1, At: time.Now().Add(-failover.VoteRetention - time.Minute)}); err != nil {
		t.Fatal(err)
	}
	reader, err := rediscoord.New(client, rediscoord.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if votes, err := reader.Votes(t.Context()); err != nil || len(votes) != 0 {
		t.Errorf("Votes = %v, %v, want the old one left out", votes, err)
	}
	if votes, err := s.Votes(t.Context()); err != nil || len(votes) != 1 || votes[0].Number != 2 {
		t.Errorf("Votes = %v, %v, want the new one", votes, err)
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
