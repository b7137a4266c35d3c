package redisstore_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

const (
	dieEast = "REDISSTORE_TEST_DIE_EAST"
	dieWest = "REDISSTORE_TEST_DIE_WEST"
)

// A mortal replica kills its process when it is told a result.
type mortal struct{ idempotency.Replica }

func (m mortal) Complete(context.Context, idempotency.Completion) (idempotency.Answer, error) {
	if self, err := os.FindProcess(os.Getpid()); err != nil || self.Kill() != nil {
		panic("it lives")
	}
	select {} // the signal is on its way
}

// TestDie is the process that dies, when TestKilledBetweenTheRegions runs it.
func TestDie(t *testing.T) {
	if os.Getenv(dieEast) == "" {
		t.Skip("a part of TestKilledBetweenTheRegions")
	}
	r := overTwo(t, os.Getenv(dieEast), os.Getenv(dieWest), func(s idempotency.Replica) idempotency.Store { return mortal{s} })
	_, _ = idempotency.Do(t.Context(), newGuard(t, r, idempotency.Config{}), idempotency.Key{ID: "a"}, func(context.Context) (string, error) { return "once", nil })
	t.Error("it lives")
}

// overTwo is a regional store that writes in east.
func overTwo(t *testing.T, east, west string, wrap func(idempotency.Replica) idempotency.Store) *idempotency.Regional {
	t.Helper()
	stores := map[string]idempotency.Store{"east": newStore(t, newClient(t, east), redisstore.Config{}), "west": wrap(newStore(t, newClient(t, west), redisstore.Config{}))}
	r, err := idempotency.NewRegional(func() ([]string, string) { return []string{"east", "west"}, "east" }, stores, idempotency.RegionalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A process is killed when its result is in one Region: the other Region has it before anybody gets it.
func TestKilledBetweenTheRegions(t *testing.T) {
	for name, bring := range map[string]func(t *testing.T, r *idempotency.Regional){
		"a replay brings it": func(t *testing.T, r *idempotency.Regional) {
			v, err := idempotency.Do(t.Context(), newGuard(t, r, idempotency.Config{}), idempotency.Key{ID: "a"}, func(context.Context) (string, error) { return "twice", nil })
			if v != "once" || err != nil {
				t.Errorf("Do = %q, %v, want the result of the process that died", v, err)
			}
		},
		"a resync brings it": func(t *testing.T, r *idempotency.Regional) {
			if err := r.Resync(t.Context()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			east, west := servertest.Start(t, servertest.Redis), servertest.Start(t, servertest.Redis)
			process := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDie$", "-test.timeout=1m")
			process.Env = append(os.Environ(), dieEast+"="+east.Addr(), dieWest+"="+west.Addr())
			out, err := process.CombinedOutput()
			if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.Exited() {
				t.Fatalf("the process ended with %v, want it killed: %s", err, out)
			}
			r := overTwo(t, east.Addr(), west.Addr(), func(s idempotency.Replica) idempotency.Store { return s })
			bring(t, r)
			east.Kill()
			next := newGuard(t, newStore(t, newClient(t, west.Addr()), redisstore.Config{}), idempotency.Config{})
			v, err := idempotency.Do(t.Context(), next, idempotency.Key{ID: "a"}, func(context.Context) (string, error) { return "twice", nil })
			if v != "once" || err != nil {
				t.Errorf("after the failover Do = %q, %v, want the first result", v, err)
			}
		})
	}
}

// A Region's Redis comes back with the data of some time ago: what was acknowledged since is made up for by the other Region.
func TestARegionThatForgets(t *testing.T) {
	east, west := servertest.Start(t, servertest.Redis), servertest.Start(t, servertest.Redis)
	r := overTwo(t, east.Addr(), west.Addr(), func(s idempotency.Replica) idempotency.Store { return s })
	g := newGuard(t, r, idempotency.Config{StoreTimeout: time.Second})
	call := func(id, value string) (string, error) {
		return idempotency.Do(t.Context(), g, idempotency.Key{ID: id}, func(context.Context) (string, error) { return value, nil })
	}
	if _, err := call("kept", "first"); err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer admin.Close()
	if err := admin.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := call("forgotten", "first"); err != nil {
		t.Fatal(err)
	}
	if !r.UnprotectedSince().IsZero() {
		t.Fatal("unprotected with both Regions up")
	}
	east.Kill()
	east.Restart()
	if n := admin.DBSize(t.Context()).Val(); n != 2 {
		t.Errorf("the Region came back with %d keys, want the record and the counter of notes that were saved", n)
	}
	for _, id := range []string{"kept", "forgotten"} {
		v, err := "", error(nil)
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if v, err = call(id, "second"); err == nil || time.Now().After(deadline) {
				break
			}
		}
		if v != "first" || err != nil {
			t.Errorf("%s = %q, %v, want the first result", id, v, err)
		}
	}
}
