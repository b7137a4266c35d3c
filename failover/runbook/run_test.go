package runbook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A world is what steps change: an effect per step.
type world struct {
	mu      sync.Mutex // guards the following
	effects map[string]bool
	did     map[string]int  // Do started, per step
	twice   []string        // Do started although the effect was there
	coming  map[string]bool // effects on their way
	order   []string
}

func newWorld() *world {
	return &world{effects: map[string]bool{}, did: map[string]int{}, coming: map[string]bool{}}
}

func (w *world) look(name string) (State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.effects[name] {
		return StateDone, nil
	}
	return StateNeeded, nil
}

func (w *world) apply(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.did[name]++; w.effects[name] {
		w.twice = append(w.twice, name)
	}
	w.effects[name] = true
	w.order = append(w.order, name)
}

// later lets the effect come after d.
func (w *world) later(name string, d time.Duration) {
	w.mu.Lock()
	w.coming[name] = true
	w.mu.Unlock()
	time.AfterFunc(d, func() {
		w.apply(name)
		w.mu.Lock()
		delete(w.coming, name)
		w.mu.Unlock()
	})
}

// step is a step whose effect is seen by Check.
func (w *world) step(name string, needs ...string) Step {
	return Step{
		Name: name, Needs: needs, Timeout: time.Minute,
		Check: func(context.Context) (State, error) { return w.look(name) },
		Do:    func(context.Context) error { w.apply(name); return nil },
		Undo: func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.effects, name)
			return nil
		},
	}
}

func must(t *testing.T, name string, steps ...Step) *Runbook {
	t.Helper()
	r, err := New(name, steps...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunFollowsNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := must(t, "book", w.step("c", "a", "b"), w.step("a"), w.step("b", "a"))
		rep, err := r.Run(t.Context(), "run", Config{Journal: NewMemoryJournal(), By: "ann"})
		if err != nil || strings.Join(w.order, "") != "abc" || rep.Outcome != "finished" || !rep.Met() {
			t.Errorf("Run = %v, order %v, report %s; want nil, a b c, finished", err, w.order, rep.Outcome)
		}
	})
}

func TestNewRefusesNonsense(t *testing.T) {
	w := newWorld()
	barrier := w.step("barrier")
	barrier.PointOfNoReturn, barrier.Undo = true, nil
	blind := Step{Name: "blind", Do: func(context.Context) error { return nil }}
	tests := []struct {
		name  string
		steps []Step
		want  string
	}{
		{"circle", []Step{w.step("a", "b"), w.step("b", "a")}, "circle: a, b"},
		{"itself", []Step{w.step("a", "a")}, "circle"},
		{"unknown need", []Step{w.step("a", "x")}, `needs "x", which is not a step`},
		{"two of one name", []Step{w.step("a"), w.step("a")}, `two steps are called "a"`},
		{"no name", []Step{{}}, "step 1 has no name"},
		{"undo behind the barrier", []Step{barrier, w.step("later", "barrier")}, "point of no return"},
		{"nothing can tell", []Step{blind}, "needs Check or Verify"},
		{"negative timeout", []Step{{Name: "a", Timeout: -1}}, "Timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New("book", tt.steps...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestLostReplyIsDecidedByVerify(t *testing.T) {
	for name, happened := range map[string]bool{"it happened": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				s := w.step("promote")
				s.Do = func(context.Context) error {
					if happened {
						w.apply("promote")
					}
					return errors.New("connection reset")
				}
				j := NewMemoryJournal()
				_, err := must(t, "book", s).Run(t.Context(), "run", Config{Journal: j, By: "ann"})
				if (err == nil) != happened {
					t.Errorf("Run = %v, happened %t", err, happened)
				}
				if !happened {
					s.Do = func(context.Context) error { w.apply("promote"); return nil }
					if _, err := must(t, "book", s).Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err != nil {
						t.Errorf("resumed Run = %v, want nil", err)
					}
				}
				if w.did["promote"] != 1 {
					t.Errorf("Do ran %d times, want 1", w.did["promote"])
				}
			})
		})
	}
}

