package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// once is an idempotency guard in miniature, with the outcome rules of the real one.
type once struct {
	mu    sync.Mutex
	state map[string]string // running, done, held
	away  error
}

func newOnce() *once { return &once{state: map[string]string{}} }

type inFlight struct{ wait time.Duration }

func (inFlight) Error() string               { return "in flight" }
func (inFlight) NotRun() bool                { return true }
func (inFlight) OutcomeUnknown() bool        { return false }
func (e inFlight) RetryAfter() time.Duration { return e.wait }

func (o *once) Once(ctx context.Context, key string, call func(context.Context) error) error {
	o.mu.Lock()
	switch state := o.state[key]; {
	case o.away != nil:
		err := o.away
		o.mu.Unlock()
		return err
	case state == "running":
		o.mu.Unlock()
		return inFlight{3 * time.Second}
	case state == "done":
		o.mu.Unlock()
		return nil
	case state == "held":
		o.mu.Unlock()
		return unknown
	}
	o.state[key] = "running"
	o.mu.Unlock()
	err := call(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.state[key] = "done"
	case outcome.Of(err) == outcome.NotRun:
		delete(o.state, key)
	case outcome.Permanent(err):
		o.state[key] = "stored"
	case outcome.Of(err) == outcome.Unknown || ctx.Err() != nil:
		o.state[key] = "held"
	default:
		delete(o.state, key)
	}
	return err
}

func onceWorker(o *once) WorkerConfig {
	return WorkerConfig{Once: o.Once, OnceRetention: 15 * 24 * time.Hour}
}

func TestCopiesOfADoneCallAreDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		s.run(onceWorker(newOnce()))
		for range 5 {
			s.send(ID("same"))
		}
		time.Sleep(5 * time.Minute)
		s.close()
		if st := s.worker.Stats(); runs.Load() != 1 || st.Duplicates != 4 {
			t.Errorf("%d runs, %d duplicates, want 1 and 4", runs.Load(), st.Duplicates)
		}
		if d := must(s.memory.Stats(t.Context())); d.Total() != 0 {
			t.Errorf("left: %+v", d)
		}
	})
}

func TestOnceAnswers(t *testing.T) {
	tests := []struct {
		name   string
		once   func(o *once)
		after  func(o *once)
		reason string
		runs   int64
	}{
		{"unknown outcome is dead at once", func(o *once) { o.state["billing.charge.v1/x"] = "held" }, nil, "[unknown_outcome]", 0},
		{
			"in flight waits without attempts", func(o *once) { o.state["billing.charge.v1/x"] = "running" },
			func(o *once) { delete(o.state, "billing.charge.v1/x") }, "[attempts]", 2,
		},
		{"a store that is away costs no attempts", func(o *once) { o.away = errPlain }, func(o *once) { o.away = nil }, "[attempts]", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				o := newOnce()
				tt.once(o)
				var runs atomic.Int64
				Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return errPlain }, HandlerConfig{MaxAttempts: 2, Backoff: fixed(time.Second)})
				s.run(onceWorker(o))
				s.send(ID("x"))
				time.Sleep(10 * time.Minute)
				if tt.after != nil {
					o.mu.Lock()
					tt.after(o)
					o.mu.Unlock()
				}
				time.Sleep(10 * time.Minute)
				if got := fmt.Sprint(s.letters()); got != tt.reason || runs.Load() != tt.runs {
					t.Errorf("%d runs, dead %v, want %d and %v", runs.Load(), got, tt.runs, tt.reason)
				}
				s.close()
			})
		})
	}
}

func TestPermanentFailureCanBeRedriven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error {
			if runs.Add(1) == 1 {
				return permanent
			}
			return nil
		}, HandlerConfig{})
		s.run(onceWorker(newOnce()))
		s.send()
		time.Sleep(time.Minute)
		var audit strings.Builder
		r, err := Redrive(t.Context(), s.memory.DeadLetters(), s.memory, Filter{Reasons: []Reason{ReasonPermanent}}, RedriveConfig{By: "ops", Reason: "fixed", Audit: &audit})
		if err != nil || r.Redriven != 1 || strings.Count(audit.String(), "\n") != 2 || !strings.Contains(audit.String(), `"by":"ops"`) {
			t.Errorf("Redrive = %+v, %v, audit %s", r, err, &audit)
		}
		time.Sleep(time.Minute)
		s.close()
		if runs.Load() != 2 || s.worker.Stats().Done != 1 {
			t.Errorf("%d runs, %+v, want the second to be done", runs.Load(), s.worker.Stats())
		}
	})
}

