package drill

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/report"
	"github.com/holdfast-go/holdfast/failover"
)

// A Result is what a drill came to.
type Result struct {
	Events     []Event               `json:"events"`
	Moves      []failover.Transition `json:"moves"` // with their phases and the exposure at the switch
	Operations []Operation           `json:"operations"`
	RTO        float64               `json:"rto_seconds"`
	RPO        float64               `json:"rpo_seconds"`
	Pause      float64               `json:"pause_seconds"` // of orders, in the planned move home
	PauseBound float64               `json:"pause_bound_seconds"`
	Failed     Failures              `json:"failed"`
	Account    Account               `json:"account"`
	Mishaps    map[string]int        `json:"mishaps,omitempty"` // of a soak, by name
	Broken     []string              `json:"broken"`            // bounds that do not hold; empty = passed

	Report *report.Report `json:"report"`
}

// Failures are the orders that had no success, by what was going on while their users tried.
type Failures struct {
	Outage int `json:"outage"` // no Region wrote after the loss
	Move   int `json:"move"`   // the planned move home
	Else   int `json:"else"`
}

// An Operation is one kind of request over the whole drill.
type Operation struct {
	Class        string        `json:"class"`
	Sent         int           `json:"sent"`
	OK           int           `json:"ok"`
	Degraded     int           `json:"degraded"` // of those OK: a copy, or a charge that comes later
	Failed       int           `json:"failed"`
	Unknown      int           `json:"unknown"`
	Availability float64       `json:"availability"`
	P50          time.Duration `json:"p50"`
	P99          time.Duration `json:"p99"`
}

// Passed reports whether every bound holds.
func (r *Result) Passed() bool { return len(r.Broken) == 0 }

// result judges what was played.
func (d *script) result(ctx context.Context) (*Result, error) {
	d.World.Wait()
	h := d.World.History().Snapshot(d.World.Elapsed())
	account, orders, err := d.account(ctx, h)
	if err != nil {
		return nil, err
	}
	if d.mishaps == nil { // one outage to judge
		d.World.Check(outage{check.RTO(d.cfg.RTO).For(classPlace).WithDegraded(), d.away},
			check.RPO(d.cfg.RPO).In(func(key string) bool { return orders[key[len(ackKey("")):]] }), pauseCheck{d.cfg.Pause, d.away})
	}
	d.World.Check(check.AppliedOnce("charge"), d.oneWriter(), verdict{account})
	r := &Result{Events: d.events, Moves: d.moves, Operations: operations(h), Account: account, Mishaps: d.mishaps, Failed: d.failures(h), Report: d.World.Report(), PauseBound: d.cfg.Pause.Seconds()}
	for _, v := range r.Report.Verdicts {
		r.take(v)
	}
	return r, nil
}

// failures tells the orders that had no success apart.
func (d *script) failures(h *history.History) (f Failures) {
	for _, op := range h.Ops() {
		switch {
		case op.Class != classPlace || op.Outcome == history.OutcomeOK:
		case op.Start < d.found && op.End > d.lostAt:
			f.Outage++
		case op.Start < d.home && op.End > d.away:
			f.Move++
		default:
			f.Else++
		}
	}
	return f
}

// oneWriter forbids two writers at a time, of everything but the heartbeat.
func (s *System) oneWriter() check.Check { return check.SingleWriter().Except(s.Heartbeat) }

// exposureOf is what the last move away said might be lost; of one that nobody saw complete it is not known.
func exposureOf(moves []failover.Transition, to failover.Region) failover.Exposure {
	for _, t := range slices.Backward(moves) {
		if t.To == to {
			return t.Exposure
		}
	}
	return failover.Exposure{}
}

// outage judges the outage alone, without the planned move that follows.
type outage struct {
	check.Check
	until time.Duration
}

func (o outage) Evaluate(h *history.History) check.Verdict {
	return o.Check.Evaluate(dueBefore(h, o.until))
}

// dueBefore is the record of the operations that were due before an instant, however long they took: of those that hang a record made at that
// instant would know nothing.
func dueBefore(h *history.History, at time.Duration) *history.History {
	cut := history.New()
	for _, f := range h.Faults() {
		if n := cut.FaultStarts(f); f.Ended {
			cut.FaultEnds(n, f.To)
		}
	}
	for _, m := range h.Marks() {
		cut.AddMark(m)
	}
	for _, op := range h.Ops() {
		if op.Start < at {
			cut.AddOp(op)
		}
	}
	cut.Finish(at)
	return cut
}

func (r *Result) take(v check.Verdict) {
	switch v.Check {
	case check.RTO(0).For(classPlace).WithDegraded().Name():
		r.RTO = v.Seconds
	case check.RPO(0).Name():
		r.RPO = v.Seconds
	case pauseCheck{}.Name():
		r.Pause = v.Seconds
	}
	if !v.Passed() {
		r.Broken = append(r.Broken, v.String())
	}
}

