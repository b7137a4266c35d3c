package drtest

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/report"
)

// A plan is what decides how a World of Explore goes, beside the code.
type plan struct {
	seed     uint64
	fixed    bool // scenario and heal are given; else they are drawn from the seed
	scenario Scenario
	heal     time.Duration // end of the safety phase, since the scenario started
	clients  int           // most clients of a load; 0 = as the load says
	core     []string      // what is healed then, all that belongs to it; nil = everything
}

// A trial is a World of Explore that has ended.
type trial struct {
	plan       plan // as it was played
	violations []Violation
	skipped    string
	history    *history.History // nil for a World that was given up
	report     *report.Report
	log        string        // what f logged
	took       time.Duration // in real time
	clients    int           // of the largest load
	began      time.Duration // when the storm was drawn
}

// A Violation is one thing that went wrong in a World of [Explore].
type Violation struct {
	Check string // its name; "test" for what the function reported, "world" for panics, leaks and standstills, "ties"
	Text  string
}

// try runs one World without failing the test. The trace, if any, gets every record of the history.
func (e *explorer) try(p plan, trace func(line []byte)) *trial {
	config := e.config.World
	config.Seed = p.seed
	prepareProcess()
	start := time.Now()
	r := newRun(e.t, config)
	rec := &seedT{}
	s := &storm{e: e, plan: p}
	r.play(func(t *testing.T, w *World) {
		rec.TB = t
		r.inner, w.helper, w.storm = rec, rec.Helper, s
		if trace != nil {
			w.history.Trace(trace)
		}
		rec.contain(func() { e.f(rec, w) })
		if rec.over() {
			return
		}
		rec.contain(func() { w.playStorm() })
		w.Wait()
		w.linger()
	})
	x := &trial{skipped: rec.why(), log: rec.text(), plan: s.played(), took: time.Since(start)}
	if w := r.current(); w != nil && x.skipped == "" {
		x.history, x.report = w.history, w.conclude()
		x.violations = verdicts(x.report, config.TieFree)
		x.clients, x.began = w.clients(), w.healed()-x.plan.heal
	}
	for _, text := range rec.findings() {
		x.violations = append(x.violations, Violation{"test", text})
	}
	for _, text := range r.failed() {
		x.violations = append(x.violations, Violation{"world", text})
	}
	return x
}

// verdicts returns what the checks found.
func verdicts(r *report.Report, tieFree bool) []Violation {
	var out []Violation
	for _, v := range r.Verdicts {
		if v.Status == check.StatusFailed {
			out = append(out, Violation{v.Check, v.String()})
		}
	}
	if r.Ties > 0 && tieFree {
		out = append(out, Violation{"ties", tied(r)})
	}
	return out
}

// violates reports whether a trial went wrong in one of the ways of another.
func (x *trial) violates(as *trial) bool {
	for _, v := range x.violations {
		for _, was := range as.violations {
			if v.Check == was.Check {
				return true
			}
		}
	}
	return false
}

// repeats reports whether a trial went wrong in one of the ways of another, where failures of the function and of the World
// are of one way if their texts begin alike.
func (x *trial) repeats(as *trial) bool {
	for _, v := range x.violations {
		for _, was := range as.violations {
			if v.Check == was.Check && v.gist() == was.gist() {
				return true
			}
		}
	}
	return false
}

// gist returns what tells one sort of violation from another: of what is no check, the text up to its first figure or
// quotation.
func (v Violation) gist() string {
	if v.Check != "test" && v.Check != "world" {
		return ""
	}
	head, _, _ := strings.Cut(v.Text, "\n")
	if i := strings.IndexAny(head, "0123456789\"'`"); i >= 0 {
		return head[:i]
	}
	return head
}

// A seedT is the t of a seed: what fails it is a finding and not a failure of the test.
type seedT struct {
	testing.TB // of the bubble, for all that does not fail

	mu       sync.Mutex // guards all below
	failures []string
	skipped  string
	stopped  bool // FailNow or SkipNow was called
	lines    strings.Builder
}

// maxLog is how much of what a function logs is kept.
const maxLog = 16 << 10

func (r *seedT) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines.Len() < maxLog {
		r.lines.WriteString(strings.TrimSuffix(text, "\n") + "\n")
	}
}

func (r *seedT) failed(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, strings.TrimSuffix(text, "\n"))
}

func (r *seedT) findings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.failures)
}

func (r *seedT) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	runtime.Goexit()
}

// over reports whether the function gave up.
func (r *seedT) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

func (r *seedT) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}

// contain runs f to its end on a goroutine that it may leave by FailNow, and takes its panic for a failure.
func (r *seedT) contain(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.failed(fmt.Sprintf("panic: %v, at %s", p, panicPlace()))
				r.mu.Lock()
				r.stopped = true
				r.mu.Unlock()
			}
		}()
		f()
	}()
	<-done
}

func (r *seedT) Log(args ...any)                   { r.note(fmt.Sprintln(args...)) }
func (r *seedT) Logf(format string, args ...any)   { r.note(fmt.Sprintf(format, args...)) }
func (r *seedT) Output() io.Writer                 { return seedLog{r} }
func (r *seedT) Error(args ...any)                 { r.failed(fmt.Sprintln(args...)) }
func (r *seedT) Errorf(format string, args ...any) { r.failed(fmt.Sprintf(format, args...)) }
func (r *seedT) Fail()                             { r.failed("failed without a message") }

func (r *seedT) FailNow() {
	if !r.Failed() {
		r.Fail()
	}
	r.stop()
}

func (r *seedT) Fatal(args ...any) {
	r.Error(args...)
	r.stop()
}

func (r *seedT) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.stop()
}

func (r *seedT) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *seedT) skip(text string) {
	r.mu.Lock()
	r.skipped = cmpZero(strings.TrimSpace(text), "skipped")
	r.mu.Unlock()
	r.stop()
}

func (r *seedT) Skip(args ...any)                 { r.skip(fmt.Sprintln(args...)) }
func (r *seedT) Skipf(format string, args ...any) { r.skip(fmt.Sprintf(format, args...)) }
func (r *seedT) SkipNow()                         { r.skip("") }

// why returns the reason of a skip, or "".
func (r *seedT) why() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.skipped
}

func (r *seedT) Skipped() bool { return r.why() != "" }

// Cleanup registers a function that may fail as the function of the World may.
func (r *seedT) Cleanup(f func()) { r.TB.Cleanup(func() { r.contain(f) }) }

type seedLog struct{ r *seedT }

func (o seedLog) Write(b []byte) (int, error) {
	o.r.note(string(b))
	return len(b), nil
}
