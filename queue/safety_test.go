package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestFIFOGroupWaitsForAnUnconfirmedDelete: the head is done, its delete fails, it will come again: nothing may overtake it.
func TestFIFOGroupWaitsForAnUnconfirmedDelete(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{FIFO: true})
		f := &failing{Transport: s.memory}
		j := newJournal()
		Handle(s.mux, billing, func(_ context.Context, c charge) error { j.add(c.Order); return nil }, HandlerConfig{})
		for i := range 3 {
			must(billing.Defer(t.Context(), s.client, charge{Order: fmt.Sprint(i)}, Group("g")))
		}
		f.set(&f.remove, func(context.Context) error { return errPlain })
		s.runOn(f, WorkerConfig{})
		time.Sleep(20 * time.Second)
		if got := j.all(); slices.Contains(got, "1") {
			t.Errorf("ran %v while the delete of 0 is not confirmed", got)
		}
		f.set(&f.remove, nil)
		time.Sleep(5 * time.Minute)
		s.close()
		if got := fmt.Sprint(slices.Compact(j.all())); got != "[0 1 2]" {
			t.Errorf("ran %v, want 0 as often as it takes, then 1 and 2", j.all())
		}
	})
}

// TestFIFOGroupGoesBackWithALostHead: the head's lease is lost while it runs, so that it comes again.
func TestFIFOGroupGoesBackWithALostHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{FIFO: true})
		f := &failing{Transport: s.memory}
		j := newJournal()
		var lost atomic.Bool
		Handle(s.mux, billing, func(ctx context.Context, c charge) error {
			j.add(c.Order)
			if c.Order == "0" && !lost.Swap(true) {
				<-ctx.Done()
				f.set(&f.extend, nil)
				return ctx.Err()
			}
			return nil
		}, HandlerConfig{})
		for i := range 3 {
			must(billing.Defer(t.Context(), s.client, charge{Order: fmt.Sprint(i)}, Group("g")))
		}
		f.set(&f.extend, func(context.Context) error { return errPlain })
		s.runOn(f, WorkerConfig{})
		time.Sleep(10 * time.Minute)
		s.close()
		if got := fmt.Sprint(slices.Compact(j.all())); got != "[0 1 2]" {
			t.Errorf("ran %v, want 0 twice, then 1 and 2", j.all())
		}
	})
}

// drainingPoll ends its first poll with messages at the instant of the drain.
type drainingPoll struct {
	Transport
	w *Worker
}

func (d *drainingPoll) Receive(ctx context.Context, r ReceiveRequest) ([]*Message, error) {
	got, err := d.Transport.Receive(ctx, r)
	if len(got) > 0 {
		d.w.beginDrain()
	}
	return got, err
}

func TestNothingStartsOnceTheDrainBegan(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			s := newStation(t, MemoryConfig{})
			var runs atomic.Int64
			Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
			for range 10 {
				s.send()
			}
			d := &drainingPoll{Transport: s.memory}
			d.w = must(NewWorker(d, s.mux, WorkerConfig{Ledger: s.ledger}))
			if err := d.w.Run(t.Context()); err != nil {
				t.Error(err)
			}
			depth := must(s.memory.Stats(t.Context()))
			if runs.Load() != 0 || depth.Visible != 10 {
				t.Errorf("%d runs, %+v, want all given back", runs.Load(), depth)
			}
		})
	}
}

// TestLateAnswersAreNotRun: the answer to a poll took longer than the lease.
func TestLateAnswersAreNotRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var runs, leases atomic.Int64
		Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
		s.send()
		l := &lateAnswer{Transport: s.memory, leases: &leases}
		s.runOn(l, WorkerConfig{Lease: 10 * time.Second})
		time.Sleep(time.Minute)
		s.close()
		if st := s.worker.Stats(); leases.Load() != 2 || runs.Load() != 1 || st.LeaseLost != 1 || st.Done != 1 {
			t.Errorf("%d leases, %d runs, %+v, want the late one lost and the second run", leases.Load(), runs.Load(), st)
		}
	})
}

type lateAnswer struct {
	Transport
	late   atomic.Bool
	leases *atomic.Int64
}

func (l *lateAnswer) Receive(ctx context.Context, r ReceiveRequest) ([]*Message, error) {
	got, err := l.Transport.Receive(ctx, r)
	l.leases.Add(int64(len(got)))
	if len(got) > 0 && !l.late.Swap(true) {
		time.Sleep(r.Lease + time.Second)
	}
	return got, err
}

func TestForwardsEndInParking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		var now atomic.Uint64
		now.Store(1)
		epoch := func() (uint64, time.Time) { return now.Load(), time.Time{} }
		s.client = must(NewClient(s.memory, ClientConfig{Epoch: epoch, Ledger: s.ledger}))
		var mu atomic.Int64 // gate calls
		Handle(s.mux, billing, func(context.Context, charge) error { return nil }, HandlerConfig{
			StaleFunc: func(_ context.Context, e Envelope, current uint64) StalePolicy { mu.Add(1); return StaleForward },
		})
		s.send()
		s.run(WorkerConfig{Epoch: func() (uint64, time.Time) { return now.Add(1), time.Time{} }}) // it moves before every look
		time.Sleep(10 * time.Second)
		if got := mu.Load(); got != 4 {
			t.Errorf("looked at %d times in 10 s, want three forwards and the look that parks", got)
		}
		time.Sleep(10 * time.Minute)
		if got := mu.Load(); got < 10 || got > 14 {
			t.Errorf("looked at %d times in 10 minutes more, want once in 60 to 72 s", got)
		}
		s.close()
		if st := s.worker.Stats(); st.Dead+st.Done != 0 {
			t.Errorf("%+v, want the call parked", st)
		}
	})
}

// TestRetentionIsOutlived: failures go on for three times the queue's retention, and the call is not forgotten by it.
func TestRetentionIsOutlived(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{Retention: time.Hour})
		var runs atomic.Int64
		var attempts []int
		Handle(s.mux, billing, func(context.Context, charge) error {
			if runs.Add(1) < 19 {
				return errPlain
			}
			return nil
		}, HandlerConfig{MaxAttempts: 20, Backoff: func(n int) time.Duration { attempts = append(attempts, n); return 10 * time.Minute }})
		s.send()
		s.run(WorkerConfig{})
		time.Sleep(4 * time.Hour)
		s.close()
		if st := s.worker.Stats(); runs.Load() != 19 || st.Done != 1 || st.Resent < 3 || st.Resent > 5 {
			t.Errorf("%d runs, %+v, want 19 and a copy sent whenever 80%% of the retention would pass", runs.Load(), st)
		}
		for i, n := range attempts {
			if n != i+1 {
				t.Errorf("attempts %v, want them counted through the copies", attempts)
				break
			}
		}
	})
}

// mover is a dead-letter queue whose service moves by itself.
type mover struct {
	Transport
	rate int
	to   Transport
	err  error
}

func (m *mover) Move(_ context.Context, to Transport, perSecond int) (string, error) {
	m.to, m.rate = to, perSecond
	return "task-1", m.err
}

