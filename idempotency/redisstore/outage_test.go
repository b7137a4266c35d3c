package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

const (
	outageLease = 3 * time.Second
	loadKeys    = 60
	loadCallers = 12
)

// A load is callers of two processes that make every call until it succeeds.
type load struct {
	t      *testing.T
	guards []*idempotency.Guard
	runs   [loadKeys]atomic.Int32
	inside [loadKeys]atomic.Int32
	done   atomic.Int32

	forgets bool // the store loses claims: calls may run beside each other

	mu      sync.Mutex // guards values
	values  [loadKeys]map[int32]bool
	refused map[string]int
}

func newLoad(t *testing.T, server *servertest.Server) *load {
	l := &load{t: t, refused: map[string]int{}}
	for i := range l.values {
		l.values[i] = map[int32]bool{}
	}
	for i := range 2 {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: 1})
		g := newGuard(t, newStore(t, client, redisstore.Config{}), idempotency.Config{
			Name: fmt.Sprint("process ", i), Lease: outageLease, Heartbeat: outageLease / 6, StoreTimeout: 300 * time.Millisecond, Wait: 10 * time.Second,
		})
		t.Cleanup(func() {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			_ = g.Run(ended)
			client.Close()
		})
		l.guards = append(l.guards, g)
	}
	return l
}

