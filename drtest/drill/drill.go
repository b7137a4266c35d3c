package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/report"
	"github.com/holdfast-go/holdfast/internal/audit"
)

// A Result is what a drill came to.
type Result struct {
	Evidence
	Report *report.Report
	Digest string // SHA-256 of the manifest: keep it where the bundle is not
}

// ErrLeft is wrapped by the error of a drill that could not undo everything. The lease file has what is left.
var ErrLeft = errors.New("drill: faults could not be undone")

// lookEvery is how often stop conditions are asked.
const lookEvery = 100 * time.Millisecond

// Run plays the scenario in the World and returns when it is over and undone, or was interrupted and undone. It blocks
// until then. The World stays open: its loads go on until they end by their own rule or the World is closed.
//
// While it runs, SIGINT and SIGTERM interrupt the drill instead of ending the process; the caller decides what comes
// then. One drill may run in a World at a time.
//
// An error means that there was no drill (an impossible Config, [ErrNotAllowed], [ErrRunning], a [*StaleError]), that
// faults are left ([ErrLeft]), or that the evidence could not be written. A result comes with the last two. A drill
// that failed or was interrupted is no error: see [Evidence].Outcome.
func Run(ctx context.Context, w *drtest.World, c Config) (*Result, error) {
	if err := c.validate(w); err != nil {
		return nil, err
	}
	l, recovered, err := acquire(ctx, c.Lease, c.Actions)
	if err != nil {
		return nil, err
	}
	d := &drill{config: c, w: w, lease: l, logger: c.Logger, scenario: hashOf(c.Scenario)}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	if err := d.open(recovered); err != nil {
		_, ended := l.end()
		return nil, errors.Join(err, ended)
	}
	return d.run(ctx)
}

// A drill is one that runs.
type drill struct {
	config   Config
	w        *drtest.World
	lease    *lease
	logger   *slog.Logger
	log      *audit.Log
	file     *os.File
	evidence Evidence
	scenario string // its hash

	mu    sync.Mutex // guards wrong
	wrong []string   // what went wrong with the lease, actions or the log
}

// open makes the bundle's folder and takes the lease.
func (d *drill) open(recovered []string) (err error) {
	c := d.config
	if err := os.MkdirAll(c.Evidence, 0o755); err != nil {
		return fmt.Errorf("drill: Config.Evidence: %w", err)
	}
	d.file, err = os.OpenFile(filepath.Join(c.Evidence, fileAudit), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("drill: Config.Evidence: %w", err)
	}
	d.log = audit.NewLog(synced{d.file}, audit.Head{})
	commit, versions := c.version()
	d.evidence = Evidence{
		Version: evidenceVersion, Name: c.Name, Operators: list(c.Operators), Approvals: list(c.Approvals), Started: time.Now().UTC(), Scenario: d.scenario,
		Allowed: list(c.Allow), Attached: d.w.Attached(), Commit: commit, Versions: versions, Recovered: list(recovered), Failures: []string{}, Left: []string{},
		RTO: Measured{Objective: c.RTO.Seconds()}, RPO: Measured{Objective: c.RPO.Seconds()},
	}
	host, _ := os.Hostname()
	err = d.lease.begin(record{Version: leaseVersion, Drill: c.Name, Scenario: d.scenario, Host: host, PID: os.Getpid(), Started: d.evidence.Started, Active: []active{}})
	if err != nil {
		return errors.Join(err, d.file.Close())
	}
	for _, r := range recovered {
		d.note("drill.recover", r, "a drill was killed")
	}
	return nil
}

// list is a list that is [] in JSON when it is empty.
func list(s []string) []string { return append([]string{}, s...) }