func TestDrainReleasesTheKeyOfARepeatableCall(t *testing.T) {
	for _, call := range []Call[charge]{repeated, billing} {
		t.Run(call.Name(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				o := newOnce()
				Handle(s.mux, call, func(ctx context.Context, _ charge) error { <-ctx.Done(); return ctx.Err() }, HandlerConfig{})
				s.run(onceWorker(o))
				must(call.Defer(t.Context(), s.client, charge{}, ID("x")))
				time.Sleep(time.Second)
				s.close()
				want := map[string]string{repeated.Name(): "", billing.Name(): "held"}[call.Name()]
				if got := o.state[call.Name()+"/x"]; got != want {
					t.Errorf("key is %q after the drain, want %q", got, want)
				}
			})
		})
	}
}

func TestTooOldIsNeverRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		s.send(ID("old"))
		s.send(ID("delayed"), Delay(30*time.Minute))
		time.Sleep(time.Hour)
		c := onceWorker(newOnce())
		c.OnceRetention = time.Hour
		s.run(c)
		time.Sleep(time.Minute)
		if got := fmt.Sprint(s.letters()); got != "[too_old]" || runs.Load() != 1 {
			t.Errorf("dead %v, %d runs, want the old one dead and the delayed one, younger by its delay, run", got, runs.Load())
		}
		var audit strings.Builder
		config := RedriveConfig{By: "ops", Reason: "checked by hand", Audit: &audit}
		if r, err := Redrive(t.Context(), s.memory.DeadLetters(), s.memory, Filter{}, config); err != nil || r.Refused != 1 || r.Redriven != 0 {
			t.Errorf("Redrive = %+v, %v, want it refused", r, err)
		}
		config.AcceptRerun = true
		if r, err := Redrive(t.Context(), s.memory.DeadLetters(), s.memory, Filter{}, config); err != nil || r.Redriven != 1 {
			t.Errorf("Redrive with AcceptRerun = %+v, %v", r, err)
		}
		time.Sleep(time.Minute)
		s.close()
		if runs.Load() != 2 {
			t.Errorf("%d runs, want the accepted rerun too", runs.Load())
		}
	})
}

func TestAmbiguousNeedsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, billing, func(context.Context, charge) error { t.Error("ran"); return nil }, HandlerConfig{})
		c := must(NewClient(s.memory, ClientConfig{Once: newOnce().Once}))
		must(billing.Try(t.Context(), c, charge{}, func(context.Context, charge) error { return unknown }))
		s.run(WorkerConfig{})
		time.Sleep(time.Minute)
		if got := fmt.Sprint(s.letters()); got != "[unknown_outcome]" {
			t.Errorf("dead %v, want [unknown_outcome]", got)
		}
		s.close()
	})
}

// A client that may not write just now defers what it has done before: the call is of the last epoch, and not of none.
func TestACallKeepsTheEpochOfItsWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var epoch uint64
		s.client = must(NewClient(s.memory, ClientConfig{Epoch: func() (uint64, time.Time) { return epoch, time.Time{} }, Ledger: s.ledger}))
		var stamps []uint64
		for _, epoch = range []uint64{0, 4, 0, 5, 0} {
			s.send()
		}
		for range 5 {
			got, err := s.memory.Receive(t.Context(), ReceiveRequest{Max: 1, Lease: time.Minute})
			if err != nil || len(got) != 1 {
				t.Fatalf("Receive = %v, %v", got, err)
			}
			var e Envelope
			if err := e.Decode(got[0].Body); err != nil {
				t.Fatal(err)
			}
			stamps = append(stamps, e.Epoch)
		}
		if want := []uint64{0, 4, 4, 5, 5}; !slices.Equal(stamps, want) {
			t.Errorf("epochs %v, want %v", stamps, want)
		}
	})
}

// A client that may write no more since a while defers no work of the time before: a standby's calls are of no epoch, and no rule for old ones ends them.
func TestAnEpochIsNotKeptForEver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var now uint64 = 4
		c := must(NewClient(must(NewMemory(MemoryConfig{})), ClientConfig{Epoch: func() (uint64, time.Time) { return now, time.Time{} }}))
		var got []uint64
		for _, step := range []struct {
			says uint64
			wait time.Duration
		}{{4, time.Hour}, {0, epochKept}, {0, time.Nanosecond}, {0, time.Hour}, {4, 0}, {0, 0}} {
			now = step.says
			got = append(got, c.currentEpoch())
			time.Sleep(step.wait)
		}
		if want := []uint64{4, 4, 4, 0, 4, 4}; !slices.Equal(got, want) {
			t.Errorf("epochs %v, want %v", got, want)
		}
	})
}

