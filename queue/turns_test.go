package queue

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// A fickle is a dependency whose Ready changes.
type fickle struct{ state atomic.Int32 }

const (
	fickleFull int32 = iota
	ficklePaused
	fickleProbe
)

func (f *fickle) ready() (time.Duration, bool) {
	switch f.state.Load() {
	case ficklePaused:
		return 30 * time.Second, false
	case fickleProbe:
		return time.Second, true
	}
	return 0, true
}

// inTwo makes a station's transport one of two Regions, a of which is first.
func inTwo(first Transport) (second *Memory, both *Regional) {
	second = must(NewMemory(MemoryConfig{}))
	return second, must(NewRegional(func() ([]string, string) { return []string{"a"}, "a" }, map[string]Transport{"a": first, "b": second}, RegionalConfig{}))
}

// A Region whose poller was told to wait must not keep its turn meanwhile.
func TestPausedRegionGivesUpItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		dependency := &fickle{}
		dependency.state.Store(fickleProbe)
		f := &failing{Transport: s.memory}
		_, both := inTwo(f)
		j := newJournal()
		Handle(s.mux, billing, func(context.Context, charge) error { j.add("run"); return nil }, HandlerConfig{})
		s.runOn(both, WorkerConfig{Ready: dependency.ready})
		time.Sleep(10 * time.Second)
		f.set(&f.receive, func(context.Context) error { // this poll of a fails while all are told to wait, so that only b is
			f.set(&f.receive, nil)
			time.Sleep(time.Second)
			dependency.state.Store(ficklePaused)
			return errPlain
		})
		for dependency.state.Load() != ficklePaused {
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
		dependency.state.Store(fickleProbe)
		j.began = time.Now()
		s.send()
		time.Sleep(2 * time.Minute)
		s.close()
		if at := j.times(); len(at) != 1 || at[0] > 5*time.Second {
			t.Errorf("ran after %v, want once, within 5s", at)
		}
	})
}

// What polls bring that were open when one call at a time began to be tried is put off.
func TestProbeIsOneCallWhateverPollsBring(t *testing.T) {
	for name, FIFO := range map[string]bool{"standard": false, "FIFO": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{FIFO: FIFO})
				dependency := &fickle{}
				var c crowd
				Handle(s.mux, billing, c.run, HandlerConfig{})
				s.run(WorkerConfig{Ready: dependency.ready})
				time.Sleep(time.Second) // a poll for ten is open
				dependency.state.Store(fickleProbe)
				out := make([]Outgoing, 10)
				for i := range out {
					e := Envelope{ID: newID(time.Now()), Name: "billing.charge.v1", Time: time.Now(), Data: []byte(`{}`), Version: envelopeVersion}
					if FIFO {
						e.Group = e.ID
					}
					out[i] = Outgoing{CallID: e.ID, Body: string(e.Append(nil)), Group: e.Group}
				}
				for _, r := range s.memory.Send(s.ctx, out) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				time.Sleep(5 * time.Minute)
				s.stop()
				<-s.done
				if c.most.Load() != 1 || c.runs.Load() != 10 {
					t.Errorf("%d runs, %d at a time while probing, want 10, and 1", c.runs.Load(), c.most.Load())
				}
			})
		})
	}
}

// While a call is tried the worker asks again whether more may run.
func TestLongProbeDoesNotHoldTheWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		dependency := &fickle{}
		dependency.state.Store(fickleProbe)
		j := newJournal()
		var first atomic.Bool
		Handle(s.mux, billing, func(context.Context, charge) error {
			if !first.Swap(true) {
				time.Sleep(10 * time.Minute)
			}
			j.add("run")
			return nil
		}, HandlerConfig{})
		s.run(WorkerConfig{Ready: dependency.ready})
		for range 4 {
			s.send()
		}
		time.Sleep(time.Minute)
		dependency.state.Store(fickleFull)
		time.Sleep(15 * time.Minute)
		s.close()
		if at := j.times(); len(at) != 4 || at[2] > 2*time.Minute {
			t.Errorf("ran after %v, want three of four within 2m", at)
		}
	})
}

// What waited for a worker is not run when nothing may run any more.
func TestWaitingCallsHeedReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		dependency := &fickle{}
		b, both := inTwo(s.memory)
		other := must(NewClient(b, ClientConfig{Ledger: s.ledger}))
		var runs, early atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error {
			if dependency.state.Load() != fickleFull {
				early.Add(1)
			}
			time.Sleep(5 * time.Second)
			runs.Add(1)
			return nil
		}, HandlerConfig{})
		s.runOn(both, WorkerConfig{Workers: 1, Ready: dependency.ready})
		time.Sleep(time.Second)
		s.send()
		time.Sleep(time.Second)
		must(billing.Defer(s.ctx, other, charge{}))
		time.Sleep(time.Second)
		dependency.state.Store(ficklePaused)
		time.Sleep(10 * time.Minute)
		if early.Load() != 0 || runs.Load() != 1 {
			t.Errorf("%d calls began while nothing was ready, %d ran, want 0 and 1", early.Load(), runs.Load())
		}
		dependency.state.Store(fickleFull)
		time.Sleep(2 * time.Minute)
		s.close()
		if runs.Load() != 2 {
			t.Errorf("%d runs, want 2", runs.Load())
		}
	})
}
