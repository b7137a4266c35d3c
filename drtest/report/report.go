package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// A Report is the summary of one run. All times in it are relative to the start of the run, in seconds.
type Report struct {
	Version   int               `json:"version"`
	Name      string            `json:"name"`
	Seed      uint64            `json:"seed"`
	StartAt   time.Time         `json:"start_at"`
	RealTime  bool              `json:"real_time,omitempty"`
	Fidelity  string            `json:"fidelity"`
	Length    float64           `json:"length_seconds"`
	Hash      string            `json:"hash"`
	Ties      int               `json:"ties"`
	FirstTie  string            `json:"first_tie,omitempty"`
	Scenarios []json.RawMessage `json:"scenarios"`
	Loads     []Load            `json:"loads"`
	Timeline  []Line            `json:"timeline"`
	Verdicts  []check.Verdict   `json:"verdicts"`
	Lanes     Lanes             `json:"lanes"`
	Windows   []Window          `json:"windows"` // the whole run, then the slowest recovery if that is short
}

// version is the version of the JSON form.
const version = 1

// A Load is what one load came to. The counts are by weight.
type Load struct {
	Name     string  `json:"name"`
	Class    string  `json:"class"`
	Sent     int     `json:"sent"`
	Weight   float64 `json:"operations"`
	OK       float64 `json:"ok"`
	Degraded float64 `json:"degraded"`
	Failed   float64 `json:"failed"`
	Unknown  float64 `json:"unknown"`
	Rule     string  `json:"rule"`
}

// A Line is a moment of the timeline.
type Line struct {
	At   float64 `json:"at_seconds"`
	What string  `json:"what"`
}

// Info is what a report needs beyond the history.
type Info struct {
	Name      string
	Seed      uint64
	StartAt   time.Time
	RealTime  bool
	Fidelity  string
	Scenarios []json.RawMessage
	Regions   []string          // all there are, in the order of the report
	Rules     map[string]string // load → how it was thinned
}

// New evaluates checks on a finished history and returns the report.
func New(info Info, h *history.History, checks []check.Check) *Report {
	r := &Report{
		Version: version, Name: info.Name, Seed: info.Seed, StartAt: info.StartAt.Round(0).UTC(), RealTime: info.RealTime, Fidelity: info.Fidelity, Length: h.End().Seconds(),
		Hash: h.Hash(), Scenarios: info.Scenarios, Loads: loads(h, info.Rules), Timeline: timeline(h), Verdicts: []check.Verdict{},
	}
	r.Ties, r.FirstTie = h.Ties()
	for _, c := range checks {
		r.Verdicts = append(r.Verdicts, c.Evaluate(h))
	}
	r.Lanes = lanes(h, info.Regions)
	r.Windows = windows(h, r.Verdicts)
	return r
}

// Parse reads a report's JSON form. It refuses one of a later version, and one whose windows nobody can draw.
func Parse(data []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if r.Version != version {
		return nil, fmt.Errorf("report: version %d is not known, want %d", r.Version, version)
	}
	for i := range r.Windows {
		if !r.Windows[i].drawable() {
			return nil, fmt.Errorf("report: windows[%d]: want a number in every list for each bucket, and a length above 0", i)
		}
	}
	return &r, nil
}

// Passed reports whether every check passed.
func (r *Report) Passed() bool {
	for _, v := range r.Verdicts {
		if !v.Passed() {
			return false
		}
	}
	return true
}

// loads sums operations by load and class, in the order in which they first ended.
func loads(h *history.History, rules map[string]string) []Load {
	type id struct{ load, class string }
	index := map[id]int{}
	out := []Load{}
	for _, op := range h.Ops() {
		k := id{op.Load, op.Class}
		i, ok := index[k]
		if !ok {
			i = len(out)
			index[k] = i
			out = append(out, Load{Name: op.Load, Class: op.Class, Rule: rules[op.Load]})
		}
		l := &out[i]
		l.Sent++
		l.Weight += op.Weight
		switch {
		case op.Outcome == history.OutcomeOK && op.Degraded:
			l.Degraded += op.Weight
		case op.Outcome == history.OutcomeOK:
			l.OK += op.Weight
		case op.Outcome == history.OutcomeFailed:
			l.Failed += op.Weight
		default:
			l.Unknown += op.Weight
		}
	}
	return out
}

// timeline merges faults and marks in order. Both lists are in order already.
func timeline(h *history.History) []Line {
	type event struct {
		at   time.Duration
		what string
	}
	var faults []event
	for _, f := range h.Faults() {
		faults = insert(faults, event{f.From, "fault: " + f.Text}, func(e event) time.Duration { return e.at })
		if f.Ended {
			faults = insert(faults, event{f.To, "healed: " + f.Text}, func(e event) time.Duration { return e.at })
		}
	}
	for _, m := range h.Marks() {
		faults = insert(faults, event{m.At, strings.TrimSpace(fmt.Sprintf("%s: %s %s", m.Kind, m.Name, m.Text))}, func(e event) time.Duration { return e.at })
	}
	out := []Line{}
	for _, e := range faults {
		out = append(out, Line{e.at.Seconds(), e.what})
	}
	return out
}

// insert puts an element behind all that are not later.
func insert[T any](list []T, x T, at func(T) time.Duration) []T {
	i := len(list)
	for i > 0 && at(list[i-1]) > at(x) {
		i--
	}
	return append(list[:i], append([]T{x}, list[i:]...)...)
}

// maxLines is how many lines of a timeline the text shows.
const maxLines = 60

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s: %v of %s time from %s, seed %d, %s\n", r.Name, span(r.Length), r.clock(), r.StartAt.Format(time.RFC3339), r.Seed, r.Fidelity)
	fmt.Fprintf(b, "event hash %s%s\n", r.Hash, r.tieNote())
	r.writeLoads(b)
	b.WriteString("timeline:\n")
	for i, l := range r.Timeline {
		if i == maxLines {
			fmt.Fprintf(b, "  and %d more lines\n", len(r.Timeline)-maxLines)
			break
		}
		fmt.Fprintf(b, "  %14v  %s\n", span(l.At), l.What)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintf(b, "%s\n", v)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *Report) writeLoads(b *strings.Builder) {
	if len(r.Loads) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "load\tclass\tsent\toperations\tok\tdegraded\tfailed\tunknown\t")
	rules := map[string]string{}
	for _, l := range r.Loads {
		fmt.Fprintf(t, "%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", l.Name, l.Class, l.Sent, l.Weight, l.OK, l.Degraded, l.Failed, l.Unknown)
		rules[l.Name] = l.Rule
	}
	_ = t.Flush() // a strings.Builder takes everything
	for _, l := range r.Loads {
		if rule := rules[l.Name]; rule != "" {
			fmt.Fprintf(b, "  %s: %s\n", l.Name, rule)
			delete(rules, l.Name)
		}
	}
}

func (r *Report) clock() string {
	if r.RealTime {
		return "real"
	}
	return "virtual"
}

func (r *Report) tieNote() string {
	if r.RealTime {
		return ", in real time: the order of events is its own in each run"
	}
	if r.Ties == 0 {
		return ", no ties: the seed fixes the order of events"
	}
	return fmt.Sprintf(", %d ties (%s): the order of events may differ between runs", r.Ties, r.FirstTie)
}

func span(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond)
}

// Text returns what WriteText writes.
func (r *Report) Text() string {
	var b strings.Builder
	_ = r.WriteText(&b) // a strings.Builder takes everything
	return b.String()
}

// JSON returns the report as indented JSON.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }
