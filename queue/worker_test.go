package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func fixed(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func TestWorkerRunsCallsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var got atomic.Int64
		Handle(s.mux, billing, func(_ context.Context, c charge) error {
			got.Add(int64(c.Cents))
			return nil
		}, HandlerConfig{})
		s.run(WorkerConfig{Workers: 4})
		for i := range 100 {
			if r := s.send(); r.Via != ViaMemory || r.Durable || r.CallID == "" {
				t.Fatalf("receipt %d = %+v", i, r)
			}
		}
		time.Sleep(time.Second)
		s.close()
		if got.Load() != 4200 {
			t.Errorf("handlers saw %d cents, want 4200", got.Load())
		}
		if d := must(s.memory.Stats(t.Context())); d.Total() != 0 {
			t.Errorf("left in the queue: %+v", d)
		}
		if st := s.worker.Stats(); st.Done != 100 || st.Held != 0 {
			t.Errorf("stats %+v, want 100 done, none held", st)
		}
	})
}

func TestWorkerRetriesThenDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		j := newJournal()
		Handle(s.mux, billing, func(context.Context, charge) error { j.add("run"); return errPlain },
			HandlerConfig{MaxAttempts: 3, Backoff: func(n int) time.Duration { return time.Duration(n) * time.Minute }})
		s.run(WorkerConfig{})
		s.send()
		time.Sleep(time.Hour)
		if got := fmt.Sprint(s.letters()); got != "[attempts]" {
			t.Errorf("dead letters %v, want [attempts]", got)
		}
		s.close()
		if len(j.at) != 3 || j.at[1]-j.at[0] != time.Minute+deleteLinger || j.at[2]-j.at[1] != 2*time.Minute+deleteLinger {
			t.Errorf("runs at %v, want 3, a minute and two apart", j.at)
		}
	})
}

func TestWorkerOutcomes(t *testing.T) {
	tests := []struct {
		name   string
		err    func(n int64) error
		reason string
		runs   int64
		config HandlerConfig
	}{
		{"permanent is dead at once", func(int64) error { return permanent }, "[permanent]", 1, HandlerConfig{}},
		{"drop is gone", func(int64) error { return fmt.Errorf("x: %w", Drop) }, "[]", 1, HandlerConfig{}},
		{"snooze is no attempt", func(n int64) error {
			if n < 9 {
				return Snooze(0)
			}
			return permanent
		}, "[permanent]", 9, HandlerConfig{MaxAttempts: 2}},
		{"panic is an attempt", func(int64) error { panic("boom") }, "[panic]", 2, HandlerConfig{MaxAttempts: 2, Backoff: fixed(1)}},
		{"Goexit is an attempt", func(int64) error { runtime.Goexit(); return nil }, "[panic]", 2, HandlerConfig{MaxAttempts: 2, Backoff: fixed(1)}},
		{"negative back-off gives up", func(int64) error { return errPlain }, "[attempts]", 1, HandlerConfig{Backoff: fixed(-1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				var n atomic.Int64
				Handle(s.mux, billing, func(context.Context, charge) error { return tt.err(n.Add(1)) }, tt.config)
				s.run(WorkerConfig{})
				s.send()
				time.Sleep(10 * time.Minute)
				if got := fmt.Sprint(s.letters()); got != tt.reason {
					t.Errorf("dead letters %v, want %v", got, tt.reason)
				}
				s.close()
				if n.Load() != tt.runs {
					t.Errorf("%d runs, want %d", n.Load(), tt.runs)
				}
				if st := s.worker.Stats(); st.Running != 0 || st.Held != 0 {
					t.Errorf("stats %+v: something is still held", st)
				}
			})
		})
	}
}

func TestWorkerExtendsLeases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var runs atomic.Int64
		Handle(s.mux, billing, func(ctx context.Context, _ charge) error {
			runs.Add(1)
			sleep(ctx, 10*time.Minute)
			return ctx.Err()
		}, HandlerConfig{})
		s.run(WorkerConfig{})
		s.send()
		time.Sleep(15 * time.Minute)
		s.close()
		if runs.Load() != 1 || s.worker.Stats().LeaseLost != 0 {
			t.Errorf("%d runs, %+v, want one without a lost lease", runs.Load(), s.worker.Stats())
		}
	})
}