// A wait that ends says what it has waited for, also where the end cut off its last look.
func TestAWaitThatEndsSaysWhatItSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		s := Step{Name: "wait", Timeout: time.Minute, Verify: func(ctx context.Context) (State, error) {
			if looks++; looks <= 3 {
				return StateBlocked, errors.New("it is no standby")
			}
			<-ctx.Done()
			return StateBlocked, ctx.Err()
		}, Check: func(context.Context) (State, error) { return StateNeeded, nil }}
		_, err := must(t, "book", s).Run(t.Context(), "run", Config{Journal: NewMemoryJournal(), By: "ann"})
		if !errors.Is(err, ErrUndecided) || !strings.Contains(err.Error(), "it is no standby") || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v after %d looks, want what the third saw", err, looks)
		}
	})
}

// While Verify cannot tell, a resumed run must not start Do again.
func TestUndecidedDoIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		pending := true
		s := Step{
			Name: "promote", Timeout: time.Minute,
			Verify: func(context.Context) (State, error) {
				if pending {
					return StateBlocked, nil
				}
				return w.look("promote")
			},
			Check: func(context.Context) (State, error) { return StateNeeded, nil },
			Do:    func(context.Context) error { w.apply("promote"); return errors.New("reply lost") },
		}
		j := NewMemoryJournal()
		for range 2 {
			if _, err := must(t, "book", s).Run(t.Context(), "run", Config{Journal: j, By: "ann"}); !errors.Is(err, ErrUndecided) {
				t.Fatalf("Run = %v, want ErrUndecided", err)
			}
		}
		pending = false
		if _, err := must(t, "book", s).Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err != nil {
			t.Errorf("Run after Verify decided = %v, want nil", err)
		}
		if w.did["promote"] != 1 {
			t.Errorf("Do ran %d times, want 1", w.did["promote"])
		}
	})
}

func TestApprovals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.step("promote")
		s.Approve = 2
		r, j := must(t, "book", s), NewMemoryJournal()
		plan := r.Plan(t.Context(), Unplanned)
		result := make(chan error, 1)
		go func() {
			_, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"})
			result <- err
		}()
		time.Sleep(time.Minute)
		approve := func(by, hash string) error { return r.Approve(t.Context(), j, "run", "promote", by, hash, 0) }
		for name, err := range map[string]error{
			"the requester":   approve("ann", plan.Hash),
			"another plan":    approve("bob", "other"),
			"nobody":          approve(" ", plan.Hash),
			"an unknown run":  r.Approve(t.Context(), j, "x", "promote", "bob", plan.Hash, 0),
			"an unknown step": r.Approve(t.Context(), j, "run", "x", "bob", plan.Hash, 0),
		} {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("approval by %s = %v, want ErrRefused", name, err)
			}
		}
		for range 2 { // one person counts once
			if err := approve("bob", plan.Hash); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if w.did["promote"] != 0 {
			t.Fatal("Do ran with one approver of two")
		}
		if err := approve("cid", plan.Hash); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil || w.did["promote"] != 1 {
			t.Errorf("Run = %v after %d Do, want nil after 1", err, w.did["promote"])
		}
	})
}

func TestExpiredApprovalDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		gate := Step{Name: "gate", Timeout: time.Hour, Check: func(context.Context) (State, error) { time.Sleep(10 * time.Minute); return StateDone, nil }}
		s := w.step("promote", "gate")
		s.Approve = 1
		r, j := must(t, "book", gate, s), NewMemoryJournal()
		go func() {
			time.Sleep(time.Second)
			if err := r.Approve(t.Context(), j, "run", "promote", "bob", r.hash(Unplanned), time.Minute); err != nil {
				t.Errorf("Approve = %v", err)
			}
		}()
		_, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann", ApprovalTTL: time.Minute})
		if !errors.Is(err, ErrBlocked) || w.did["promote"] != 0 {
			t.Errorf("Run = %v with %d Do, want ErrBlocked with none", err, w.did["promote"])
		}
	})
}

func TestRunRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, other := must(t, "book", w.step("a")), must(t, "book", w.step("a"), w.step("b"))
		j := NewMemoryJournal()
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := r.Run(ended, "cancelled", Config{Journal: lateJournal{j}, By: "auto/i-1"}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := Cancel(t.Context(), j, "cancelled", "bob", "wrong Region"); err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name string
			err  error
		}{
			{"a journal from another plan", last(other.Run(t.Context(), "run", Config{Journal: j, By: "ann"}))},
			{"a run of the other mode", last(r.Run(t.Context(), "run", Config{Journal: j, By: "ann", Mode: Planned}))},
			{"a cancelled run", last(r.Run(t.Context(), "cancelled", Config{Journal: j, By: "ann"}))},
			{"no journal", last(r.Run(t.Context(), "x", Config{By: "ann"}))},
			{"no name", last(r.Run(t.Context(), "x", Config{Journal: j}))},
			{"no run ID", last(r.Run(t.Context(), "", Config{Journal: j, By: "ann"}))},
			{"cooldown", last(r.Run(t.Context(), "x", Config{Journal: j, By: "auto", Cooldown: time.Hour}))},
			{"budget", last(r.Run(t.Context(), "x", Config{Journal: j, By: "auto", MaxRuns: 1}))},
			{"undo of an unknown run", last(r.Undo(t.Context(), "x", Config{Journal: j, By: "ann"}))},
		}
		for _, tt := range tests {
			if !errors.Is(tt.err, ErrRefused) {
				t.Errorf("%s: %v, want ErrRefused", tt.name, tt.err)
			}
		}
	})
}

// A lateJournal does not look at contexts.
type lateJournal struct{ Journal }

func (j lateJournal) Acquire(ctx context.Context, e Entry) (uint64, error) {
	return j.Journal.Acquire(context.WithoutCancel(ctx), e)
}

func last(_ Report, err error) error { return err }

func TestUndoStopsAtThePointOfNoReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		failing := w.step("c", "b")
		failing.Do = func(context.Context) error { return errors.New("no") }
		r, j := must(t, "book", w.step("a"), w.step("b", "a"), failing), NewMemoryJournal()
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); err == nil {
			t.Fatal("Run = nil, want the failing step's error")
		}
		rep, err := r.Undo(t.Context(), "run", Config{Journal: j, By: "ann"})
		if err != nil || w.effects["a"] || w.effects["b"] || rep.Outcome != "undone" {
			t.Errorf("Undo = %v, effects %v, outcome %s", err, w.effects, rep.Outcome)
		}
		if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"}); !errors.Is(err, ErrRefused) {
			t.Errorf("Run of an undone run = %v, want ErrRefused", err)
		}

		barrier := w.step("promote", "a")
		barrier.PointOfNoReturn, barrier.Undo = true, nil
		r = must(t, "book2", w.step("a"), barrier)
		if _, err := r.Run(t.Context(), "run2", Config{Journal: j, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Undo(t.Context(), "run2", Config{Journal: j, By: "ann"}); !errors.Is(err, ErrRefused) || !w.effects["a"] {
			t.Errorf("Undo past the barrier = %v, want ErrRefused and nothing undone", err)
		}
	})
}

func TestPauseSkipAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		slow := Step{Name: "slow", Check: func(context.Context) (State, error) { time.Sleep(time.Minute); return StateDone, nil }}
		waivable := w.step("old side", "slow")
		waivable.Waive, waivable.Approve = true, 1
		r, j := must(t, "book", slow, waivable, w.step("end", "old side")), NewMemoryJournal()
		result := make(chan error, 1)
		go func() {
			_, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann"})
			result <- err
		}()
		time.Sleep(time.Second)
		if err := Pause(t.Context(), j, "run", "bob", "look first"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if err := r.Skip(t.Context(), j, "run", "end", "bob", "x"); !errors.Is(err, ErrRefused) {
			t.Errorf("Skip of a step without Waive = %v, want ErrRefused", err)
		}
		if err := r.Skip(t.Context(), j, "run", "old side", "bob", "region is dark"); err != nil {
			t.Fatal(err)
		}
		if len(w.order) != 0 {
			t.Error("steps started while paused")
		}
		if err := Continue(t.Context(), j, "run", "bob"); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil || strings.Join(w.order, " ") != "end" {
			t.Errorf("Run = %v with %v, want nil with end alone", err, w.order)
		}
	})
}

func TestASecondRunnerFencesTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		slow := w.step("slow")
		slow.Check = nil
		slow.Verify = func(context.Context) (State, error) { return w.look("slow") }
		first := slow
		first.Do = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		j := NewMemoryJournal()
		result := make(chan error, 1)
		go func() {
			_, err := must(t, "book", first, w.step("after", "slow")).Run(t.Context(), "run", Config{Journal: j, By: "ann"})
			result <- err
		}()
		time.Sleep(time.Second)
		_, err := must(t, "book", slow, w.step("after", "slow")).Run(t.Context(), "run", Config{Journal: j, By: "ann"})
		if err != nil {
			t.Errorf("second runner = %v, want nil", err)
		}
		if err := <-result; !errors.Is(err, ErrFenced) {
			t.Errorf("first runner = %v, want ErrFenced", err)
		}
		if w.did["slow"] != 1 || w.did["after"] != 1 {
			t.Errorf("Do ran %v, want once each", w.did)
		}
	})
}

func TestTokenIsStablePerRunAndStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[string][]string{}
		step := func(name string) Step {
			return Step{
				Name: name, Check: func(context.Context) (State, error) { return StateNeeded, nil },
				Verify: func(context.Context) (State, error) { return StateNeeded, nil },
				Do: func(ctx context.Context) error {
					seen[name] = append(seen[name], Token(ctx))
					return errors.New("no")
				},
			}
		}
		j := NewMemoryJournal()
		r := must(t, "book", step("a"))
		for range 2 {
			_, _ = r.Run(t.Context(), "run", Config{Journal: j, By: "ann"})
		}
		_, _ = r.Run(t.Context(), "run2", Config{Journal: j, By: "ann"})
		got := seen["a"]
		if len(got) != 3 || len(got[0]) != 32 || got[0] != got[1] || got[0] == got[2] {
			t.Errorf("tokens %q, want the same in one run and another in the next", got)
		}
	})
}

// errCrash is what everything returns after the process has died.
var errCrash = errors.New("crashed")

// A crasher is a journal, and a world behind it, of a process that dies at its nth journal write: before or after the entry is stored.
type crasher struct {
	Journal
	mu     sync.Mutex // guards the following
	left   int        // writes until the crash; negative: never
	stored bool       // the last write reaches the disk
	dead   bool
	tear   func() // leaves half of a line; nil: nothing
	kill   context.CancelFunc
}

func (c *crasher) write(store func() error) error {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return errCrash
	}
	c.left--
	die := c.left == 0
	if die {
		c.dead = true
	}
	c.mu.Unlock()
	if !die {
		return store()
	}
	if c.stored {
		_ = store()
	} else if c.tear != nil {
		c.tear()
	}
	c.kill()
	return errCrash
}

func (c *crasher) Acquire(ctx context.Context, e Entry) (token uint64, err error) {
	err = c.write(func() (err error) { token, err = c.Journal.Acquire(ctx, e); return err })
	return token, err
}

func (c *crasher) Append(ctx context.Context, e Entry) error {
	return c.write(func() error { return c.Journal.Append(ctx, e) })
}

