package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/storetest"
)

// A region is a replica behind a network that can fail or be slow.
type region struct {
	idempotency.Replica

	mu    sync.Mutex // guards the following
	down  bool
	delay time.Duration
	after int // steps until it goes down by itself; 0 = never
	steps int

	breaks func(step int) bool // whether it fails; nil = none does
}

func newRegion(t *testing.T) *region {
	return &region{Replica: newMemory(t, idempotency.MemoryConfig{})}
}

func (r *region) set(change func(*region)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// taken returns how many steps have arrived.
func (r *region) taken() (n int) {
	r.set(func(r *region) { n = r.steps })
	return n
}

func (r *region) setDown(down bool) { r.set(func(r *region) { r.down, r.after = down, 0 }) }

func via[T any](ctx context.Context, r *region, do func(idempotency.Replica) (T, error)) (T, error) {
	var none T
	r.mu.Lock()
	r.steps++
	if r.after > 0 {
		if r.after--; r.after == 0 {
			r.down = true
		}
	}
	down, delay, inner := r.down || r.breaks != nil && r.breaks(r.steps), r.delay, r.Replica
	r.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
	if down {
		return none, errDown
	}
	return do(inner)
}

func (r *region) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	return via(ctx, r, func(s idempotency.Replica) (idempotency.Answer, error) { return s.Begin(ctx, c) })
}

func (r *region) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	return via(ctx, r, func(s idempotency.Replica) (idempotency.Answer, error) { return s.Complete(ctx, c) })
}

func (r *region) Renew(ctx context.Context, n idempotency.Renewal) (idempotency.Status, error) {
	return via(ctx, r, func(s idempotency.Replica) (idempotency.Status, error) { return s.Renew(ctx, n) })
}

func (r *region) Release(ctx context.Context, rel idempotency.Release) (idempotency.Status, error) {
	return via(ctx, r, func(s idempotency.Replica) (idempotency.Status, error) { return s.Release(ctx, rel) })
}

func (r *region) Load(ctx context.Context, k idempotency.Key) (idempotency.Record, error) {
	return via(ctx, r, func(s idempotency.Replica) (idempotency.Record, error) { return s.Load(ctx, k) })
}

func (r *region) Put(ctx context.Context, k idempotency.Key, rec idempotency.Record) error {
	_, err := via(ctx, r, func(s idempotency.Replica) (int, error) { return 0, s.Put(ctx, k, rec) })
	return err
}

func (r *region) Discard(ctx context.Context, k idempotency.Key, f idempotency.Fence) error {
	_, err := via(ctx, r, func(s idempotency.Replica) (int, error) { return 0, s.Discard(ctx, k, f) })
	return err
}

func (r *region) Unsynced(ctx context.Context) iter.Seq2[idempotency.Mark, error] {
	return func(yield func(idempotency.Mark, error) bool) {
		marks, err := via(ctx, r, func(s idempotency.Replica) (iter.Seq2[idempotency.Mark, error], error) { return s.Unsynced(ctx), nil })
		if err != nil {
			yield(idempotency.Mark{}, err)
			return
		}
		marks(yield)
	}
}

// marks are the keys that r's peer has missed.
func (r *region) marks(t *testing.T) (marks []idempotency.Mark) {
	t.Helper()
	for m, err := range r.Replica.Unsynced(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		marks = append(marks, m)
	}
	return marks
}

func (r *region) Synced(ctx context.Context, m idempotency.Mark) error {
	_, err := via(ctx, r, func(s idempotency.Replica) (int, error) { return 0, s.Synced(ctx, m) })
	return err
}

// twoRegions is a regional store over east and west with a writer that tests move.
type twoRegions struct {
	*idempotency.Regional
	east, west *region
	mu         sync.Mutex
	writer     string
	lost       string // a Region that is not usable
}