// failing is a transport whose methods can be made to fail or hang.
type failing struct {
	Transport
	extend, remove, send, receive, dead atomic.Pointer[func(context.Context) error]
}

func (f *failing) set(p *atomic.Pointer[func(context.Context) error], fn func(context.Context) error) {
	if fn == nil {
		p.Store(nil)
		return
	}
	p.Store(&fn)
}

func hang(ctx context.Context) error { <-ctx.Done(); return unknown }

func (f *failing) Extend(ctx context.Context, m []*Message, d time.Duration) []error {
	if p := f.extend.Load(); p != nil {
		return allFail(len(m), (*p)(ctx))
	}
	return f.Transport.Extend(ctx, m, d)
}

func (f *failing) Delete(ctx context.Context, m []*Message) []error {
	if p := f.remove.Load(); p != nil {
		return allFail(len(m), (*p)(ctx))
	}
	return f.Transport.Delete(ctx, m)
}

func (f *failing) Dead(ctx context.Context, l []DeadLetter) []error {
	if p := f.dead.Load(); p != nil {
		return allFail(len(l), (*p)(ctx))
	}
	return f.Transport.Dead(ctx, l)
}

func (f *failing) Receive(ctx context.Context, r ReceiveRequest) ([]*Message, error) {
	if p := f.receive.Load(); p != nil {
		if err := (*p)(ctx); err != nil {
			return nil, err
		}
	}
	return f.Transport.Receive(ctx, r)
}

func (f *failing) Send(ctx context.Context, m []Outgoing) []SendResult {
	if p := f.send.Load(); p != nil {
		err := (*p)(ctx)
		results := make([]SendResult, len(m))
		for i := range results {
			results[i] = SendResult{Err: &SendError{Outcome: unlessNotRun(err), Err: err}}
		}
		return results
	}
	return f.Transport.Send(ctx, m)
}

func TestWorkerCancelsTheHandlerWhenTheLeaseIsLost(t *testing.T) {
	for name, broken := range map[string]func(context.Context) error{
		"the queue says so":          func(context.Context) error { return ErrLeaseLost },
		"the queue does not answer":  hang,
		"the queue refuses to serve": func(context.Context) error { return errPlain },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				f := &failing{Transport: s.memory}
				f.set(&f.extend, broken)
				j := newJournal()
				var causes []error
				Handle(s.mux, billing, func(ctx context.Context, _ charge) error {
					j.add("start")
					if j.len() > 1 {
						return nil
					}
					<-ctx.Done()
					causes = append(causes, context.Cause(ctx))
					j.add("end")
					return ctx.Err()
				}, HandlerConfig{})
				s.runOn(f, WorkerConfig{})
				s.send()
				time.Sleep(5 * time.Minute)
				s.close()
				if len(causes) != 1 || causes[0] != ErrLeaseLost {
					t.Errorf("causes %v, want ErrLeaseLost", causes)
				}
				if want := []string{"start", "end", "start"}; !slices.Equal(j.what, want) {
					t.Errorf("%v, want %v", j.what, want)
				}
				if j.at[1] > 30*time.Second || j.at[2] < 30*time.Second {
					t.Errorf("times %v: the first run must end before the lease does, the second start after", j.at)
				}
			})
		})
	}
}

func TestWorkerNeverDeletesAfterALostLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		f := &failing{Transport: s.memory}
		f.set(&f.extend, hang)
		var deletes atomic.Int64
		f.set(&f.remove, func(context.Context) error { deletes.Add(1); return nil })
		Handle(s.mux, billing, func(context.Context, charge) error {
			time.Sleep(time.Minute) // ignores its context
			return nil
		}, HandlerConfig{})
		s.runOn(f, WorkerConfig{Workers: 1})
		s.send()
		time.Sleep(65 * time.Second)
		if deletes.Load() != 0 {
			t.Error("deleted a message whose lease was lost")
		}
		f.set(&f.extend, nil)
		f.set(&f.remove, nil)
		time.Sleep(5 * time.Minute)
		s.close()
	})
}

func TestWorkerDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var causes atomic.Value
		Handle(s.mux, billing, func(ctx context.Context, c charge) error {
			d := time.Duration(c.Cents) * time.Second
			if !sleep(ctx, d) {
				causes.Store(context.Cause(ctx))
				return ctx.Err()
			}
			return nil
		}, HandlerConfig{})
		s.run(WorkerConfig{Workers: 2, Drain: 10 * time.Second})
		for _, seconds := range []int{5, 60, 1, 1, 1} {
			must(billing.Defer(t.Context(), s.client, charge{Cents: seconds}))
		}
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		s.stop()
		if err := <-s.done; err != nil {
			t.Errorf("Run = %v", err)
		}
		r, err := s.worker.Drain(t.Context())
		if err != nil || r.Finished != 1 || r.Stopped != 1 || len(r.LeftBehind) != 0 {
			t.Errorf("Drain = %+v, %v, want 1 finished, 1 stopped", r, err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("drain took %v, want about 10s", took)
		}
		if causes.Load() != ErrDraining {
			t.Errorf("cause %v, want ErrDraining", causes.Load())
		}
		if d := must(s.memory.Stats(t.Context())); d.Visible != 4 || d.InFlight != 0 {
			t.Errorf("after the drain: %+v, want 4 visible", d)
		}
		if again, err := s.worker.Drain(t.Context()); err != nil || again.Took != r.Took {
			t.Errorf("second Drain = %+v, %v", again, err)
		}
		s.balanced()
	})
}

func TestWorkerLeavesAStuckHandlerBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		release := make(chan struct{})
		Handle(s.mux, billing, func(context.Context, charge) error { <-release; return nil }, HandlerConfig{})
		s.run(WorkerConfig{})
		s.send(ID("stuck"))
		time.Sleep(time.Second)
		s.stop()
		if err := <-s.done; err == nil || !strings.Contains(err.Error(), "billing.charge.v1/stuck") {
			t.Errorf("Run = %v, want the call it left behind", err)
		}
		if s.worker.report.Took > 30*time.Second {
			t.Errorf("drain took %v: over the root's StopTimeout", s.worker.report.Took)
		}
		close(release)
	})
}

func TestDrainBeforeRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, billing, func(context.Context, charge) error { return nil }, HandlerConfig{})
		w := must(NewWorker(s.memory, s.mux, WorkerConfig{}))
		if _, err := w.Drain(t.Context()); err != nil {
			t.Errorf("Drain before Run = %v", err)
		}
		if err := w.Run(t.Context()); err != nil {
			t.Errorf("Run after Drain = %v", err)
		}
		if err := w.Run(t.Context()); err == nil {
			t.Error("a second Run is accepted")
		}
	})
}

func TestWorkerPausesWhileADependencyIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var down atomic.Bool
		down.Store(true)
		j := newJournal()
		Handle(s.mux, billing, func(context.Context, charge) error { j.add("run"); return nil },
			HandlerConfig{Ready: func() (time.Duration, bool) { return 5 * time.Second, !down.Load() }})
		f := &failing{Transport: s.memory}
		var polls atomic.Int64
		f.set(&f.receive, func(context.Context) error { polls.Add(1); return nil })
		s.runOn(f, WorkerConfig{})
		s.send()
		time.Sleep(10 * time.Minute)
		if n := polls.Load(); n != 0 || j.len() != 0 {
			t.Errorf("%d polls, %d runs while the dependency is away, want none", n, j.len())
		}
		if !s.worker.Stats().Paused {
			t.Error("Stats does not say that it is paused")
		}
		down.Store(false)
		time.Sleep(time.Minute)
		s.close()
		if j.len() != 1 {
			t.Errorf("%d runs after the dependency came back, want 1", j.len())
		}
	})
}

func TestWorkerPauseBurnsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var down atomic.Bool
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return errPlain },
			HandlerConfig{MaxAttempts: 3, Backoff: fixed(time.Second), Ready: func() (time.Duration, bool) { return time.Second, !down.Load() }})
		// A second handler, always ready, keeps the queue polled: the paused handler's calls come and must be put off.
		Handle(s.mux, repeated, func(context.Context, charge) error { return nil }, HandlerConfig{})
		s.run(WorkerConfig{})
		down.Store(true)
		s.send()
		time.Sleep(time.Hour)
		if runs.Load() != 0 {
			t.Errorf("%d runs while paused", runs.Load())
		}
		if st := s.worker.Stats(); st.PutOff < 100 {
			t.Errorf("put off %d times in an hour, the test shows nothing", st.PutOff)
		}
		down.Store(false)
		time.Sleep(time.Hour)
		if got := fmt.Sprint(s.letters()); got != "[attempts]" || runs.Load() != 3 {
			t.Errorf("%d runs, dead letters %v, want exactly 3 and [attempts]", runs.Load(), got)
		}
		s.close()
	})
}

func TestWorkerProbesWithOneCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var c crowd
		Handle(s.mux, billing, c.run, HandlerConfig{})
		for range 20 {
			s.send()
		}
		s.run(WorkerConfig{Ready: func() (time.Duration, bool) { return time.Second, true }})
		time.Sleep(time.Minute)
		s.close()
		if c.most.Load() != 1 {
			t.Errorf("%d at a time while probing, want 1", c.most.Load())
		}
	})
}

// The idle poll of one Region must not take the only turn again and again, nor keep the others waiting for long.
func TestWorkersOfOneCallTakeTurnsInRegions(t *testing.T) {
	for name, config := range map[string]WorkerConfig{
		"one worker": {Workers: 1},
		"a probe":    {Ready: func() (time.Duration, bool) { return time.Second, true }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				regions := map[string]Transport{"a": s.memory, "b": must(NewMemory(MemoryConfig{})), "c": must(NewMemory(MemoryConfig{}))}
				r := must(NewRegional(func() ([]string, string) { return []string{"a"}, "a" }, regions, RegionalConfig{}))
				var ran atomic.Pointer[journal]
				Handle(s.mux, billing, func(_ context.Context, c charge) error { ran.Load().add(c.Order); return nil }, HandlerConfig{})
				s.runOn(r, config)
				time.Sleep(time.Minute)
				for _, busy := range []string{"a", "b", "c"} { // five calls in one Region, one in each of the others
					ran.Store(newJournal())
					for region, transport := range regions {
						client := must(NewClient(transport, ClientConfig{Ledger: s.ledger}))
						must(billing.Defer(s.ctx, client, charge{Order: region}))
						for range 4 {
							if region == busy {
								must(billing.Defer(s.ctx, client, charge{Order: region}))
							}
						}
					}
					time.Sleep(5 * time.Minute)
					if at := ran.Load().times(); len(at) != 7 || at[6] > 20*time.Second {
						t.Errorf("with five calls in %s all ran after %v, want 7, within 20s", busy, at)
					}
				}
				s.close()
			})
		})
	}
}

func TestWorkerManualPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		s.run(WorkerConfig{})
		s.worker.Pause()
		time.Sleep(time.Minute) // the poll that was open has ended
		s.send()
		time.Sleep(time.Minute)
		if runs.Load() != 0 {
			t.Errorf("%d runs while paused", runs.Load())
		}
		s.worker.Resume()
		time.Sleep(time.Second)
		if runs.Load() != 1 {
			t.Errorf("%d runs a second after Resume, want 1", runs.Load())
		}
		s.close()
	})
}

// What a poll brings that was open at the Pause is put off, and a Resume does not bring it sooner.
func TestPausePutsOffWhatAnOpenPollBrings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		ran := make(chan time.Time, 1)
		Handle(s.mux, billing, func(context.Context, charge) error { ran <- time.Now(); return nil }, HandlerConfig{})
		s.run(WorkerConfig{})
		time.Sleep(time.Second) // a poll is open
		s.worker.Pause()
		s.send()
		time.Sleep(time.Second)
		paused := time.Now()
		s.worker.Resume()
		if wait := (<-ran).Sub(paused); wait < 28*time.Second || wait > 40*time.Second {
			t.Errorf("it ran %v after the Resume, want about half a minute", wait)
		}
		s.close()
	})
}