func operations(h *history.History) []Operation {
	byClass := map[string]*Operation{}
	latency := map[string][]time.Duration{}
	for _, op := range h.Ops() {
		o := byClass[op.Class]
		if o == nil {
			o = &Operation{Class: op.Class}
			byClass[op.Class] = o
		}
		o.Sent++
		switch op.Outcome {
		case history.OutcomeOK:
			o.OK++
			if op.Degraded {
				o.Degraded++
			}
			latency[op.Class] = append(latency[op.Class], op.End-op.Start)
		case history.OutcomeUnknown:
			o.Unknown++
		default:
			o.Failed++
		}
	}
	var all []Operation
	for class, o := range byClass {
		o.Availability = float64(o.OK) / float64(o.Sent)
		took := latency[class]
		slices.Sort(took)
		o.P50, o.P99 = quantile(took, .5), quantile(took, .99)
		all = append(all, *o)
	}
	slices.SortFunc(all, func(a, b Operation) int { return cmp.Compare(a.Class, b.Class) })
	return all
}

// quantile of a sorted list, 0 if it is empty.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// Print writes the result for people.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%-18s %8s %8s %9s %7s %8s %13s %8s %8s\n", "operation", "sent", "ok", "degraded", "failed", "unknown", "availability", "p50", "p99")
	for _, o := range r.Operations {
		fmt.Fprintf(w, "%-18s %8d %8d %9d %7d %8d %12.2f%% %8v %8v\n", o.Class, o.Sent, o.OK, o.Degraded, o.Failed, o.Unknown, 100*o.Availability,
			o.P50.Round(time.Millisecond), o.P99.Round(time.Millisecond))
	}
	if f := r.Failed; r.Mishaps == nil {
		fmt.Fprintf(w, "orders without success: %d while no Region wrote, %d in the planned move, %d else; users try for %v\n", f.Outage, f.Move, f.Else, patience)
	}
	for _, t := range r.Moves {
		fmt.Fprintf(w, "\nmove to %s, epoch %d, %s\n", t.To, t.Epoch+2, t.Reason)
		for _, p := range t.Took {
			fmt.Fprintf(w, "  %-10s %v\n", p.Phase, p.Took.Round(time.Millisecond))
		}
		fmt.Fprintf(w, "  exposure   %v\n", t.Exposure.Bound.Round(time.Millisecond))
	}
	a := r.Account
	if r.Mishaps == nil {
		fmt.Fprintf(w, "\nRTO %.1f s   RPO %.1f s, %d orders   planned move: orders paused for %.1f s, bound %.0f s\n\n", r.RTO, r.RPO, len(a.Lost), r.Pause, r.PauseBound)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Mishaps)) {
		fmt.Fprintf(w, "%4d times %s\n", r.Mishaps[name], name)
	}
	fmt.Fprintf(w, "ledger    %d orders acknowledged = %d in the database + %d in the loss list + %d missing\n", a.Acknowledged, a.Found, len(a.Lost), len(a.Missing))
	fmt.Fprintf(w, "charges   %d orders, %d twice\n", a.Charged, len(a.ChargedTwice))
	fmt.Fprintf(w, "mails     %d orders, %d twice\n", a.Mails, len(a.MailedTwice))
	fmt.Fprintf(w, "deferred  %d accepted, %d done, %d dead, %d dropped, %d expired, %d held, %d lost\n", a.Calls.Accepted, a.Calls.Done, a.Calls.Dead, a.Calls.Dropped, a.Calls.Expired, a.Calls.Held, len(a.Calls.Lost))
	if a.DeadLost > 0 {
		fmt.Fprintf(w, "  dead: %d, as they must: their orders were lost with the Region, there is nothing to charge, to settle or to tell\n", a.DeadLost)
	}
	fmt.Fprintf(w, "unknown   %d orders without an answer, %d writes of unknown outcome\n", len(a.Unknown), a.Writes)
	for _, l := range a.Lost {
		fmt.Fprintf(w, "  lost: order %s, acknowledged %v before the loss\n", l.ID, l.Age.Round(time.Millisecond))
	}
	for _, m := range a.MailedTwice {
		fmt.Fprintf(w, "  mailed %d times: order %s, %v\n", m.Times, m.Order, m.Why)
	}
	for i, u := range a.Unknown {
		if i == 10 {
			fmt.Fprintf(w, "  … and %d more: report.json\n", len(a.Unknown)-i)
			break
		}
		fmt.Fprintf(w, "  unknown: key %s, at %v, %s\n", u.Key, u.At.Round(time.Millisecond), u.Error)
	}
	if r.Passed() {
		fmt.Fprintln(w, "\nPASSED: every bound holds")
		return
	}
	for _, b := range r.Broken {
		fmt.Fprintf(w, "\nBROKEN: %s\n", b)
	}
}

// Save writes report.html and report.json into dir.
func (r *Result) Save(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), data, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.html"), []byte(r.Report.HTML()), 0o644)
}