func newTwoRegions(t *testing.T) *twoRegions {
	t.Helper()
	two := &twoRegions{east: newRegion(t), west: newRegion(t), writer: "east"}
	r, err := idempotency.NewRegional(two.route, map[string]idempotency.Store{"east": two.east, "west": two.west}, idempotency.RegionalConfig{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	two.Regional = r
	return two
}

func (two *twoRegions) route() ([]string, string) {
	two.mu.Lock()
	defer two.mu.Unlock()
	return slices.DeleteFunc([]string{"east", "west"}, func(r string) bool { return r == two.lost }), two.writer
}

// lose takes the writer's Region, as every Region's decision knows: there is no writer until another opens.
func (two *twoRegions) lose(region string) {
	two.mu.Lock()
	defer two.mu.Unlock()
	two.lost, two.writer = region, ""
}

func (two *twoRegions) failover(to string) {
	two.mu.Lock()
	defer two.mu.Unlock()
	two.writer = to
}

func TestRegionalIsAStore(t *testing.T) {
	for name, test := range storetest.All() {
		bubble(t, name, func(t *testing.T) {
			test(t, func(t *testing.T) storetest.Subject {
				two := newTwoRegions(t)
				return storetest.Subject{Store: two.Regional, Lose: func() {
					for _, r := range []*region{two.east, two.west} {
						r.set(func(r *region) { r.Replica = newMemory(t, idempotency.MemoryConfig{}) })
					}
				}}
			})
		})
		bubble(t, name+", one Region down", func(t *testing.T) {
			test(t, func(t *testing.T) storetest.Subject {
				two := newTwoRegions(t)
				two.west.setDown(true)
				return storetest.Subject{Store: two.Regional}
			})
		})
	}
}

// state is what a Region knows of the key a.
func (r *region) state(t *testing.T) idempotency.State {
	t.Helper()
	rec, err := r.Replica.Load(t.Context(), key("a"))
	if err != nil {
		t.Fatal(err)
	}
	return rec.State
}

func TestRegionalSurvivesAFailover(t *testing.T) {
	for name, end := range map[string]struct {
		err  error
		want idempotency.State
	}{"done": {nil, idempotency.StateDone}, "held": {errUnknown, idempotency.StateHeld}, "released": {errNotRun, idempotency.StateAbsent}} {
		bubble(t, name, func(t *testing.T) {
			two := newTwoRegions(t)
			g := newGuard(t, two.Regional, idempotency.Config{})
			_ = g.Do(t.Context(), key("a"), func(context.Context) error {
				if got := two.west.state(t); got != idempotency.StateInFlight {
					t.Errorf("while it runs the replica knows it as %v, want in flight", got)
				}
				return end.err
			})
			two.east.setDown(true)
			two.failover("west")
			if got := two.west.state(t); got != end.want {
				t.Errorf("the replica knows the key as %v, want %v", got, end.want)
			}
			if since := two.UnprotectedSince(); !since.IsZero() {
				t.Errorf("UnprotectedSince = %v before the failover's first call", since)
			}
			if got := fate(t, g); end.want == idempotency.StateHeld && got != "held" {
				t.Errorf("after the failover the key is %s", got)
			}
			if since := two.UnprotectedSince(); end.want == idempotency.StateAbsent && since.IsZero() {
				t.Error("UnprotectedSince is zero with one Region down")
			}
		})
	}
}

func TestRegionalDegradesAndResyncs(t *testing.T) {
	bubble(t, "keys of an outage are copied afterwards", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		before := time.Now()
		two.west.setDown(true)
		for i := range 250 {
			err := error(nil)
			if i%3 == 1 {
				err = errUnknown
			}
			_ = g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { time.Sleep(10 * time.Millisecond); return err })
		}
		if got := two.UnprotectedSince(); !got.Equal(before) {
			t.Errorf("UnprotectedSince = %v, want %v", got, before)
		}
		if err := two.Resync(t.Context()); !errors.Is(err, errDown) || two.UnprotectedSince().IsZero() {
			t.Errorf("Resync with the replica down = %v, unprotected since %v", err, two.UnprotectedSince())
		}
		two.west.setDown(false)
		if err := two.Resync(t.Context()); err != nil || !two.UnprotectedSince().IsZero() {
			t.Errorf("Resync = %v, unprotected since %v, want none", err, two.UnprotectedSince())
		}
		two.east.setDown(true)
		two.failover("west")
		for i := range 250 {
			err := g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { t.Errorf("call %d ran again", i); return nil })
			if held := i%3 == 1; held != errors.Is(err, idempotency.ErrUnknownOutcome) || !held && err != nil {
				t.Fatalf("call %d after the failover = %v", i, err)
			}
		}
	})
	bubble(t, "in the background, while a guard runs", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		two.west.setDown(true)
		_ = g.Do(t.Context(), key("a"), func(context.Context) error { return nil })
		time.Sleep(10 * time.Minute)
		if two.UnprotectedSince().IsZero() {
			t.Error("UnprotectedSince is zero while the replica is down")
		}
		two.west.setDown(false)
		time.Sleep(5 * time.Second)
		if !two.UnprotectedSince().IsZero() || two.west.state(t) != idempotency.StateDone {
			t.Errorf("unprotected since %v, replica %v, want none and done", two.UnprotectedSince(), two.west.state(t))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	bubble(t, "in the background, soon after the first key was missed", func(t *testing.T) {
		two := newTwoRegions(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		g := newGuard(t, two.Regional, idempotency.Config{})
		go func() { done <- g.Run(ctx) }()
		time.Sleep(time.Second) // it has found nothing to do and rests
		two.west.setDown(true)
		_ = g.Do(t.Context(), key("a"), func(context.Context) error { return nil })
		two.west.setDown(false)
		time.Sleep(4 * time.Second)
		if !two.UnprotectedSince().IsZero() || two.west.state(t) != idempotency.StateDone {
			t.Errorf("unprotected since %v, replica %v, want none and done", two.UnprotectedSince(), two.west.state(t))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for err, want := range map[error]idempotency.State{nil: idempotency.StateDone, errUnknown: idempotency.StateHeld, errNotRun: idempotency.StateAbsent} {
		bubble(t, fmt.Sprint("an end that the replica misses is copied: ", want), func(t *testing.T) {
			two := newTwoRegions(t)
			g := newGuard(t, two.Regional, idempotency.Config{})
			_ = g.Do(t.Context(), key("a"), func(context.Context) error { two.west.setDown(true); return err })
			two.west.setDown(false)
			if got := two.west.state(t); got != idempotency.StateInFlight {
				t.Fatalf("the replica knows %v, want the stale claim", got)
			}
			if err := two.Resync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := two.west.state(t); got != want {
				t.Errorf("after Resync the replica knows %v, want %v", got, want)
			}
		})
	}
	bubble(t, "a heartbeat that the replica misses is copied", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		_ = g.Do(t.Context(), key("a"), func(context.Context) error {
			two.west.set(func(r *region) { r.Replica = newMemory(t, idempotency.MemoryConfig{}) }) // restarted, empty
			time.Sleep(8 * time.Second)
			if got := two.west.state(t); got != idempotency.StateInFlight {
				t.Errorf("after a heartbeat the replica knows %v, want in flight", got)
			}
			return nil
		})
	})
	bubble(t, "a Region that comes back brings what it alone knew", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		two.west.setDown(true)
		v, err := idempotency.Do(t.Context(), g, key("a"), value(1, nil))
		wantValue(t, v, err, 1)
		two.west.setDown(false)
		two.east.setDown(true) // before any resync: the key is stranded
		two.failover("west")
		v, err = idempotency.Do(t.Context(), g, key("b"), value(2, nil))
		wantValue(t, v, err, 2)
		two.east.setDown(false)
		time.Sleep(time.Second)
		v, err = idempotency.Do(t.Context(), g, key("a"), never[int](t)) // the old Region is asked as the replica
		wantValue(t, v, err, 1)
		if got := two.west.state(t); got != idempotency.StateDone {
			t.Errorf("the new writer knows %v, want done: it was told", got)
		}
		if err := two.Resync(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRegionalSlowReplica(t *testing.T) {
	bubble(t, "costs its time-out once a second", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		two.west.set(func(r *region) { r.delay = time.Minute })
		start := time.Now()
		for i := range 10 {
			if err := g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 300*time.Millisecond {
			t.Errorf("ten calls took %v, want one time-out of 300ms", took)
		}
	})
	bubble(t, "is waited for three times its usual", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		two.west.set(func(r *region) { r.delay = 30 * time.Millisecond })
		for i := range 60 {
			_ = g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { return nil })
		}
		if !two.UnprotectedSince().IsZero() {
			t.Fatal("a replica 30ms away is missed")
		}
		two.west.set(func(r *region) { r.delay = time.Minute })
		start := time.Now()
		_ = g.Do(t.Context(), key("slow"), func(context.Context) error { return nil })
		if took := time.Since(start); took != 90*time.Millisecond {
			t.Errorf("waited %v, want 90ms", took)
		}
	})
}

func TestRegionalWithoutAWriter(t *testing.T) {
	bubble(t, "refuses", func(t *testing.T) {
		two := newTwoRegions(t)
		two.failover("")
		g := newGuard(t, two.Regional, idempotency.Config{OnOutage: idempotency.OutageFailOpen})
		_, err := idempotency.Do(t.Context(), g, key("a"), never[int](t))
		if e := wantError(t, err, idempotency.ErrNotWriter); !e.NotRun() || e.RetryAfter() <= 0 {
			t.Errorf("Do without a writer = %v, want not run, with a wait", err)
		}
		two.failover("north")
		if err := two.Resync(t.Context()); err == nil {
			t.Error("Resync without a store for the writer")
		}
		closed := newGuard(t, two.Regional, idempotency.Config{})
		wantError(t, closed.Do(t.Context(), key("a"), nil), idempotency.ErrUnavailable)
	})
}

// In a planned move the keys are copied while nobody is the writer. Whoever noted what is missing may be another process, and gone.
func TestResyncInTheMiddleOfAMove(t *testing.T) {
	bubble(t, "copies what a process that is gone has noted", func(t *testing.T) {
		two := newTwoRegions(t)
		g := newGuard(t, two.Regional, idempotency.Config{})
		two.west.setDown(true)
		for i := range 20 {
			_ = g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { return nil })
		}
		two.west.setDown(false)
		two.failover("")
		next, err := idempotency.NewRegional(two.route, map[string]idempotency.Store{"east": two.east, "west": two.west}, idempotency.RegionalConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Resync(t.Context()); err != nil {
			t.Fatalf("Resync without a writer = %v", err)
		}
		two.failover("west")
		for i := range 20 {
			if err := g.Do(t.Context(), key(fmt.Sprint(i)), func(context.Context) error { t.Errorf("call %d ran again", i); return nil }); err != nil {
				t.Fatalf("call %d = %v", i, err)
			}
		}
	})
	bubble(t, "fails if one Region does not answer", func(t *testing.T) {
		for _, down := range []string{"east", "west"} {
			two := newTwoRegions(t)
			two.failover("")
			map[string]*region{"east": two.east, "west": two.west}[down].setDown(true)
			if err := two.Resync(t.Context()); !errors.Is(err, errDown) {
				t.Errorf("Resync with %s down = %v, want %v", down, err, errDown)
			}
		}
	})
}

func TestNewRegionalChecksItsArguments(t *testing.T) {
	route := func() ([]string, string) { return nil, "east" }
	one := map[string]idempotency.Store{"east": newRegion(t)}
	for want, try := range map[string]func() error{
		"there are no stores": func() error { _, err := idempotency.NewRegional(route, nil, idempotency.RegionalConfig{}); return err },
		"route is nil":        func() error { _, err := idempotency.NewRegional(nil, one, idempotency.RegionalConfig{}); return err },
		`Region "west", a *idempotency_test.remote, is no Replica`: func() error {
			_, err := idempotency.NewRegional(route, map[string]idempotency.Store{"west": newRemote(t)}, idempotency.RegionalConfig{})
			return err
		},
		"ReplicaTimeout": func() error {
			_, err := idempotency.NewRegional(route, one, idempotency.RegionalConfig{ReplicaTimeout: -1})
			return err
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewRegional = %v, want %q", err, want)
		}
	}
	r, err := idempotency.NewRegional(route, one, idempotency.RegionalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	replayed(t, newGuard(t, r, idempotency.Config{}), "a", 1)
	if err := r.Resync(t.Context()); err != nil || !r.UnprotectedSince().IsZero() {
		t.Errorf("one Region: Resync = %v, unprotected since %v", err, r.UnprotectedSince())
	}
}

// A Region dies at a random step of a random schedule. What was acknowledged as stored while both Regions held
// everything must be replayed by the other.
func TestRegionalLosesNothingThatBothRegionsHeld(t *testing.T) {
	for seed := range uint64(200) {
		bubble(t, fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 6))
			two := newTwoRegions(t)
			g := newGuard(t, two.Regional, idempotency.Config{})
			two.west.set(func(r *region) { r.delay = time.Duration(rng.IntN(20)) * time.Millisecond })
			two.east.set(func(r *region) { r.after = 1 + rng.IntN(60) })
			safe := map[string]int{}
			runs := map[string]int{}
			for i := range 40 {
				id := fmt.Sprint(rng.IntN(20))
				v, info, err := idempotency.DoInfo(t.Context(), g, key(id), func(context.Context) (int, error) {
					runs[id]++
					if rng.IntN(4) == 0 {
						return 0, errNotRun
					}
					return i, nil
				})
				if want, ok := safe[id]; ok && err == nil && v != want {
					t.Fatalf("key %s = %d, then %d", id, want, v)
				}
				if err == nil && info.Stored && two.UnprotectedSince().IsZero() {
					safe[id] = v
				}
			}
			two.east.setDown(true)
			two.failover("west")
			for id, want := range safe {
				v, err := idempotency.Do(t.Context(), g, key(id), never[int](t))
				wantValue(t, v, err, want)
			}
		})
	}
}

func (r *region) Watch(ctx context.Context, k idempotency.Key) (<-chan struct{}, func(), error) {
	return r.Replica.(idempotency.Watcher).Watch(ctx, k)
}

// An unplanned move takes no longer for those who wait for an attempt of the Region that was lost: its results are kept in the Region that is to open, at once, and
// are known there, or back home if the move is given up.
func TestAnAttemptOutlivesItsRegion(t *testing.T) {
	for _, next := range []string{"west", "east"} {
		for _, run := range []time.Duration{10 * time.Second, 90 * time.Second} {
			bubble(t, fmt.Sprintf("the function takes %v, and %s opens", run, next), func(t *testing.T) {
				two := newTwoRegions(t)
				g := newGuard(t, two.Regional, idempotency.Config{})
				ended := make(chan error, 1)
				var late time.Duration
				go func() {
					var returned time.Time
					err := g.Once(t.Context(), "a", func(ctx context.Context) error {
						defer func() { returned = time.Now() }()
						select {
						case <-time.After(run):
							return nil
						case <-ctx.Done():
							return context.Cause(ctx)
						}
					})
					late = time.Since(returned)
					ended <- err
				}()
				time.Sleep(time.Second)
				two.lose("east")
				two.east.set(func(r *region) { r.delay = time.Hour }) // it hangs
				time.Sleep(2 * time.Minute)
				if err := <-ended; err != nil || late > 0 {
					t.Errorf("the call = %v, %v after its function, want its success at once", err, late)
				}
				if two.UnprotectedSince().IsZero() {
					t.Error("UnprotectedSince is zero with one copy")
				}
				two.east.set(func(r *region) { r.delay = 0 })
				time.Sleep(2 * time.Second)
				two.lose("")
				two.failover(next)
				other := newGuard(t, two.Regional, idempotency.Config{})
				if err := other.Once(t.Context(), "a", func(context.Context) error { t.Error("it ran again"); return nil }); err != nil {
					t.Errorf("Once in the new writer = %v", err)
				}
			})
		}
	}
}

// In the middle of a move there is no writer, for longer than a lease if the target is out: what was claimed before keeps its key and its result, and the Region that
// opens in the end does not run it again.
func TestAnAttemptOutlivesItsWriter(t *testing.T) {
	for name, out := range map[string]bool{"both Regions answer": false, "the target is out until it opens": true} {
		for _, run := range []time.Duration{10 * time.Second, 90 * time.Second} {
			bubble(t, fmt.Sprintf("%s, and the function takes %v", name, run), func(t *testing.T) {
				two := newTwoRegions(t)
				g := newGuard(t, two.Regional, idempotency.Config{})
				ended := make(chan error, 1)
				go func() {
					ended <- g.Once(t.Context(), "a", func(ctx context.Context) error {
						select {
						case <-time.After(run):
							return nil
						case <-ctx.Done():
							return context.Cause(ctx)
						}
					})
				}()
				time.Sleep(time.Second)
				two.failover("")
				two.west.setDown(out)
				time.Sleep(2 * time.Minute)
				if err := <-ended; err != nil {
					t.Errorf("the call without a writer = %v, want its success", err)
				}
				wantError(t, g.Do(t.Context(), key("b"), nil), idempotency.ErrNotWriter)
				two.west.setDown(false)
				if err := two.Resync(t.Context()); err != nil {
					t.Fatalf("Resync in the move = %v", err)
				}
				two.failover("west")
				other := newGuard(t, two.Regional, idempotency.Config{})
				if err := other.Once(t.Context(), "a", func(context.Context) error { t.Error("it ran again"); return nil }); err != nil {
					t.Errorf("Once in the new writer = %v", err)
				}
			})
		}
	}
}
