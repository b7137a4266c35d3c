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
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// fakeSpool is a spool in memory.
type fakeSpool struct {
	mu      sync.Mutex
	next    uint64
	items   []Spooled
	out     map[uint64]bool
	refused []string
	full    bool
	arrived chan struct{}
}

func newFakeSpool() *fakeSpool {
	return &fakeSpool{out: map[uint64]bool{}, arrived: make(chan struct{}, 1000)}
}

func (f *fakeSpool) Append(_ context.Context, o Outgoing) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return fmt.Errorf("x: %w", ErrSpoolFull)
	}
	f.next++
	f.items = append(f.items, Spooled{Sequence: f.next, Message: o, Appended: time.Now()})
	f.arrived <- struct{}{}
	return nil
}

func (f *fakeSpool) Holds(group string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.items, func(s Spooled) bool { return s.Message.Group == group })
}

func (f *fakeSpool) Take(ctx context.Context, n int) ([]Spooled, error) {
	for {
		f.mu.Lock()
		var got []Spooled
		for _, s := range f.items {
			if len(got) < n && !f.out[s.Sequence] {
				f.out[s.Sequence] = true
				got = append(got, s)
			}
		}
		f.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		select {
		case <-f.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fakeSpool) Settle(s Spooled, v SpoolVerdict, _ error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.out, s.Sequence)
	if v == SpoolAgain {
		f.arrived <- struct{}{}
		return nil
	}
	if v == SpoolRefused {
		f.refused = append(f.refused, s.Message.CallID)
	}
	f.items = slices.DeleteFunc(f.items, func(x Spooled) bool { return x.Sequence == s.Sequence })
	return nil
}

func (f *fakeSpool) Stats() SpoolStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return SpoolStats{Messages: len(f.items), Full: f.full}
}

func (f *fakeSpool) Calls(context.Context) (ids []string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.items {
		ids = append(ids, s.Message.CallID)
	}
	return ids, nil
}

// closedSpool hands out nothing any more, and is empty.
type closedSpool struct{ *fakeSpool }

func (closedSpool) Take(context.Context, int) ([]Spooled, error) { return nil, errors.New("x: closed") }

// Run does not outlive its spool for the epoch's sake.
func TestRunEndsWithItsSpool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := must(NewClient(must(NewMemory(MemoryConfig{})), ClientConfig{Spool: closedSpool{newFakeSpool()}, Epoch: func() (uint64, time.Time) { return 1, time.Now() }}))
		ended := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { ended <- c.Run(ctx) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("it runs a minute after the spool was closed")
			stop()
			<-ended
		}
	})
}

func TestDeferRefusesWhatNoQueueTakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		standard := must(NewClient(must(NewMemory(MemoryConfig{})), ClientConfig{}))
		fifo := must(NewClient(must(NewMemory(MemoryConfig{FIFO: true})), ClientConfig{}))
		long := Define[string]("long.v1")
		channels := Define[chan int]("chan.v1")
		deferred := func(c *Client, options ...Option) error {
			r, err := billing.Defer(t.Context(), c, charge{}, options...)
			if err == nil || r.Durable {
				t.Errorf("receipt %+v without an error", r)
			}
			return err
		}
		now := time.Now()
		tests := map[string]error{
			"negative delay":        deferred(standard, Delay(-1)),
			"over-long delay":       deferred(standard, Delay(MaxDelay+time.Hour)),
			"over-long instant":     deferred(standard, At(now.Add(2*MaxDelay))),
			"delay on FIFO":         deferred(fifo, Group("g"), Delay(time.Second)),
			"no group on FIFO":      deferred(fifo),
			"group on standard":     deferred(standard, Group("g")),
			"empty ID":              deferred(standard, ID("")),
			"ID with a space":       deferred(standard, ID("a b")),
			"long ID":               deferred(standard, ID(strings.Repeat("x", 129))),
			"tenant with a newline": deferred(standard, Tenant("a\n")),
			"expired":               deferred(standard, Expires(now)),
			"expires too early":     deferred(standard, Delay(time.Hour), Expires(now.Add(time.Minute))),
		}
		_, tests["payload over the limit"] = long.Defer(t.Context(), standard, strings.Repeat("x", 1<<20))
		_, tests["arguments without JSON"] = channels.Defer(t.Context(), standard, nil)
		_, tests["call not defined"] = Call[int]{}.Defer(t.Context(), standard, 1)
		for name, err := range tests {
			e, ok := errors.AsType[*InvalidError](err)
			if !ok || !e.NotRun() || !outcome.Permanent(err) || outcome.Of(err) != outcome.NotRun {
				t.Errorf("%s: %v, want an *InvalidError", name, err)
			}
		}
	})
}

func TestDeferEscapesWhatSQSRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := must(NewMemory(MemoryConfig{}))
		c := must(NewClient(m, ClientConfig{}))
		text := Define[string]("text.v1")
		want := "nul \x00 bell \x07 \ufffe \uffff € 😀 <&>"
		if _, err := text.Defer(t.Context(), c, want); err != nil {
			t.Fatal(err)
		}
		mux := NewMux()
		got := make(chan string, 1)
		Handle(mux, text, func(_ context.Context, s string) error { got <- s; return nil }, HandlerConfig{})
		w := must(NewWorker(m, mux, WorkerConfig{}))
		go w.Run(t.Context())
		if s := <-got; s != want {
			t.Errorf("arrived as %q, want %q", s, want)
		}
		must(w.Drain(context.Background()))
	})
}

func TestDeferFailsOverToTheSpool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := must(NewMemory(MemoryConfig{}))
		f := &failing{Transport: m}
		f.set(&f.send, hang)
		spool := newFakeSpool()
		ledger := NewLedger()
		c := must(NewClient(f, ClientConfig{Spool: spool, SpoolDurable: true, Ledger: ledger}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		began := time.Now()
		for i := range 20 {
			r, err := billing.Defer(t.Context(), c, charge{})
			if err != nil || r.Via != ViaSpool || !r.Durable {
				t.Fatalf("Defer %d = %+v, %v, want it in the spool", i, r, err)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("20 calls took %v while the queue hangs: nobody noticed", took)
		}
		if !c.Stats().Down {
			t.Error("Stats does not say that the queue is down")
		}
		f.set(&f.send, nil)
		time.Sleep(5 * time.Minute)
		if n := spool.Stats().Messages; n != 0 {
			t.Errorf("%d messages still in the spool five minutes after", n)
		}
		r := must(billing.Defer(t.Context(), c, charge{}))
		if r.Via != ViaMemory {
			t.Errorf("receipt %+v after the queue came back", r)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		if rep := ledger.Check(t.Context(), map[string]Holding{"queue": m, "spool": spool}); !rep.Balanced() || rep.Accepted != 21 {
			t.Errorf("ledger %+v", rep)
		}
	})
}

func TestDeferWithoutAPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		send func(context.Context) error
		want outcome.Outcome
	}{
		"refused":    {func(context.Context) error { return notRun }, outcome.NotRun},
		"no answer":  {hang, outcome.Unknown},
		"first lost": {firstUnknown(), outcome.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &failing{Transport: must(NewMemory(MemoryConfig{}))}
				f.set(&f.send, tt.send)
				for _, spool := range []Spool{nil, &fakeSpool{full: true}} {
					c := must(NewClient(f, ClientConfig{Spool: spool}))
					r, err := billing.Defer(t.Context(), c, charge{})
					if !errors.Is(err, ErrNotDeferred) || r.CallID == "" || r.Durable || spool != nil && !errors.Is(err, ErrSpoolFull) {
						t.Errorf("Defer = %+v, %v, want ErrNotDeferred", r, err)
					}
					if name != "first lost" && outcome.Of(err) != tt.want {
						t.Errorf("outcome of %v is %d, want %d", err, outcome.Of(err), tt.want)
					}
				}
			})
		})
	}
}

// firstUnknown loses the first reply and refuses from then on.
func firstUnknown() func(context.Context) error {
	var n atomic.Int64
	return func(context.Context) error {
		if n.Add(1) == 1 {
			return unknown
		}
		return notRun
	}
}

func TestRetriedSendKeepsTheUnknownOutcome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &failing{Transport: must(NewMemory(MemoryConfig{}))}
		f.set(&f.send, firstUnknown())
		c := must(NewClient(f, ClientConfig{}))
		if _, err := billing.Defer(t.Context(), c, charge{}); outcome.Of(err) != outcome.Unknown {
			t.Errorf("Defer = %v, want an unknown outcome: the first send may have arrived", err)
		}
	})
}

func TestSpendLimitsRepeatedSends(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &failing{Transport: must(NewMemory(MemoryConfig{}))}
		var sends atomic.Int64
		f.set(&f.send, func(context.Context) error { sends.Add(1); return notRun })
		c := must(NewClient(f, ClientConfig{Spend: func() bool { return false }}))
		_, _ = billing.Defer(t.Context(), c, charge{})
		if sends.Load() != 1 {
			t.Errorf("%d sends without a budget, want 1", sends.Load())
		}
	})
}