func TestRedriveServerSide(t *testing.T) {
	m := must(NewMemory(MemoryConfig{}))
	var audit strings.Builder
	config := RedriveConfig{By: "ops", Reason: "all fixed", Audit: &audit, ServerSide: true, PerSecond: 200}
	from := &mover{Transport: m.DeadLetters()}
	r, err := Redrive(t.Context(), from, m, Filter{}, config)
	if err != nil || r.Task != "task-1" || from.to != Transport(m) || from.rate != 200 {
		t.Errorf("Redrive = %+v, %v, moved to %v at %d", r, err, from.to, from.rate)
	}
	if got := audit.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"task":"task-1"`) || !strings.Contains(got, `"by":"ops"`) {
		t.Errorf("audit %s", got)
	}
	from.err = errPlain
	audit.Reset()
	if _, err := Redrive(t.Context(), from, m, Filter{}, config); !errors.Is(err, errPlain) || !strings.Contains(audit.String(), "plain") {
		t.Errorf("Redrive = %v, audit %s, want the error in both", err, &audit)
	}
	if _, err := Redrive(t.Context(), m.DeadLetters(), m, Filter{}, config); err == nil {
		t.Error("Redrive of what cannot move by itself succeeds")
	}
	if _, err := Redrive(t.Context(), from, m, Filter{IDs: []string{"x"}}, config); err == nil {
		t.Error("ServerSide with a filter succeeds")
	}
}

// TestRedriveSeesWhatItsLeaseLetGo: sending takes longer than the letters' lease, so that skipped ones come again in between.
func TestRedriveSeesWhatItsLeaseLetGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStation(t, MemoryConfig{})
		dead := s.memory.DeadLetters()
		for i := range 40 {
			e := Envelope{ID: fmt.Sprint("c", i), Name: []string{"skip.v1", billing.Name()}[i%2], Time: time.Now(), Data: []byte("{}"), Death: &Death{Reason: ReasonAttempts}}
			dead.Send(t.Context(), []Outgoing{{CallID: e.ID, Body: string(e.Append(nil))}})
		}
		slowly := &slowSend{s.memory}
		var audit strings.Builder
		r, err := Redrive(t.Context(), dead, slowly, Filter{Calls: []string{billing.Name()}}, RedriveConfig{By: "ops", Reason: "x", Audit: &audit})
		if err != nil || r.Redriven != 20 || r.Skipped != 20 {
			t.Errorf("Redrive = %d redriven, %d skipped, %v, want 20 and 20", r.Redriven, r.Skipped, err)
		}
	})
}

type slowSend struct{ Transport }

func (s *slowSend) Send(ctx context.Context, m []Outgoing) []SendResult {
	time.Sleep(90 * time.Second)
	return s.Transport.Send(ctx, m)
}

// TestClockSteps: envelopes from clients and workers whose clocks were wrong.
func TestClockSteps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	tests := []struct {
		name string
		edit func(e *Envelope, now time.Time)
		once bool
		runs int64
		dead string
	}{
		{"client a year ahead", func(e *Envelope, now time.Time) { e.Time = now.Add(year) }, true, 1, "[]"},
		{"client a year behind, without Once", func(e *Envelope, now time.Time) { e.Time = now.Add(-year) }, false, 1, "[]"},
		{"client a year behind, with Once", func(e *Envelope, now time.Time) { e.Time = now.Add(-year) }, true, 0, "[too_old]"},
		{"client a second ahead of its delay", func(e *Envelope, now time.Time) { e.NotBefore = now.Add(time.Second) }, true, 1, "[]"},
		{"unknown call parked in the future", func(e *Envelope, now time.Time) { e.Name = "unknown.v1"; e.Parked = now.Add(year) }, false, 0, "[unknown_call]"},
		{"unknown call parked long ago", func(e *Envelope, now time.Time) { e.Name = "unknown.v1"; e.Parked = now.Add(-year) }, false, 0, "[unknown_call]"},
		{"expiry in the past", func(e *Envelope, now time.Time) { e.Expires = now.Add(-year) }, true, 0, "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				var runs atomic.Int64
				Handle(s.mux, billing, func(context.Context, charge) error { runs.Add(1); return nil }, HandlerConfig{})
				now := time.Now().UTC()
				e := Envelope{ID: "x", Name: billing.Name(), Time: now, Data: []byte("{}")}
				tt.edit(&e, now)
				s.ledger.Accept(e.ID)
				s.memory.Send(t.Context(), []Outgoing{{CallID: e.ID, Body: string(e.Append(nil))}})
				config := WorkerConfig{}
				if tt.once {
					config = onceWorker(newOnce())
				}
				s.run(config)
				time.Sleep(2 * time.Hour)
				if got := fmt.Sprint(s.letters()); got != tt.dead || runs.Load() != tt.runs {
					t.Errorf("%d runs, dead %s, want %d and %s", runs.Load(), got, tt.runs, tt.dead)
				}
				s.close()
			})
		})
	}
}

func TestOneProbeWhenTheQueueIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := must(NewMemory(MemoryConfig{}))
		f := &failing{Transport: m}
		f.set(&f.send, hang)
		c := must(NewClient(f, ClientConfig{Spool: newFakeSpool()}))
		for range failsToDown {
			must(billing.Defer(t.Context(), c, charge{}))
		}
		time.Sleep(2 * downMax) // the wait is over
		waited := make(chan bool, 50)
		for range 50 {
			go func() {
				began := time.Now()
				must(billing.Defer(t.Context(), c, charge{}))
				waited <- time.Since(began) > 0
			}()
		}
		n := 0
		for range 50 {
			if <-waited {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of 50 calls waited for a queue that is known to be down, want one probe", n)
		}
	})
}