// Open polls are waited for, whatever Drain says: running handlers have that time as well.
func TestShortDrainWaitsForOpenPolls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		began, ended := make(chan struct{}), make(chan time.Time, 1)
		Handle(s.mux, billing, func(ctx context.Context, _ charge) error {
			close(began)
			<-ctx.Done()
			ended <- time.Now()
			return ctx.Err()
		}, HandlerConfig{})
		s.run(WorkerConfig{Drain: 100 * time.Millisecond})
		s.send()
		<-began
		time.Sleep(time.Second) // a poll is open
		told := time.Now()
		s.close()
		if lasted := (<-ended).Sub(told); lasted != pollGrace {
			t.Errorf("the handler had %v, want the %v of open polls", lasted, pollGrace)
		}
	})
}

func TestWorkerFairToTenants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		j := newJournal()
		Handle(s.mux, billing, func(_ context.Context, c charge) error {
			time.Sleep(time.Second)
			j.add(c.Order)
			return nil
		}, HandlerConfig{})
		for range 200 {
			must(billing.Defer(t.Context(), s.client, charge{Order: "noisy"}, Tenant("noisy")))
		}
		for range 5 {
			must(billing.Defer(t.Context(), s.client, charge{Order: "quiet"}, Tenant("quiet")))
		}
		s.run(WorkerConfig{Workers: 4, PerTenant: 3})
		time.Sleep(30 * time.Second)
		quiet := 0
		for _, what := range j.all() {
			if what == "quiet" {
				quiet++
			}
		}
		if quiet != 5 {
			t.Errorf("%d of 5 calls of the quiet tenant ran within 30 s behind 200 of the noisy one", quiet)
		}
		time.Sleep(10 * time.Minute)
		s.close()
		if j.len() != 205 {
			t.Errorf("%d runs, want 205", j.len())
		}
	})
}

func TestWorkerHandlerConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var c crowd
		Handle(s.mux, billing, c.run, HandlerConfig{Concurrency: 2})
		for range 40 {
			s.send()
		}
		s.run(WorkerConfig{Workers: 10})
		time.Sleep(10 * time.Minute)
		s.close()
		if c.most.Load() != 2 || c.runs.Load() != 40 {
			t.Errorf("%d at a time, %d runs, want 2 and 40", c.most.Load(), c.runs.Load())
		}
	})
}

func TestWorkerTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var cause atomic.Value
		Handle(s.mux, billing, func(ctx context.Context, _ charge) error {
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			return ctx.Err()
		}, HandlerConfig{Timeout: time.Minute, MaxAttempts: 1})
		s.run(WorkerConfig{})
		s.send()
		time.Sleep(2 * time.Minute)
		if got := fmt.Sprint(s.letters()); got != "[attempts]" || !errors.Is(cause.Load().(error), ErrTimeout) {
			t.Errorf("dead letters %v, cause %v, want [attempts] and ErrTimeout", got, cause.Load())
		}
		s.close()
	})
}

func TestDelays(t *testing.T) {
	for _, d := range []time.Duration{time.Second, 15 * time.Minute, 16 * time.Minute, 30 * time.Hour, 15 * 24 * time.Hour} {
		t.Run(d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				j := newJournal()
				Handle(s.mux, billing, func(context.Context, charge) error { j.add("run"); return errPlain },
					HandlerConfig{MaxAttempts: 1})
				s.run(WorkerConfig{})
				s.send(Delay(d))
				time.Sleep(d + time.Hour)
				if j.len() != 1 || j.at[0] < d-clockTolerance || j.at[0] > d+time.Second {
					t.Errorf("ran at %v, want %v", j.at, d)
				}
				if got := fmt.Sprint(s.letters()); got != "[attempts]" {
					t.Errorf("dead letters %v: hops must not count as attempts", got)
				}
				s.close()
			})
		})
	}
}