// run plays the scenario and writes the evidence, also when it panics.
func (d *drill) run(ctx context.Context) (result *Result, err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	remove := d.w.OnFault(d.onFault)
	interrupted := "panic"
	defer func() {
		p := recover()
		if p != nil {
			interrupted = fmt.Sprintf("panic: %v", p)
		}
		if interrupted != "" {
			d.note("drill.interrupt", d.config.Name, interrupted)
			d.w.Heal("the drill was interrupted: " + interrupted)
		} else if d.lease.busy() { // a fault that was injected by hand meanwhile
			d.w.Heal("the drill is over")
		}
		remove()
		result, err = d.finish(interrupted)
		if p != nil {
			panic(p)
		}
	}()
	d.note("drill.start", d.config.Name, "scenario sha256 "+d.scenario)
	interrupted = d.play(ctx, signals)
	return nil, nil // finish says
}

// play plays the scenario to its end, or returns why it ended before.
func (d *drill) play(ctx context.Context, signals <-chan os.Signal) (interrupted string) {
	longest := time.NewTimer(d.config.Longest)
	defer longest.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	if err := d.w.Schedule(d.config.Scenario); err != nil {
		return err.Error()
	}
	over := make(chan struct{})
	go func() { // ends with the loads of the World
		d.w.Wait()
		close(over)
	}()
	for {
		select {
		case <-over:
			return ""
		case s := <-signals:
			return "signal: " + s.String()
		case <-ctx.Done():
			return "the caller: " + context.Cause(ctx).Error()
		case <-d.w.Done():
			return "the World ended"
		case <-longest.C:
			return fmt.Sprintf("it took longer than %v", d.config.Longest)
		case <-look.C:
			if why := d.stops(); why != "" {
				return why
			}
		}
	}
}

// stops returns the first stop condition that is reached.
func (d *drill) stops() string {
	for _, s := range d.config.Stop {
		if reason, stop := reached(s, d.w); stop {
			return fmt.Sprintf("stop condition %q: %s", s.Name, reason)
		}
	}
	return ""
}

func reached(c Condition, w *drtest.World) (reason string, stop bool) {
	defer func() {
		if p := recover(); p != nil {
			reason, stop = fmt.Sprintf("it panicked: %v", p), true
		}
	}()
	return c.Reached(w)
}

// onFault writes the lease before a fault acts, does its actions, and returns what undoes both.
func (d *drill) onFault(f fault.Fault) (undo func(), err error) {
	if err := d.config.permit(d.w, f); err != nil { // injected by hand, beside the scenario
		return nil, err
	}
	var actions []Action
	var names []string
	for _, a := range d.config.Actions {
		if a.Target == f.Target() {
			actions, names = append(actions, a), append(names, a.Name)
		}
	}
	id, err := d.lease.add(f, names)
	if err != nil {
		return nil, err
	}
	d.note("drill.fault.begin", f.String(), strings.Join(names, ", "))
	undo = func() { d.undo(id, f, actions) }
	for _, a := range actions {
		if err := guarded(context.Background(), a.Do, f); err != nil {
			undo()
			return nil, fmt.Errorf("action %q: %w", a.Name, err)
		}
	}
	return undo, nil
}

// undo takes back the actions of a fault, the last one first. One that fails stays in the lease.
func (d *drill) undo(id int, f fault.Fault, actions []Action) {
	failed := false
	for i := len(actions) - 1; i >= 0; i-- {
		if err := guarded(context.Background(), actions[i].Undo, f); err != nil {
			failed = true
			d.fail(fmt.Sprintf("undo of action %q on %s: %v", actions[i].Name, f, err))
		}
	}
	if failed {
		d.note("drill.fault.left", f.String(), "its undo failed")
		return
	}
	if err := d.lease.remove(id); err != nil {
		d.fail(err.Error())
	}
	d.note("drill.fault.end", f.String(), "")
}

// fail notes what went wrong besides checks.
func (d *drill) fail(what string) {
	d.logger.Error("drill went wrong", slog.String("drill", d.config.Name), slog.String("what", what))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wrong = append(d.wrong, what)
}