func (c *crasher) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// randomBook is a random DAG whose Dos lose replies, fail without effect, or take effect late.
func randomBook(t *testing.T, rng *rand.Rand, w *world, c *crasher, faults map[string]int) *Runbook {
	n := 2 + rng.IntN(5)
	var steps []Step
	for i := range n {
		name := fmt.Sprint("s", i)
		s := w.step(name)
		for j := range i {
			if rng.IntN(3) == 0 {
				s.Needs = append(s.Needs, fmt.Sprint("s", j))
			}
		}
		s.Verify = func(context.Context) (State, error) {
			w.mu.Lock()
			coming := w.coming[name]
			w.mu.Unlock()
			if coming {
				return StateBlocked, nil
			}
			return w.look(name)
		}
		s.Do = func(context.Context) error {
			if c.isDead() {
				return errCrash // a dead process does nothing
			}
			w.mu.Lock()
			fault := faults[name]
			delete(faults, name) // a fault happens once
			w.mu.Unlock()
			switch fault {
			case 3: // takes effect when the process is long gone; Check cannot tell, Verify can
				w.later(name, 30*time.Second)
				return errors.New("time-out")
			case 1: // reply lost
				w.apply(name)
				return errors.New("reply lost")
			case 2: // no effect
				return errors.New("refused")
			}
			w.apply(name)
			return nil
		}
		steps = append(steps, s)
	}
	return must(t, "book", steps...)
}

func TestCrashAtEveryJournalWrite(t *testing.T) {
	crashes := 0
	for seed := range uint64(16) {
		for at := 1; ; at++ {
			reached := false
			for _, stored := range []bool{false, true} {
				if crashOnce(t, seed, at, stored, NewMemoryJournal(), nil) {
					reached = true
					crashes++
				}
			}
			if !reached {
				break // the run has fewer writes
			}
		}
	}
	if crashes < 200 {
		t.Errorf("%d crashes; the test is blind", crashes)
	}
	t.Logf("%d crashes", crashes)
}

// The same on files, whose last line a crash tears.
func TestCrashAtEveryWriteOfAFile(t *testing.T) {
	for seed := range uint64(2) {
		for at, reached := 1, true; reached; at++ {
			j := openJournal(t)
			tear := func() {
				f, err := os.OpenFile(j.Path("run"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
				if err == nil {
					_, err = f.WriteString(`{"seq":7,"run":"ru`)
				}
				if err = errors.Join(err, f.Close()); err != nil {
					t.Error(err)
				}
			}
			reached = crashOnce(t, seed, at, false, j, tear)
			if entries, err := j.Load(t.Context(), "run"); err != nil || VerifyChain(entries) != nil {
				t.Errorf("seed %d, crash at write %d: chain %v, %v", seed, at, VerifyChain(entries), err)
			}
		}
	}
}

// crashOnce runs a book that dies at its nth write, resumes it until it finishes, and checks the end state.
func crashOnce(t *testing.T, seed uint64, at int, stored bool, base Journal, tear func()) (crashed bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		faults := map[string]int{}
		frng := rand.New(rand.NewPCG(seed, 2))
		for i := range 7 {
			faults[fmt.Sprint("s", i)] = frng.IntN(4)
		}
		var book *Runbook
		for attempt := 0; attempt < 20; attempt++ {
			ctx, kill := context.WithCancel(t.Context())
			c := &crasher{Journal: base, left: -1, stored: stored, tear: tear, kill: kill}
			if attempt == 0 {
				c.left = at
			}
			book = randomBook(t, rand.New(rand.NewPCG(seed, 1)), w, c, faults)
			_, err := book.Run(ctx, "run", Config{Journal: c, By: "ann"})
			kill()
			crashed = crashed || c.isDead()
			if err == nil {
				break
			}
		}
		for _, s := range book.steps {
			if !w.effects[s.Name] || w.did[s.Name] != 1 {
				t.Errorf("seed %d, crash at write %d (stored %t): step %s: effect %t after %d Do, want one", seed, at, stored, s.Name, w.effects[s.Name], w.did[s.Name])
			}
		}
		if len(w.twice) > 0 {
			t.Errorf("seed %d, crash at write %d: Do ran again once its effect was there: %v", seed, at, w.twice)
		}
		rep, err := book.Report(t.Context(), "run", base)
		if err != nil || rep.Outcome != "finished" {
			t.Errorf("seed %d, crash at write %d: report %s, %v, want finished", seed, at, rep.Outcome, err)
		}
		entries, err := base.Load(t.Context(), "run")
		if err != nil || !slices.IsSortedFunc(entries, func(a, b Entry) int { return int(a.Sequence) - int(b.Sequence) }) {
			t.Errorf("journal: %v", err)
		}
	})
	return crashed
}