func TestPoison(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, billing, func(context.Context, charge) error { t.Error("ran"); return nil }, HandlerConfig{})
		e := Envelope{ID: "x", Name: "billing.charge.v1", Time: time.Now(), Data: []byte(`"not a charge"`)}
		bodies := []string{"not json", "{}", `[1]`, string(e.Append(nil)), strings.Repeat("{", 100)}
		for i, b := range bodies {
			if r := s.memory.Send(t.Context(), []Outgoing{{CallID: fmt.Sprint(i), Body: b}}); r[0].Err != nil {
				t.Fatal(r[0].Err)
			}
		}
		s.run(WorkerConfig{})
		time.Sleep(time.Minute)
		s.close()
		got := must(s.memory.DeadLetters().Receive(t.Context(), ReceiveRequest{Max: 10, Lease: time.Second}))
		if len(got) != len(bodies) {
			t.Fatalf("%d dead letters, want %d", len(got), len(bodies))
		}
		for i, m := range got {
			if m.Attributes[AttributeReason] != string(ReasonUndecodable) {
				t.Errorf("letter %d has reason %q", i, m.Attributes[AttributeReason])
			}
		}
		if !slices.ContainsFunc(got, func(m *Message) bool { return m.Body == "not json" }) {
			t.Error("a raw body did not stay as it came")
		}
	})
}

func TestUnknownCallWaitsForADeployment(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, repeated, func(context.Context, charge) error { return nil }, HandlerConfig{})
		s.run(WorkerConfig{})
		s.send()
		time.Sleep(50 * time.Minute)
		if got := s.letters(); len(got) != 0 {
			t.Errorf("dead letters %v before an hour", got)
		}
		time.Sleep(20 * time.Minute)
		if got := fmt.Sprint(s.letters()); got != "[unknown_call]" {
			t.Errorf("dead letters %v, want [unknown_call]", got)
		}
		s.close()
	})
}

func TestExpiredCallsDoNotRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, billing, func(context.Context, charge) error { t.Error("ran"); return nil }, HandlerConfig{})
		s.send(Expires(time.Now().Add(time.Minute)))
		time.Sleep(2 * time.Minute)
		s.run(WorkerConfig{})
		time.Sleep(time.Minute)
		s.close()
		if st := s.worker.Stats(); st.Expired != 1 {
			t.Errorf("stats %+v, want 1 expired", st)
		}
	})
}

func TestFIFOKeepsOrderThroughFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{FIFO: true})
		j := newJournal()
		fails := map[string]int{"a-3": 2, "b-1": 1}
		Handle(s.mux, billing, func(_ context.Context, c charge) error {
			time.Sleep(10 * time.Millisecond)
			j.mu.Lock()
			fail := fails[c.Order] > 0
			fails[c.Order]--
			j.mu.Unlock()
			if fail {
				return errPlain
			}
			j.add(c.Order)
			return nil
		}, HandlerConfig{Backoff: fixed(5 * time.Second)})
		for i := range 8 {
			for _, g := range []string{"a", "b", "c"} {
				must(billing.Defer(t.Context(), s.client, charge{Order: fmt.Sprintf("%s-%d", g, i)}, Group(g)))
			}
		}
		s.run(WorkerConfig{})
		time.Sleep(5 * time.Minute)
		s.close()
		for _, g := range []string{"a", "b", "c"} {
			var order []string
			for _, what := range j.what {
				if strings.HasPrefix(what, g) {
					order = append(order, what)
				}
			}
			if len(order) != 8 || !slices.IsSorted(order) {
				t.Errorf("group %s ran as %v", g, order)
			}
		}
	})
}

