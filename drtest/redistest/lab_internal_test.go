package redistest

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/drtest"
)

// Scripts with what they are given. Each also says whether the lab runs it.
var trials = []struct {
	source string
	keys   []string
	argv   []any
	ours   bool
}{
	{`return {KEYS[1], KEYS[2], ARGV[1], #ARGV, #KEYS}`, []string{"a", "b"}, []any{"1", 2, ""}, true},
	{`return 3.9`, nil, nil, true},
	{`return true`, nil, nil, true},
	{`return false`, nil, nil, true},
	{`return nil`, nil, nil, true},
	{``, nil, nil, true},
	{`return {1, 'two', {3, false, true}, nil, 5}`, nil, nil, true},
	{`return {ok = 'FINE'}`, nil, nil, true},
	{`return {err = 'MINE is this'}`, nil, nil, true},
	{`return redis.error_reply('NAUGHTY boy')`, nil, nil, true},
	{`return redis.error_reply('alone')`, nil, nil, true},
	{`return redis.error_reply('-DASH and more')`, nil, nil, true},
	{`return redis.error_reply(7)`, nil, nil, true},
	{`return redis.status_reply('good')`, nil, nil, true},
	{`return redis.sha1hex('x')`, nil, nil, true},
	{`return redis.sha1hex()`, nil, nil, true},
	{`redis.log(1, 'x') return 1`, nil, nil, true},
	{`return redis.call('SET', KEYS[1], ARGV[1], 'PX', 5000)`, []string{"k"}, []any{"v"}, true},
	{`return redis.call('get', KEYS[1])`, []string{"k"}, nil, true},
	{`return redis.call('GET', 'nothing')`, nil, nil, true},
	{`return redis.call('INCRBY', 'n', 5)`, nil, nil, true},
	{`return redis.call('INCRBYFLOAT', 'f', 1.5)`, nil, nil, true},
	{`redis.call('HSET', 'h', 'a', 1, 'b', 2) return redis.call('HGETALL', 'h')`, nil, nil, true},
	{`redis.call('RPUSH', 'l', 'a', 'b') return redis.call('LRANGE', 'l', 0, -1)`, nil, nil, true},
	{`return redis.call('HSCAN', 'h', 0, 'COUNT', '100')`, nil, nil, true},
	{`redis.call('RPUSH', 'l', 'c') return redis.call('INCR', 'l')`, nil, nil, true},
	{`local r = redis.pcall('INCR', 'l') return {r.err, type(r)}`, nil, nil, true},
	{`return redis.pcall('INCR', 'l')`, nil, nil, true},
	{`return redis.call('NOSUCH', 'l')`, nil, nil, true},
	{`return redis.pcall('NOSUCH', 'l')`, nil, nil, true},
	{`return redis.call('` + commandContext + `')`, nil, nil, true},
	{`return redis.call()`, nil, nil, true},
	{`return redis.call('SET', {}, 1)`, nil, nil, true},
	{`return redis.call('PUBLISH', 'c', 'm')`, nil, nil, true},
	{`redis.call('SET', 'half', 1) error('broken')`, nil, nil, true},
	{`x = 1`, nil, nil, true},
	{`return y`, nil, nil, true},
	{`local t = nil return t.x`, nil, nil, true},
	{`return cjson.encode({a = 1})`, nil, nil, true},
	{`return cjson.decode(ARGV[1]).a[2]`, nil, []any{`{"a":[1,"two"]}`}, true},
	{`return string.format('%016d %s', 12, math.max(1, 2)) .. table.concat({'a', 'b'}, ',')`, nil, nil, true},
	{`return {tonumber('0x10'), tonumber('7', 10), tostring(nil)}`, nil, nil, true},
	{`return #unpack(ARGV)`, nil, []any{"abc"}, true},
	{`KEYS = {'other'} return KEYS[1]`, []string{"k"}, nil, true},
	{`return redis.call('MULTI')`, nil, nil, true},
	{`return redis.call('SELECT', 3)`, nil, nil, false},
	{`string.sub = nil return 1`, nil, nil, false},
	{`return string.sub('abc', 2)`, nil, nil, true}, // still there
	{`redis.setresp(3) return redis.call('GET', 'nothing')`, nil, nil, false},
	{`return os.clock()`, nil, nil, false},
	{`return server.call('GET', 'k')`, nil, nil, false},
	{`this is no Lua`, nil, nil, false},
}