// call makes call n until it succeeds.
func (l *load) call(g *idempotency.Guard, n int) {
	for l.t.Context().Err() == nil {
		v, err := idempotency.Do(l.t.Context(), g, idempotency.Key{Op: "load", ID: fmt.Sprint(n)}, func(ctx context.Context) (int32, error) {
			if l.inside[n].Add(1) > 1 && !l.forgets {
				l.t.Errorf("call %d runs twice at one time", n)
			}
			defer l.inside[n].Add(-1)
			time.Sleep(20 * time.Millisecond)
			return l.runs[n].Add(1), nil
		})
		l.mu.Lock()
		if err == nil {
			l.values[n][v] = true
			l.mu.Unlock()
			l.done.Add(1)
			return
		}
		reason := "other: " + err.Error()
		for _, known := range []error{idempotency.ErrUnavailable, idempotency.ErrInFlight} {
			if errors.Is(err, known) {
				reason = known.Error()
			}
		}
		l.refused[reason]++
		l.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
}

// run has every caller make every call, and disturbs once an eighth of that is done.
func (l *load) run(disturb func()) {
	var wg sync.WaitGroup
	for c := range loadCallers {
		wg.Go(func() {
			for i := range loadKeys {
				l.call(l.guards[c%len(l.guards)], (i+c*5)%loadKeys)
			}
		})
	}
	for l.done.Load() < loadKeys*loadCallers/8 {
		time.Sleep(time.Millisecond)
	}
	disturb()
	wg.Wait()
	for reason := range l.refused {
		if reason != idempotency.ErrUnavailable.Error() && reason != idempotency.ErrInFlight.Error() {
			l.t.Errorf("a call was refused with %s", reason)
		}
	}
	l.t.Logf("%d calls of %d keys, refusals %v", l.done.Load(), loadKeys, l.refused)
}

// repeated returns how many keys ran more than once, and fails if one did so more than most times.
func (l *load) repeated(most int32) (n int) {
	l.t.Helper()
	for i := range l.runs {
		runs := l.runs[i].Load()
		if runs > 1 {
			n++
		}
		if runs < 1 || runs > most || len(l.values[i]) > int(runs) {
			l.t.Errorf("call %d ran %d times and returned %v, want at most %d runs", i, runs, l.values[i], most)
		}
	}
	return n
}

// Frozen for less than a lease: calls wait or are refused, and none runs twice.
func TestRedisFrozenUnderLoad(t *testing.T) {
	server := servertest.Start(t, servertest.Redis)
	l := newLoad(t, server)
	l.run(func() {
		server.Freeze()
		time.Sleep(outageLease / 2)
		server.Resume()
	})
	l.repeated(1)
}

// Killed and restarted with its log synced at every write: none runs twice.
func TestRedisRestartedUnderLoad(t *testing.T) {
	server := servertest.Start(t, servertest.Redis, "--appendonly", "yes", "--appendfsync", "always")
	l := newLoad(t, server)
	l.run(server.Restart)
	l.repeated(1)
}

// Killed and restarted empty, or emptied: what was claimed or done before may run once more, and no more often;
// nobody sees an error but an outage.
func TestRedisEmptiedUnderLoad(t *testing.T) {
	for name, empty := range map[string]func(*servertest.Server){
		"restarted without its data": func(s *servertest.Server) { s.Restart() },
		"flushed": func(s *servertest.Server) {
			client := redis.NewClient(&redis.Options{Addr: s.Addr()})
			defer client.Close()
			if err := client.FlushAll(context.Background()).Err(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := servertest.Start(t, servertest.Redis)
			l := newLoad(t, server)
			l.forgets = true
			l.run(func() { empty(server) })
			t.Logf("%d keys ran again", l.repeated(2))
		})
	}
}

// Frozen for longer than a lease: the owner stops itself before its lease ends.
func TestRedisFrozenForLongerThanALease(t *testing.T) {
	server := servertest.Start(t, servertest.Redis)
	l := newLoad(t, server)
	start := time.Now()
	err := l.guards[0].Once(t.Context(), "a", func(ctx context.Context) error {
		server.Freeze()
		<-ctx.Done()
		if took := time.Since(start); took > outageLease || !errors.Is(context.Cause(ctx), idempotency.ErrLeaseLost) {
			t.Errorf("stopped after %v by %v, want within the lease of %v by ErrLeaseLost", took, context.Cause(ctx), outageLease)
		}
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Once = %v, want the function's error", err)
	}
	if wait, ok := l.guards[0].Ready(); ok && wait == 0 {
		t.Error("Ready with the store frozen")
	}
	server.Resume()
	// The outcome is unknown; the background says so to the store as soon as it answers.
	deadline := time.Now().Add(2 * outageLease)
	for {
		err = l.guards[1].Once(t.Context(), "a", func(context.Context) error { return nil })
		if err == nil || !errors.Is(err, idempotency.ErrInFlight) && !errors.Is(err, idempotency.ErrUnavailable) || time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !errors.Is(err, idempotency.ErrUnknownOutcome) && err != nil {
		t.Errorf("the other process got %v, want ErrUnknownOutcome, or the rerun of an abandoned call", err)
	}
}

// Two Regions on two servers: the writer's is killed under load for good, and the replica takes over with every key.
func TestRegionalOverTwoRedis(t *testing.T) {
	east, west := servertest.Start(t, servertest.Redis), servertest.Start(t, servertest.Redis)
	var writer atomic.Pointer[string]
	name := "east"
	writer.Store(&name)
	stores := map[string]idempotency.Store{}
	for region, server := range map[string]*servertest.Server{"east": east, "west": west} {
		stores[region] = newStore(t, newClient(t, server.Addr()), redisstore.Config{})
	}
	r, err := idempotency.NewRegional(func() ([]string, string) { return []string{"east", "west"}, *writer.Load() }, stores, idempotency.RegionalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(t, r, idempotency.Config{StoreTimeout: time.Second})
	stored := map[string]string{}
	call := func(id string) (string, idempotency.Info, error) {
		return idempotency.DoInfo(t.Context(), g, idempotency.Key{ID: id}, func(context.Context) (string, error) { return idempotency.NewID(), nil })
	}
	for i := range 100 {
		id := fmt.Sprint(i)
		v, info, err := call(id)
		if err == nil && info.Stored {
			stored[id] = v
		}
	}
	if since := r.UnprotectedSince(); len(stored) != 100 || !since.IsZero() {
		t.Fatalf("%d of 100 calls stored, unprotected since %v", len(stored), since)
	}
	east.Kill()
	other := "west"
	writer.Store(&other)
	for id, want := range stored {
		if v, info, err := call(id); v != want || err != nil || !info.Replayed {
			t.Fatalf("call %s after the failover = %q, %+v, %v, want %q replayed", id, v, info, err, want)
		}
	}
	if _, _, err := call("new"); err != nil || r.UnprotectedSince().IsZero() {
		t.Errorf("a new call = %v, unprotected since %v", err, r.UnprotectedSince())
	}
	east.Restart()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err = r.Resync(t.Context()); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil || !r.UnprotectedSince().IsZero() {
		t.Errorf("Resync = %v, unprotected since %v", err, r.UnprotectedSince())
	}
	rec, err := stores["east"].(idempotency.Replica).Load(t.Context(), idempotency.Key{ID: "new"})
	if err != nil || rec.State != idempotency.StateDone {
		t.Errorf("the old Region knows the new call as %v, %v, want done", rec.State, err)
	}
}
