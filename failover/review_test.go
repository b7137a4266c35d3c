package failover

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A coordinator that another program writes to, or whose record was edited by hand, must not crash or mislead a fleet.
func TestRecordThatMakesNoSenseStopsWrites(t *testing.T) {
	for what, spoil := range map[string]func(*Record){
		"a cut without a transition":  func(r *Record) { r.Phase, r.Writer = PhaseFenced, "" },
		"a request without its terms": func(r *Record) { r.Phase = PhaseAwaitApproval },
		"a writer while cut":          func(r *Record) { r.Phase, r.Transition = PhasePromoting, &Transition{From: east, To: west} },
		"no writer in peace":          func(r *Record) { r.Writer = "" },
		"no decision":                 func(r *Record) { r.DecisionID = "" },
		"no epoch":                    func(r *Record) { r.Epoch = 0 },
	} {
		inFleet(t, func(t *testing.T, f *fleet) {
			f.standard()
			good, err := f.coord.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			bad := good.clone()
			bad.Sequence++
			spoil(&bad)
			if err := f.coord.CompareAndSwap(t.Context(), good.Sequence, bad); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if w := f.writers(); len(w) != 0 {
				t.Errorf("%s: writers %v, want none", what, w)
			}
			d := f.nodes[1].ctl.Decision()
			if !strings.Contains(d.Conflict, "makes no sense") || d.Epoch != 1 || len(d.Regions) != 2 {
				t.Errorf("%s: decision %+v, want the last good one in conflict", what, d)
			}
			if _, err := f.nodes[1].ctl.Failover(t.Context(), west, Request{Reason: "x", By: "ann", Second: "bob"}); guardOf(err) != GuardConflict {
				t.Errorf("%s: Failover = %v, want a refusal by the conflict guard", what, err)
			}
			good.Sequence = bad.Sequence + 1
			if err := f.coord.CompareAndSwap(t.Context(), bad.Sequence, good); err != nil {
				t.Fatal(err)
			}
			f.until(15*time.Second, "writes resume", func() bool { return f.writers()[east] == 1 })
		})
	}
}

// A state file that could not be written is written as soon as it can be, not with the next decision months later.
func TestStateFileIsTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	inFleet(t, func(t *testing.T, f *fleet) {
		cfg := f.config(east, "e0")
		cfg.StateFile = filepath.Join(dir, "state")
		n := f.add(cfg)
		f.until(time.Minute, "a decision", func() bool { return n.ctl.Decision().Epoch == 1 })
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if _, err := os.Stat(cfg.StateFile); err != nil {
			t.Errorf("no state file 20 s after its directory was made: %v", err)
		}
	})
}

// failingSink refuses the first lines.
type failingSink struct {
	mu    sync.Mutex // guards the following
	fails int
	lines strings.Builder
}

func (s *failingSink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return 0, errors.New("disk full")
	}
	return s.lines.Write(p)
}

func (s *failingSink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.String()
}

func TestAuditSinkIsTriedAgain(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		sink := &failingSink{fails: 2}
		cfg := f.config(east, "e0")
		cfg.Audit = sink
		n := f.add(cfg)
		f.until(time.Minute, "a decision", func() bool { return n.ctl.Decision().Epoch == 1 })
		time.Sleep(20 * time.Second)
		if log := sink.String(); !strings.Contains(log, "first boot") || VerifyAudit(strings.NewReader(log)) != nil {
			t.Errorf("audit copy %q, want the first entry", log)
		}
	})
}

// What a request points to stays its caller's.
func TestRequestIsCopied(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		accepted := &AcceptLoss{Exposure: time.Hour, Reason: "customers wait", By: "ann"}
		tr, err := f.nodes[1].ctl.Failover(t.Context(), west, Request{Reason: "drill", By: "ann", AcceptLoss: accepted})
		if err != nil {
			t.Fatal(err)
		}
		accepted.Exposure, accepted.By = UnknownExposure, "mallory"
		time.Sleep(10 * time.Second)
		if got := f.nodes[3].ctl.Decision().Transition; got.ID != tr.ID || got.AcceptLoss.By != "ann" || got.AcceptLoss.Exposure != time.Hour {
			t.Errorf("accepted loss %+v after the caller changed its own, want what was asked", got.AcceptLoss)
		}
	})
}

// A write that was rejected runs again at the newer epoch; what the Region answers then is the caller's answer.
func TestAnswerAfterARejectionIsTheAnswer(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		cfg := f.config(east, "e0")
		cfg.Regions, cfg.Witnesses, cfg.Automatic, cfg.Fence = []Region{east}, nil, false, FenceToken
		n := f.add(cfg)
		f.until(time.Minute, "may write", func() bool { _, ok := n.ctl.Ready(); return ok })
		errRejected, errAnswer := &FencedError{Reason: "stale token"}, errors.New("no such order")
		var epochs []uint64
		value, err := Write(t.Context(), n.client, func(ctx context.Context, _ *backend, fence Fence) (string, error) {
			if epochs = append(epochs, fence.Epoch); len(epochs) > 1 {
				return "partial", errAnswer
			}
			_, err := n.ctl.BreakGlass(ctx, NewMemoryCoordinator(east), Request{Reason: "moved", By: "ann", Second: "bob"})
			if err != nil {
				t.Error(err)
			}
			return "", errRejected
		})
		if value != "partial" || err != errAnswer || len(epochs) != 2 || epochs[0] == epochs[1] {
			t.Errorf("Write = %q, %v at epochs %x, want the second run's own answer", value, err, epochs)
		}
	})
}

// Everything that Run started has ended when it returns, in whatever state the fleet was.
func TestRunLeavesNothing(t *testing.T) {
	for _, state := range []string{"steady", "moving", "cut off"} {
		inFleet(t, func(t *testing.T, f *fleet) { // a goroutine that is left fails the bubble
			gate := &gatedCoordinator{Coordinator: f.coord}
			f.coord = gate
			f.tune = func(c *ControllerConfig) {
				c.Promote = func(ctx context.Context, _ Transition) error { <-ctx.Done(); return ctx.Err() }
				c.OnDecision = func(Decision) {}
			}
			f.standard()
			switch state {
			case "moving":
				if _, err := f.nodes[0].ctl.Failover(t.Context(), west, Request{Reason: "drill", By: "ann", Second: "bob"}); err != nil {
					t.Fatal(err)
				}
				f.until(2*time.Minute, "it promotes", func() bool { return f.nodes[1].ctl.Decision().Phase == PhasePromoting })
				time.Sleep(time.Second)
			case "cut off":
				gate.set(true)
				time.Sleep(time.Minute)
			}
			stopped := time.Now()
			f.close()
			if took := time.Since(stopped); took > 10*time.Second {
				t.Errorf("%s: Run returned %v after its context ended", state, took)
			}
		})
	}
}
