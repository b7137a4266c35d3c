package linear_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/linear"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

const second = time.Second

// A script is calls of key k, made one inside the other or one after the other.
type script struct {
	w *drtest.World
	r *linear.Registers
}

var errLost = errors.New("connection lost") // says nothing about what happened

func (s script) write(v string, err error) {
	_ = s.r.Write(0, "k", v, func() error { time.Sleep(second); return err })
	time.Sleep(second)
}

func (s script) read(v string, err error) {
	_, _, _ = s.r.Read(1, "k", func() (string, bool, error) { time.Sleep(second); return v, v != "", err })
	time.Sleep(second)
}

func (s script) swap(from, to string, swapped bool, err error) {
	_, _ = s.r.Swap(2, "k", from, to, func() (bool, error) { time.Sleep(second); return swapped, err })
	time.Sleep(second)
}

// judge runs a script and returns the verdict on it.
func judge(t *testing.T, c check.Check, f func(s script)) check.Verdict {
	t.Helper()
	var world *drtest.World
	drtest.Run(t, drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		world = w
		f(script{w, linear.NewRegisters(w, "db")})
	})
	return c.Evaluate(world.History())
}

func TestRegisters(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(s script)
		want check.Status
	}{
		{"nothing recorded", func(script) {}, check.StatusInconclusive},
		{"empty at first", func(s script) { s.read("", nil) }, check.StatusPassed},
		{"reads what was written", func(s script) { s.write("1", nil); s.read("1", nil); s.write("2", nil); s.read("2", nil) }, check.StatusPassed},
		{"stale", func(s script) { s.write("1", nil); s.write("2", nil); s.read("1", nil) }, check.StatusFailed},
		{"lost", func(s script) { s.write("1", nil); s.read("", nil) }, check.StatusFailed},
		{"from nowhere", func(s script) { s.read("7", nil) }, check.StatusFailed},
		{"an unknown write may have happened", func(s script) { s.write("1", nil); s.write("2", errLost); s.read("2", nil) }, check.StatusPassed},
		{"or not", func(s script) { s.write("1", nil); s.write("2", errLost); s.read("1", nil) }, check.StatusPassed},
		{"or later", func(s script) {
			s.write("1", nil)
			s.write("2", errLost)
			s.read("1", nil)
			s.read("2", nil)
			s.read("2", nil)
		}, check.StatusPassed},
		{"but only once", func(s script) {
			s.write("1", nil)
			s.write("2", errLost)
			s.read("2", nil)
			s.write("3", nil)
			s.read("3", nil)
			s.read("2", nil)
		}, check.StatusFailed},
		{"a refused write has not", func(s script) { s.write("1", nil); s.write("2", drtest.ErrFenced); s.read("2", nil) }, check.StatusFailed},
		{"a read without an answer says nothing", func(s script) { s.write("1", nil); s.read("", errLost); s.read("1", nil) }, check.StatusPassed},
		{"swap", func(s script) {
			s.write("1", nil)
			s.swap("1", "2", true, nil)
			s.swap("1", "3", false, nil)
			s.read("2", nil)
		}, check.StatusPassed},
		{"two swaps cannot win", func(s script) { s.write("1", nil); s.swap("1", "2", true, nil); s.swap("1", "3", true, nil) }, check.StatusFailed},
		{"unknown swap", func(s script) { s.write("1", nil); s.swap("1", "2", false, errLost); s.read("2", nil) }, check.StatusPassed},
		{"unknown swap that cannot", func(s script) { s.write("1", nil); s.swap("9", "2", false, errLost); s.read("2", nil) }, check.StatusFailed},
		{"a refused swap has met an unknown write", func(s script) { s.write("1", nil); s.write("2", errLost); s.swap("1", "3", false, nil) }, check.StatusPassed},
		{"a refused swap without one", func(s script) { s.write("1", nil); s.swap("1", "3", false, nil) }, check.StatusFailed},
		{"one store did not answer, the other refused", func(s script) {
			s.write("1", nil)
			s.write("2", errors.Join(errLost, drtest.ErrReadOnly))
			s.read("2", nil)
		}, check.StatusPassed},
		{"both stores refused", func(s script) {
			s.write("1", nil)
			s.write("2", errors.Join(drtest.ErrFenced, drtest.ErrReadOnly))
			s.read("2", nil)
		}, check.StatusFailed},
		{"delete", func(s script) {
			s.write("1", nil)
			_ = s.r.Delete(0, "k", func() error { return nil })
			s.read("", nil)
		}, check.StatusPassed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v := judge(t, linear.Check("db"), tt.f); v.Status != tt.want {
				t.Errorf("%v", v)
			}
		})
	}
}

// What is under way when the World ends may have happened: whoever has seen it has seen nothing wrong.
func TestCallsUnderWayAtTheEnd(t *testing.T) {
	hangs := func(s script, v string) {
		s.w.Region("east").Go("writer of "+v, func(ctx context.Context) error {
			return s.r.Write(3, "k", v, func() error { <-ctx.Done(); return ctx.Err() })
		})
		time.Sleep(second)
	}
	for name, tt := range map[string]struct {
		do   func(s script)
		want check.Status
	}{
		"a write that was seen":            {func(s script) { s.write("a", nil); hangs(s, "x"); s.read("a", nil); s.read("x", nil) }, check.StatusPassed},
		"a write that was seen and unmade": {func(s script) { s.write("a", nil); hangs(s, "x"); s.read("x", nil); s.read("a", nil) }, check.StatusFailed},
		"a value that nobody wrote":        {func(s script) { s.write("a", nil); hangs(s, "x"); s.read("y", nil) }, check.StatusFailed},
		"a call that ended its goroutine": {func(s script) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.r.Write(3, "k", "x", func() error { runtime.Goexit(); return nil })
			}()
			<-done
			s.read("x", nil)
		}, check.StatusPassed},
	} {
		t.Run(name, func(t *testing.T) {
			if v := judge(t, linear.Check("db"), tt.do); v.Status != tt.want {
				t.Errorf("%v, want %s", v, tt.want)
			}
		})
	}
}