// Workers come and go as in a deployment, and stop in the middle of a group: what the drain gives back is not overtaken.
func TestFIFOKeepsOrderThroughDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{FIFO: true})
		j := newJournal()
		stopped := 0
		Handle(s.mux, billing, func(ctx context.Context, c charge) error {
			if !sleep(ctx, 20*time.Second) {
				stopped++
				return ctx.Err()
			}
			j.add(c.Order)
			return nil
		}, HandlerConfig{Backoff: fixed(time.Second)})
		for i := range 8 {
			must(billing.Defer(t.Context(), s.client, charge{Order: fmt.Sprint(i)}, Group("g")))
		}
		for range 20 { // processes
			s.run(WorkerConfig{Drain: time.Second})
			time.Sleep(30 * time.Second)
			s.close()
		}
		if got := fmt.Sprint(slices.Compact(j.all())); got != "[0 1 2 3 4 5 6 7]" || stopped == 0 {
			t.Errorf("ran %v, %d of them stopped in between, want each in its order and some stopped", j.all(), stopped)
		}
	})
}

func TestFIFODeadGroupPolicies(t *testing.T) {
	tests := []struct {
		policy GroupPolicy
		ran    string
		dead   string
	}{
		{GroupSkip, "[1 2]", "[permanent]"},
		{GroupHalt, "[]", "[]"},
		{GroupFollow, "[]", "[permanent group group]"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.policy), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{FIFO: true})
				j := newJournal()
				Handle(s.mux, billing, func(_ context.Context, c charge) error {
					if c.Order == "0" {
						return permanent
					}
					j.add(c.Order)
					return nil
				}, HandlerConfig{DeadGroup: tt.policy})
				for i := range 3 {
					must(billing.Defer(t.Context(), s.client, charge{Order: fmt.Sprint(i)}, Group("g")))
				}
				s.run(WorkerConfig{})
				time.Sleep(10 * time.Minute)
				dead := s.allLetters()
				s.close()
				if fmt.Sprint(j.what) != tt.ran && !(len(j.what) == 0 && tt.ran == "[]") || fmt.Sprint(dead) != tt.dead {
					t.Errorf("ran %v, dead %v, want %v and %v", j.what, dead, tt.ran, tt.dead)
				}
			})
		})
	}
}

// allLetters reads a FIFO dead-letter queue to its end.
func (s *station) allLetters() (reasons []string) {
	for {
		got := must(s.memory.DeadLetters().Receive(s.ctx, ReceiveRequest{Max: 10, Lease: time.Second}))
		if len(got) == 0 {
			return reasons
		}
		for _, m := range got {
			reasons = append(reasons, m.Attributes[AttributeReason])
		}
		s.memory.DeadLetters().Delete(s.ctx, got)
	}
}

func TestWorkerSurvivesReceiveErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		f := &failing{Transport: s.memory}
		f.set(&f.receive, func(context.Context) error { return errPlain })
		var runs atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		s.runOn(f, WorkerConfig{})
		s.send()
		time.Sleep(time.Hour)
		f.set(&f.receive, nil)
		time.Sleep(time.Minute)
		s.close()
		if runs.Load() != 1 {
			t.Errorf("%d runs after an hour of errors, want 1", runs.Load())
		}
	})
}

func TestDrainWaitsForAnOpenPollAndGivesItsMessagesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, billing, func(context.Context, charge) error { t.Error("ran"); return nil }, HandlerConfig{})
		s.run(WorkerConfig{})
		time.Sleep(time.Second) // a poll is open
		s.stop()
		synctest.Wait()
		s.send() // during the grace the open poll receives it
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		r := must(s.worker.Drain(t.Context()))
		if d := must(s.memory.Stats(t.Context())); d.Visible != 1 || r.Released != 1 || r.PollsAborted {
			t.Errorf("after the drain %+v, report %+v: want the message visible", d, r)
		}
	})
}

// A message that is given back must not come to the polls that are still open, one after the other: each would count as a receive.
func TestDrainGivesBackWhenItsPollsHaveEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		Handle(s.mux, billing, func(context.Context, charge) error { time.Sleep(10 * time.Millisecond); return nil }, HandlerConfig{})
		for range 400 {
			s.send()
		}
		s.run(WorkerConfig{Workers: 40})
		time.Sleep(time.Second) // all are done, and several polls are open
		s.stop()
		synctest.Wait()
		s.send()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		got := must(s.memory.Receive(t.Context(), ReceiveRequest{Max: 10, Lease: time.Minute}))
		receives := 0
		for _, m := range got {
			receives += m.Receives
		}
		if len(got) != 1 || receives != 2 { // by the open poll, and here
			t.Errorf("%d messages, received %d times, want one, twice", len(got), receives)
		}
	})
}