func TestCancelledDefer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &failing{Transport: must(NewMemory(MemoryConfig{}))}
		f.set(&f.send, hang)
		c := must(NewClient(f, ClientConfig{}))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := billing.Defer(ctx, c, charge{}); outcome.Of(err) != outcome.Unknown || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Defer = %v, want unknown: it is being sent", err)
		}
		if _, err := billing.Defer(ctx, c, charge{}); outcome.Of(err) != outcome.NotRun {
			t.Errorf("Defer with an ended context = %v, want not run", err)
		}
		time.Sleep(5 * time.Second)
	})
}

// batches records the sizes of Send calls and takes a while for each.
type slow struct {
	Transport
	mu      sync.Mutex
	batches [][]Outgoing
	active  map[string]bool
	overlap bool
}

func (s *slow) Send(ctx context.Context, m []Outgoing) []SendResult {
	s.mu.Lock()
	s.batches = append(s.batches, slices.Clone(m))
	for _, o := range m {
		s.overlap = s.overlap || o.Group != "" && s.active[o.Group]
		s.active[o.Group] = true
	}
	s.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	s.mu.Lock()
	for _, o := range m {
		delete(s.active, o.Group)
	}
	s.mu.Unlock()
	return s.Transport.Send(ctx, m)
}

// callers runs f with callers that may leave, whose batches carriers send, and with callers that stay and send themselves.
func callers(t *testing.T, f func(*testing.T, context.Context)) {
	t.Run("may leave", func(t *testing.T) { bubble(t, func(t *testing.T) { f(t, t.Context()) }) })
	t.Run("stay", func(t *testing.T) { bubble(t, func(t *testing.T) { f(t, context.Background()) }) })
}

func TestConcurrentDefersShareBatches(t *testing.T) {
	callers(t, func(t *testing.T, ctx context.Context) {
		s := &slow{Transport: must(NewMemory(MemoryConfig{})), active: map[string]bool{}}
		c := must(NewClient(s, ClientConfig{}))
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { must(billing.Defer(ctx, c, charge{})) })
		}
		wg.Wait()
		if n := len(s.batches); n > 25 {
			t.Errorf("200 calls in %d requests, want about 20", n)
		}
	})
}

func TestBatchesStayUnderTheByteLimit(t *testing.T) {
	callers(t, func(t *testing.T, ctx context.Context) {
		s := &slow{Transport: must(NewMemory(MemoryConfig{})), active: map[string]bool{}}
		c := must(NewClient(s, ClientConfig{}))
		long := Define[string]("long.v1")
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() { must(long.Defer(ctx, c, strings.Repeat("x", 300<<10))) })
		}
		wg.Wait()
		for _, b := range s.batches {
			size := 0
			for _, o := range b {
				size += len(o.Body)
			}
			if size > 1<<20 {
				t.Errorf("batch of %d bytes", size)
			}
		}
	})
}

func TestFIFOGroupsAreNeverInTwoBatches(t *testing.T) {
	callers(t, func(t *testing.T, ctx context.Context) {
		s := &slow{Transport: must(NewMemory(MemoryConfig{FIFO: true})), active: map[string]bool{}}
		c := must(NewClient(s, ClientConfig{}))
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { must(billing.Defer(ctx, c, charge{}, Group(fmt.Sprint(i%7)))) })
		}
		wg.Wait()
		if s.overlap {
			t.Error("a group was in two batches, or twice in one")
		}
	})
}

func TestStickyGroupsFollowIntoTheSpool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := must(NewMemory(MemoryConfig{FIFO: true}))
		f := &failing{Transport: m}
		f.set(&f.send, func(context.Context) error { return notRun })
		spool := newFakeSpool()
		c := must(NewClient(f, ClientConfig{Spool: spool}))
		must(billing.Defer(t.Context(), c, charge{}, Group("g")))
		f.set(&f.send, nil)
		if r := must(billing.Defer(t.Context(), c, charge{}, Group("g"))); r.Via != ViaSpool {
			t.Errorf("the second of the group went via %v, want the spool", r.Via)
		}
		if r := must(billing.Defer(t.Context(), c, charge{}, Group("h"))); r.Via != ViaMemory {
			t.Errorf("another group went via %v, want the queue", r.Via)
		}
	})
}