func TestVerdictNamesTheCalls(t *testing.T) {
	dir := t.TempDir()
	v := judge(t, linear.Check("db").Pictures(dir), func(s script) { s.write("1", nil); s.write("2", nil); s.read("1", nil) })
	for _, want := range []string{`Linear(db): 1 of 1 keys without an order`, `an order exists for 2 of 3 calls`, `from 4s to 5s client 1: read -> "1"`} {
		if !strings.Contains(v.String(), want) {
			t.Errorf("no %q in %v", want, v)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.html")); len(files) != 1 {
		t.Errorf("pictures %q", files)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "db-k.html")); err != nil || len(data) == 0 {
		t.Error(err)
	}
}

// A counter is an object with a model of its own.
func TestCheckModel(t *testing.T) {
	counter := porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, _, out any) (bool, any) {
			n := state.(int) + 1
			return out == nil || out.(int) == n, n
		},
	}
	count := func(answers ...any) check.Verdict {
		return judge(t, linear.CheckModel("counter", counter), func(s script) {
			for _, a := range answers {
				_, _ = linear.Record(s.w, "counter", "", 0, "add", func() (any, error) {
					time.Sleep(second)
					if a == nil {
						return nil, errLost
					}
					return a, nil
				})
			}
		})
	}
	if v := count(1, 2, nil, 4); v.Status != check.StatusPassed {
		t.Error(v)
	}
	if v := count(1, 2, 2); v.Status != check.StatusFailed {
		t.Error(v)
	}
}

// failover is a store that is promoted with asynchronous replication. Readers of the new writer miss what was not
// replicated, which is no linearizable register; without a fault it is one.
func failover(t *testing.T, events ...drtest.Event) check.Verdict {
	t.Helper()
	var world *drtest.World
	drtest.Run(t, drtest.Config{Seed: 5, Fidelity: drtest.FidelityMessages, Settle: 30 * second}, func(_ *testing.T, w *drtest.World) {
		world = w
		east, west, users := w.Region("east"), w.Region("west"), w.Region("users")
		db := east.Store("db")
		dr := west.Store("db-dr", drtest.ReplicaOf(db, drtest.Lag(2*second)))
		clients := []*drtest.StoreClient{db.Client(users), dr.Client(users)}
		var active atomic.Int32
		west.Go("monitor", func(ctx context.Context) error {
			for w.Net().Shape("users", "east").Mode == simnet.ModeUp {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(second):
				}
			}
			active.Store(1)
			return dr.Promote(2)
		})
		r := linear.NewRegisters(w, "db")
		w.Load(drtest.Load{Name: "calls", Clients: 4, Rate: drtest.Poisson(2), Timeout: second, Do: func(ctx context.Context, op *drtest.Op) error {
			c, key := clients[active.Load()], fmt.Sprint("k", op.Client()%2)
			if op.Client() < 2 {
				return r.Write(op.Client(), key, op.Key(), func() error { return c.Put(ctx, key, op.Key(), 0) })
			}
			_, _, err := r.Read(op.Client(), key, func() (string, bool, error) { return c.Get(ctx, key) })
			return err
		}})
		w.Play(drtest.Timeline("outage", events...))
	})
	return linear.Check("db").Evaluate(world.History())
}

func TestWorldIsLinearizableUntilItFailsOver(t *testing.T) {
	if v := failover(t); v.Status != check.StatusPassed {
		t.Errorf("in peace: %v", v)
	}
	if v := failover(t, drtest.At(10*second, fault.PartitionOneWay("east", "users")).For(3*second)); v.Status != check.StatusPassed {
		t.Errorf("with answers lost: %v", v)
	}
	v := failover(t, drtest.At(10*second, fault.RegionDown("east", fault.ModeBlackhole)).For(20*second))
	if v.Status != check.StatusFailed {
		t.Errorf("after a promotion that lost writes: %v", v)
	}
}

// A search that does not end is no verdict.
func TestWithin(t *testing.T) {
	h := history.New()
	for i := range 200 {
		h.AddCall(history.Call{Object: "o", Key: "k", Input: i, Output: nil, Start: 0, End: second, Known: false})
	}
	h.Finish(10 * second)
	slow := porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, in, _ any) (bool, any) { return true, state.(int)*31 + in.(int) },
	}
	never := porcupine.Model{Init: slow.Init, Step: func(state, in, _ any) (bool, any) {
		return in.(int) != 199, state.(int)*31 + in.(int)
	}}
	if v := linear.CheckModel("o", never).Within(100 * time.Millisecond).Evaluate(h); v.Status != check.StatusInconclusive || !strings.Contains(v.String(), "no answer within 100ms") {
		t.Error(v)
	}
	if v := linear.CheckModel("o", slow).Evaluate(h); v.Status != check.StatusInconclusive || !strings.Contains(v.String(), "nothing to judge") {
		t.Errorf("no call has a known outcome: %v", v)
	}
}
