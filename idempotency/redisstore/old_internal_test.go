package redisstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency/storetest"
)

// An oldServer refuses the script that says NX and GET to SET, as Redis 6 does.
type oldServer struct {
	script  *redis.Script
	refused atomic.Int64
}

var errSyntax = errors.New("ERR syntax error script: first, on @user_script:2")

func (o *oldServer) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o *oldServer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if slices.Contains(cmd.Args(), any(o.script.Hash())) {
			o.refused.Add(1)
			cmd.SetErr(errSyntax)
			return errSyntax
		}
		return next(ctx, cmd)
	}
}

func (o *oldServer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestServersBeforeVersion7(t *testing.T) {
	old := &oldServer{}
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		m := miniredis.RunT(t)
		m.ClockTTL(true)
		client := redis.NewClient(&redis.Options{Addr: m.Addr()})
		t.Cleanup(func() { client.Close() })
		s, err := New(client, Config{})
		if err != nil {
			t.Fatal(err)
		}
		old.script = s.scripts.first
		old.refused.Store(0)
		client.AddHook(old)
		t.Cleanup(func() {
			if n := old.refused.Load(); n > 16 { // as many as claim at one time before the first has its answer
				t.Errorf("the server was asked %d times for what it cannot do", n)
			}
		})
		return storetest.Subject{Store: s, Lose: m.FlushAll}
	})
}

// A record that expires between two commands of a script is no record, and not a foreign one.
func TestRecordExpiresWithinAScript(t *testing.T) {
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr()})
	t.Cleanup(func() { client.Close() })
	script := redis.NewScript("local v = ARGV[1] " + recordLua + " return {v and 1 or 7}")
	read := "hf2i" + strings.Repeat("0", 125)
	for _, exists := range []bool{false, true} {
		want := int64(7)
		if exists {
			want = 1
			m.Set("k", read)
			m.SetTTL("k", time.Minute)
		}
		got, err := script.Run(t.Context(), client, []string{"k"}, read).Int64Slice()
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("with the key there = %t the script says %v, %v, want %d", exists, got, err, want)
		}
	}
}