// note writes a line of the audit log.
func (d *drill) note(action, subject, why string) {
	d.logger.Info("drill", slog.String("drill", d.config.Name), slog.String("action", action), slog.String("subject", subject), slog.String("why", why))
	who := strings.Join(d.config.Operators, ", ")
	if err := d.log.Append(audit.Record{At: time.Now(), Action: action, Subject: subject, Who: who, Second: strings.Join(d.config.Approvals, ", "), Why: why}); err != nil {
		d.fail(err.Error())
	}
}

// finish judges the drill, writes the bundle and gives the lease back.
func (d *drill) finish(interrupted string) (*Result, error) {
	r := d.judge(interrupted)
	left, err := d.lease.end()
	d.evidence.Left = list(left)
	d.note("drill.end", d.config.Name, fmt.Sprintf("%s: %s", d.evidence.Outcome, d.evidence.Reason))
	err = errors.Join(err, d.file.Close())
	digest, written := writeBundle(d.config.Evidence, d.config.Scenario, d.evidence, r)
	if written != nil {
		err = errors.Join(err, fmt.Errorf("drill: evidence: %w", written))
	}
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %s; see lease %s", ErrLeft, strings.Join(left, "; "), d.config.Lease))
	}
	return &Result{Evidence: d.evidence, Report: r, Digest: digest}, err
}

// judge fills in what the drill came to.
func (d *drill) judge(interrupted string) *report.Report {
	var checks []check.Check
	if d.config.RTO > 0 {
		checks = append(checks, check.RTO(d.config.RTO))
	}
	if d.config.RPO > 0 {
		checks = append(checks, check.RPO(d.config.RPO))
	}
	own := len(checks)
	for _, c := range d.config.Checks {
		checks = append(checks, careful{c})
	}
	r := d.w.ReportWith(checks...)
	r.Name = d.config.Name
	e := &d.evidence
	e.Ended = time.Now().UTC()
	for i := range own {
		m := &e.RTO
		if i == own-1 && d.config.RPO > 0 {
			m = &e.RPO
		}
		v := r.Verdicts[len(r.Verdicts)-len(checks)+i]
		m.Got, m.Status = v.Seconds, string(v.Status)
	}
	for _, f := range d.w.Failures() {
		e.Failures = append(e.Failures, f.Error())
	}
	d.mu.Lock()
	e.Failures = append(e.Failures, d.wrong...)
	d.mu.Unlock()
	e.Outcome, e.Reason = outcome(interrupted, e.Failures, r.Verdicts)
	return r
}

// A careful check judges nothing when it panics: the drill still needs its evidence, and its lease given back.
type careful struct{ check.Check }

func (c careful) Evaluate(h *history.History) (v check.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			v = check.Verdict{Check: c.Name(), Status: check.StatusInconclusive, Got: fmt.Sprintf("it panicked: %v", p), Want: "a verdict"}
		}
	}()
	return c.Check.Evaluate(h)
}

// outcome sums a drill up.
func outcome(interrupted string, failures []string, verdicts []check.Verdict) (Outcome, string) {
	if interrupted != "" {
		return OutcomeInterrupted, interrupted
	}
	for _, v := range verdicts {
		if v.Status == check.StatusFailed {
			return OutcomeFailed, fmt.Sprintf("%s: %s, want %s", v.Check, v.Got, v.Want)
		}
	}
	if len(failures) > 0 {
		return OutcomeInconclusive, failures[0]
	}
	for _, v := range verdicts {
		if !v.Passed() {
			return OutcomeInconclusive, fmt.Sprintf("%s: %s", v.Check, v.Got)
		}
	}
	if len(verdicts) == 0 {
		return OutcomeInconclusive, "no objective and no check"
	}
	return OutcomePassed, "every check passed"
}

// synced makes every line of the audit log durable.
type synced struct{ f *os.File }

func (s synced) Write(b []byte) (int, error) {
	n, err := s.f.Write(b)
	return n, errors.Join(err, s.f.Sync())
}