// A poll that ended by itself was not aborted, however long the handlers took.
func TestDrainTellsWhetherItAbortedPolls(t *testing.T) {
	for poll, aborted := range map[time.Duration]bool{time.Second: false, 10 * time.Second: true} {
		bubble(t, func(t *testing.T) {
			s := newStation(t, MemoryConfig{})
			Handle(s.mux, billing, func(context.Context, charge) error { time.Sleep(5 * time.Second); return nil }, HandlerConfig{})
			s.run(WorkerConfig{Poll: poll})
			s.send()
			time.Sleep(100 * time.Millisecond) // it runs, and the next poll is open
			s.stop()
			if err := <-s.done; err != nil {
				t.Error(err)
			}
			if r := must(s.worker.Drain(t.Context())); r.PollsAborted != aborted || r.Finished != 1 {
				t.Errorf("polls of %v: report %+v, want PollsAborted %t", poll, r, aborted)
			}
		})
	}
}

// What is added while the one before is at its end is waited for.
func TestWaiterWaitsForWhatIsAddedAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var w waiter
		w.add(1)
		w.mu.Lock() // stops the end of the first between its count and its message
		ended := make(chan struct{})
		go func() { w.add(-1); close(ended) }()
		for w.n.Load() > 0 {
			runtime.Gosched()
		}
		w.add(1)
		waiting := make(chan struct{})
		w.idle = append(w.idle, waiting) // as wait does
		w.mu.Unlock()
		<-ended
		select {
		case <-waiting:
			t.Error("nothing is waited for, while one is under way")
		default:
		}
		w.add(-1)
		<-waiting
	})
}

func TestDeadLetterQueueAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		f := &failing{Transport: s.memory}
		f.set(&f.dead, func(context.Context) error { return errPlain })
		Handle(s.mux, billing, func(context.Context, charge) error { return permanent }, HandlerConfig{})
		s.runOn(f, WorkerConfig{})
		s.send()
		time.Sleep(10 * time.Minute)
		f.set(&f.dead, nil)
		time.Sleep(10 * time.Minute)
		if got := fmt.Sprint(s.letters()); got != "[permanent]" {
			t.Errorf("dead letters %v after the dead-letter queue came back", got)
		}
		s.close()
	})
}

// A drain ends within what holdfast.Run gives a stage, also when handlers and a transport ignore their contexts, and deletes hang.
func TestDrainEndsWithinItsStage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		end := make(chan struct{})
		var calls atomic.Int64
		Handle(s.mux, billing, func(ctx context.Context, _ charge) error {
			if calls.Add(1) == 1 {
				<-end
			}
			<-ctx.Done() // with a result, to be deleted
			return nil
		}, HandlerConfig{})
		f := &failing{Transport: s.memory}
		f.set(&f.remove, hang)
		s.send()
		s.send()
		s.runOn(&deafPolls{Transport: f, end: end}, WorkerConfig{Workers: 3})
		time.Sleep(time.Second)
		start := time.Now()
		s.stop()
		if err := <-s.done; err == nil || !strings.Contains(err.Error(), "left behind") {
			t.Errorf("Run = %v, want what it left", err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("the drain took %v", took)
		}
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls ran, want 2", n)
		}
		close(end)
		time.Sleep(time.Minute)
	})
}

// deafPolls is a transport whose second poll ignores its context.
type deafPolls struct {
	Transport
	polls atomic.Int64
	end   chan struct{}
}

func (d *deafPolls) Receive(ctx context.Context, q ReceiveRequest) ([]*Message, error) {
	if d.polls.Add(1) == 1 {
		return d.Transport.Receive(ctx, q)
	}
	<-d.end
	return nil, ctx.Err()
}