// A client whose first call comes when its process may write no more stamps the epoch that its work began under, of which nobody had asked but Run.
func TestTheFirstCallKeepsTheEpochOfItsWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var epoch atomic.Uint64
		s.client = must(NewClient(s.memory, ClientConfig{Epoch: func() (uint64, time.Time) { return epoch.Load(), time.Time{} }, Ledger: s.ledger}))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := s.client.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute + time.Nanosecond)
		epoch.Store(4)
		time.Sleep(epochLook)
		epoch.Store(0)
		time.Sleep(time.Second)
		s.send()
		stop()
		running.Wait()
		got, err := s.memory.Receive(t.Context(), ReceiveRequest{Max: 1, Lease: time.Minute})
		if err != nil || len(got) != 1 {
			t.Fatalf("Receive = %v, %v", got, err)
		}
		var e Envelope
		if err := e.Decode(got[0].Body); err != nil || e.Epoch != 4 {
			t.Errorf("epoch %d, %v, want that of the work, 4", e.Epoch, err)
		}
	})
}

// waitTwice has a call of an older epoch wait until it has asked twice.
func waitTwice() func(context.Context, Envelope, uint64) StalePolicy {
	var asked atomic.Int64
	return func(context.Context, Envelope, uint64) StalePolicy {
		if asked.Add(1) <= 2 {
			return StaleWait
		}
		return StaleRun
	}
}

// never looks something up until nobody waits.
func never(ctx context.Context, _ Envelope, _ uint64) StalePolicy {
	<-ctx.Done()
	return StaleDead
}

func panics(context.Context, Envelope, uint64) StalePolicy { panic("no rule for this") }

func TestEpochs(t *testing.T) {
	tests := []struct {
		name      string
		deferred  uint64
		now       uint64
		config    HandlerConfig
		once      bool
		runs      int64
		dead      string
		untouched bool
	}{
		{name: "same", deferred: 5, now: 5, runs: 1, dead: "[]"},
		{name: "none known", deferred: 0, now: 5, runs: 1, dead: "[]"},
		{name: "older without Once", deferred: 4, now: 5, dead: "[stale_epoch]"},
		{name: "older with Once", deferred: 4, now: 5, once: true, runs: 1, dead: "[]"},
		{name: "older, declared safe", deferred: 4, now: 5, config: HandlerConfig{Stale: StaleRun}, runs: 1, dead: "[]"},
		{name: "older, forwarded", deferred: 4, now: 5, config: HandlerConfig{Stale: StaleForward}, runs: 1, dead: "[]"},
		{name: "older, by function", deferred: 4, now: 5, config: HandlerConfig{StaleFunc: func(context.Context, Envelope, uint64) StalePolicy { return StaleDead }}, once: true, dead: "[stale_epoch]"},
		{name: "older, to wait", deferred: 4, now: 5, config: HandlerConfig{Stale: StaleWait}, dead: "[]"},
		{name: "older, waits and runs", deferred: 4, now: 5, config: HandlerConfig{StaleFunc: waitTwice()}, runs: 1, dead: "[]"},
		{name: "older, and the rule panics", deferred: 4, now: 5, config: HandlerConfig{MaxAttempts: 2, Backoff: fixed(time.Second), StaleFunc: panics}, dead: "[panic]"},
		{name: "older, and the rule looks up for ever", deferred: 4, now: 5, config: HandlerConfig{StaleFunc: never}, dead: "[stale_epoch]"},
		{name: "newer than this process knows", deferred: 6, now: 5, dead: "[]"},
		{name: "may not write", deferred: 5, now: 0, dead: "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				epoch := func(n uint64) func() (uint64, time.Time) { return func() (uint64, time.Time) { return n, time.Time{} } }
				s.client = must(NewClient(s.memory, ClientConfig{Epoch: epoch(tt.deferred), Ledger: s.ledger}))
				var runs atomic.Int64
				Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, tt.config)
				c := WorkerConfig{}
				if tt.once {
					c = onceWorker(newOnce())
				}
				c.Epoch = epoch(tt.now)
				s.send()
				s.run(c)
				time.Sleep(time.Minute)
				if got := fmt.Sprint(s.letters()); got != tt.dead || runs.Load() != tt.runs {
					t.Errorf("%d runs, dead %v, want %d and %v", runs.Load(), got, tt.runs, tt.dead)
				}
				s.close()
			})
		})
	}
}

func TestRedriveFilterAndDryRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, billing, func(_ context.Context, c charge) error {
			if c.Cents == 0 {
				return permanent
			}
			return errPlain
		}, HandlerConfig{MaxAttempts: 1})
		for i := range 30 {
			must(billing.Defer(t.Context(), s.client, charge{Cents: i % 2}))
		}
		s.memory.Send(t.Context(), []Outgoing{{CallID: "poison", Body: "poison"}})
		s.run(WorkerConfig{})
		time.Sleep(time.Minute)
		s.close()
		dead := s.memory.DeadLetters()
		base := RedriveConfig{By: "ops", Reason: "test"}
		dry := base
		dry.DryRun = true
		if r, err := Redrive(t.Context(), dead, s.memory, Filter{Reasons: []Reason{ReasonAttempts}}, dry); err != nil || len(r.CallIDs) != 15 || r.Redriven != 0 || r.Skipped != 16 {
			t.Errorf("dry run = %+v, %v, want 15 found", r, err)
		}
		if d := must(dead.Stats(t.Context())); d.Visible != 31 {
			t.Errorf("dead letters after a dry run: %+v, want all visible", d)
		}
		var audit strings.Builder
		base.Audit = &audit
		base.Limit = 5
		began := time.Now()
		if r, err := Redrive(t.Context(), dead, s.memory, Filter{Reasons: []Reason{ReasonPermanent}, Calls: []string{"billing.charge.v1"}, Until: time.Now()}, base); err != nil || r.Redriven != 5 {
			t.Errorf("limited redrive = %+v, %v, want 5", r, err)
		}
		if took := time.Since(began); took < 100*time.Millisecond {
			t.Errorf("5 letters in %v, want them paced at 50 a second", took)
		}
		base.Limit = 0
		if r, err := Redrive(t.Context(), dead, s.memory, Filter{Reasons: []Reason{ReasonUndecodable}}, base); err != nil || r.Redriven != 1 {
			t.Errorf("redrive of poison = %+v, %v", r, err)
		}
		if d := must(s.memory.Stats(t.Context())); d.Visible != 6 {
			t.Errorf("in the queue: %+v, want 6", d)
		}
		for _, bad := range []RedriveConfig{{}, {By: "x", Reason: "y"}, {By: "x", Reason: "y", Audit: &audit, ServerSide: true, Limit: 1}} {
			if _, err := Redrive(t.Context(), dead, s.memory, Filter{}, bad); err == nil {
				t.Errorf("Redrive with %+v succeeds", bad)
			}
		}
	})
}

func TestRegionalFailsOverAndDrainsTheStrandedRegion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := must(NewMemory(MemoryConfig{Region: "a"})), must(NewMemory(MemoryConfig{Region: "b"}))
		fa := &failing{Transport: a}
		var mu sync.Mutex
		var observed []string
		r := must(NewRegional(func() ([]string, string) { return []string{"a", "b", "unknown"}, "a" },
			map[string]Transport{"a": fa, "b": b}, RegionalConfig{Observe: func(region string, err error, took time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil && region != "" {
					observed = append(observed, region)
				}
			}}))
		ledger := NewLedger()
		client := must(NewClient(r, ClientConfig{Ledger: ledger}))
		if rec := must(billing.Defer(t.Context(), client, charge{})); rec.Region != "a" {
			t.Errorf("receipt %+v, want home", rec)
		}
		fa.set(&fa.send, hang)
		fa.set(&fa.receive, func(context.Context) error { return errPlain })
		for range 5 {
			if rec := must(billing.Defer(t.Context(), client, charge{})); rec.Region != "b" {
				t.Errorf("receipt %+v, want the other Region", rec)
			}
		}
		mux := NewMux()
		j := newJournal()
		Handle(mux, billing, func(context.Context, charge) error { j.add("run"); return nil }, HandlerConfig{})
		w := must(NewWorker(r, mux, WorkerConfig{Ledger: ledger}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		if j.len() != 5 {
			t.Errorf("%d runs while a is away, want the 5 of b", j.len())
		}
		fa.set(&fa.send, nil)
		fa.set(&fa.receive, nil)
		time.Sleep(2 * time.Minute)
		if j.len() != 6 {
			t.Errorf("%d runs after a came back, want its stranded call too", j.len())
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(observed) == 0 || observed[0] != "a" {
			t.Errorf("observed %v, want errors of a", observed)
		}
		if rep := ledger.Check(t.Context(), map[string]Holding{"a": a, "b": b}); !rep.Balanced() {
			t.Errorf("ledger %+v", rep)
		}
	})
}

func TestRegionalBreakerRefusalIsNotRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := must(NewMemory(MemoryConfig{Region: "a"}))
		r := must(NewRegional(func() ([]string, string) { return []string{"a"}, "" }, map[string]Transport{"a": a},
			RegionalConfig{Around: func(context.Context, string, func(context.Context) error) error { return notRun }}))
		_, err := billing.Defer(t.Context(), must(NewClient(r, ClientConfig{})), charge{})
		if !errors.Is(err, ErrNotDeferred) || outcome.Of(err) != outcome.NotRun {
			t.Errorf("Defer = %v, want not run", err)
		}
		if _, err := r.Stats(t.Context()); err == nil {
			t.Error("Stats of nothing but unreachable Regions is no error")
		}
	})
}

func TestRegionalHoldsFIFO(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := must(NewMemory(MemoryConfig{Region: "a", FIFO: true})), must(NewMemory(MemoryConfig{Region: "b", FIFO: true}))
		usable := []string{"b", "a"}
		r := must(NewRegional(func() ([]string, string) { return usable, "b" }, map[string]Transport{"a": a, "b": b}, RegionalConfig{Pinned: "a"}))
		c := must(NewClient(r, ClientConfig{}))
		if rec := must(billing.Defer(t.Context(), c, charge{}, Group("g"))); rec.Region != "a" {
			t.Errorf("receipt %+v, want the pinned Region", rec)
		}
		usable = []string{"b"}
		if _, err := billing.Defer(t.Context(), c, charge{}, Group("g")); !errors.Is(err, ErrHeld) || outcome.Of(err) != outcome.NotRun {
			t.Errorf("Defer = %v, want ErrHeld", err)
		}
		if _, err := NewRegional(r.route, map[string]Transport{"a": a, "b": b}, RegionalConfig{}); err == nil {
			t.Error("FIFO queues without Pinned are accepted")
		}
	})
}

func TestRegionalErrorsNameIt(t *testing.T) {
	for name, want := range map[string]string{"": `queue "regional": `, "mails": `queue "mails": `} {
		r := must(NewRegional(func() ([]string, string) { return nil, "" }, map[string]Transport{"a": must(NewMemory(MemoryConfig{}))}, RegionalConfig{Name: name}))
		sent := r.Send(t.Context(), []Outgoing{{}})[0].Err
		for what, err := range map[string]error{"Send": sent, "Delete": r.Delete(t.Context(), []*Message{{Region: "b"}})[0]} {
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s = %v, want an error that begins with %s", what, err, want)
			}
		}
	}
}

func TestIdleRegionDoesNotStarveTheBusyOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := must(NewMemory(MemoryConfig{Region: "a"})), must(NewMemory(MemoryConfig{Region: "b"}))
		r := must(NewRegional(func() ([]string, string) { return []string{"a", "b"}, "a" }, map[string]Transport{"a": a, "b": b}, RegionalConfig{}))
		mux := NewMux()
		j := newJournal()
		Handle(mux, billing, func(context.Context, charge) error { time.Sleep(time.Second); j.add("run"); return nil }, HandlerConfig{})
		w := must(NewWorker(r, mux, WorkerConfig{Workers: 10}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		client := must(NewClient(b, ClientConfig{}))
		for range 200 {
			must(billing.Defer(t.Context(), client, charge{}))
		}
		time.Sleep(40 * time.Second)
		if j.len() != 200 {
			t.Errorf("%d of 200 calls in 40 s with ten workers: home's empty poll holds them up", j.len())
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestTryKeepsASuccessWhoseMarkerIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := must(NewMemory(MemoryConfig{}))
		c := must(NewClient(m, ClientConfig{Once: func(ctx context.Context, _ string, call func(context.Context) error) error {
			return errors.Join(call(ctx), errPlain)
		}}))
		r, err := billing.Try(t.Context(), c, charge{}, func(context.Context, charge) error { return nil })
		if err != nil || r.Via != ViaRan || must(m.Stats(t.Context())).Total() != 0 {
			t.Errorf("Try = %+v, %v, want it to have run and nothing deferred", r, err)
		}
	})
}