func TestRunSaysWhatStaysInAVolatileSpool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &failing{Transport: must(NewMemory(MemoryConfig{}))}
		f.set(&f.send, func(context.Context) error { return notRun })
		c := must(NewClient(f, ClientConfig{Spool: newFakeSpool()}))
		must(billing.Defer(t.Context(), c, charge{}))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Run(ctx); err == nil || !strings.Contains(err.Error(), "1 calls") {
			t.Errorf("Run = %v, want it to say that one call is left", err)
		}
	})
}

func TestRefusedBySQSGoesToQuarantine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &failing{Transport: must(NewMemory(MemoryConfig{}))}
		f.set(&f.send, func(context.Context) error { return notRun })
		spool := newFakeSpool()
		c := must(NewClient(f, ClientConfig{Spool: spool}))
		r := must(billing.Defer(t.Context(), c, charge{}))
		spool.items[0].Message.Body = "\x00" // what a bug of ours would be
		spool.items = append(spool.items, Spooled{Sequence: 99, Message: Outgoing{CallID: "good", Body: "x"}})
		f.set(&f.send, nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(time.Minute)
		stop()
		if err := <-done; err != nil || !slices.Equal(spool.refused, []string{r.CallID}) || spool.Stats().Messages != 0 {
			t.Errorf("Run = %v, refused %v: want the bad one there and nothing behind it", err, spool.refused)
		}
	})
}

func TestTry(t *testing.T) {
	type result struct {
		via       Via
		err       bool
		ambiguous bool
		queued    int
	}
	plainOnce := func(ctx context.Context, _ string, call func(context.Context) error) error { return call(ctx) }
	tests := []struct {
		name string
		now  error
		once bool
		call Call[charge]
		want result
	}{
		{"success", nil, false, billing, result{via: ViaRan}},
		{"not run", notRun, false, billing, result{via: ViaMemory, queued: 1}},
		{"permanent", permanent, true, billing, result{err: true}},
		{"unknown", unknown, false, billing, result{err: true, ambiguous: true}},
		{"unknown with Once", unknown, true, billing, result{via: ViaMemory, ambiguous: true, queued: 1}},
		{"unknown, repeatable", unknown, false, repeated, result{via: ViaMemory, ambiguous: true, queued: 1}},
		{"transient", errPlain, false, billing, result{err: true, ambiguous: true}},
		{"transient with Once", errPlain, true, billing, result{via: ViaMemory, queued: 1}},
		{"permanent not run", marked{notRun: true, permanent: true}, true, billing, result{err: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := must(NewMemory(MemoryConfig{}))
				config := ClientConfig{}
				if tt.once {
					config.Once = plainOnce
				}
				c := must(NewClient(m, config))
				r, err := tt.call.Try(t.Context(), c, charge{}, func(context.Context, charge) error { return tt.now })
				got := result{r.Via, err != nil, r.Ambiguous, must(m.Stats(t.Context())).Total()}
				if tt.want.err {
					got.via = 0
				}
				if got != tt.want || err != nil && !errors.Is(err, tt.now) {
					t.Errorf("Try = %+v, %v; %d queued; want %+v", r, err, got.queued, tt.want)
				}
			})
		})
	}
}

func TestTryAndTheCallersContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := must(NewMemory(MemoryConfig{}))
		c := must(NewClient(m, ClientConfig{}))
		wait := func(ctx context.Context, _ charge) error { <-ctx.Done(); return ctx.Err() }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r, err := repeated.Try(ctx, c, charge{}, wait); err != nil || r.Via != ViaMemory || !r.Ambiguous {
			t.Errorf("Try after its deadline = %+v, %v, want it deferred all the same", r, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r, err := repeated.Try(ctx, c, charge{}, wait); err == nil || !r.Ambiguous {
			t.Errorf("cancelled Try = %+v, %v, want the error: a cancel is no reason to defer", r, err)
		}
		if d := must(m.Stats(t.Context())); d.Total() != 1 {
			t.Errorf("%d queued, want 1", d.Total())
		}
	})
}

func TestClientConfigErrors(t *testing.T) {
	m := must(NewMemory(MemoryConfig{}))
	for field, c := range map[string]ClientConfig{
		"SendTimeout": {SendTimeout: 1}, "Linger": {Linger: time.Hour}, "SpoolDurable": {SpoolDurable: true},
	} {
		if _, err := NewClient(m, c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("NewClient with a bad %s = %v", field, err)
		}
	}
	if _, err := NewClient(nil, ClientConfig{}); err == nil {
		t.Error("NewClient(nil) succeeds")
	}
}