// A script gives the same in the lab as in miniredis, and leaves the same behind.
func TestLabRunsScriptsAsMiniredisDoes(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		r := w.Region("r")
		ctx := t.Context()
		var servers [2]*Server // that runs EVAL, which miniredis does; that runs EVALSHA
		var clients [2]*redis.Client
		for i := range servers {
			servers[i] = Start(r)
			clients[i] = servers[i].Client(r)
		}
		for _, trial := range trials {
			if got := newScript(trial.source).proto != nil; got != trial.ours {
				t.Errorf("%s: the lab runs it: %v, want %v", trial.source, got, trial.ours)
			}
			sha, err := clients[1].ScriptLoad(ctx, trial.source).Result()
			if err != nil {
				continue // no Lua
			}
			want := reply(clients[0].Eval(ctx, trial.source, trial.keys, trial.argv...))
			if got := reply(clients[1].EvalSha(ctx, sha, trial.keys, trial.argv...)); got != want {
				t.Errorf("%s\n in the lab:  %s\n miniredis:   %s", trial.source, got, want)
			}
			if got, want := contents(ctx, clients[1]), contents(ctx, clients[0]); !reflect.DeepEqual(got, want) {
				t.Errorf("%s leaves %v, want %v", trial.source, got, want)
			}
		}
	})
}

func reply(c *redis.Cmd) string {
	v, err := c.Result()
	text, _, _ := strings.Cut(fmt.Sprintf("%#v, %v", v, err), " stack traceback")
	return position.ReplaceAllString(text, "")
}

// position is where a script was; that of an unknown global is in the prelude.
var position = regexp.MustCompile(`(<string>)?:\d+:`)

func contents(ctx context.Context, c *redis.Client) (all []string) {
	for _, k := range c.Keys(ctx, "*").Val() {
		all = append(all, fmt.Sprintf("%s %s %v", k, c.Type(ctx, k).Val(), c.TTL(ctx, k).Val()))
	}
	slices.Sort(all)
	return all
}

// A script that was flushed is unknown, one in a transaction waits for EXEC, and one works on the database that the connection has chosen.
func TestLabKnowsWhatIsMiniredisToSay(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		r := w.Region("r")
		s := Start(r)
		ctx := t.Context()
		conn := s.Client(r).Conn()
		defer conn.Close()
		set := redis.NewScript(`return redis.call('SET', KEYS[1], ARGV[1])`)
		for db, want := range []string{"zero", "one"} {
			if err := conn.Select(ctx, db).Err(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := set.Run(ctx, conn, []string{"k"}, want).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := s.Inside().DB(db).Get("k"); got != want || err != nil {
				t.Errorf("database %d has %q, %v, want %q", db, got, err, want)
			}
		}
		queued, err := conn.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Select(ctx, 2)
			set.EvalSha(ctx, p, []string{"k"}, "two")
			return nil
		})
		if err != nil || queued[1].(*redis.Cmd).Val() != "OK" {
			t.Errorf("in a transaction: %v, %v", queued, err)
		}
		if err := set.EvalSha(ctx, conn, []string{"after"}, "two").Err(); err != nil || !s.Inside().DB(2).Exists("after") {
			t.Errorf("after SELECT in a transaction: %v, want the key in database 2", err)
		}
		if err := conn.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if err := set.EvalSha(ctx, conn, []string{"k"}, "gone").Err(); !redis.HasErrorPrefix(err, "NOSCRIPT") {
			t.Errorf("EVALSHA after SCRIPT FLUSH = %v, want NOSCRIPT", err)
		}
		s.Inside().RequireAuth("secret")
		other := s.Client(r)
		if err := set.EvalSha(ctx, other, []string{"k"}, "x").Err(); !redis.HasErrorPrefix(err, "NOAUTH") {
			t.Errorf("EVALSHA without a password = %v, want NOAUTH", err)
		}
	})
}

func BenchmarkScript(b *testing.B) {
	e := newEngine(time.Now())
	c := &conn{peer: deaf(), engine: e}
	source := `return redis.call('SET', KEYS[1], ARGV[1], 'PX', '1000')`
	sha, proto := shaOf(source), newScript(source).proto
	e.Server().Dispatch(c.peer, []string{"SCRIPT", "LOAD", source})
	args := []string{"EVALSHA", sha, "1", "key", "value"}
	for name, run := range map[string]func(){
		"lab":       func() { e.lab.run(c, proto, args) },
		"miniredis": func() { e.Server().Dispatch(c.peer, args) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
