package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
)

//go:embed report.gohtml
var pageSource string

var page = template.Must(template.New("report").Funcs(template.FuncMap{"span": short, "clock": clock}).Parse(pageSource))

// WriteHTML writes the report as one page that needs nothing else: no script, no font, no picture. It shows numbers of
// the JSON form alone, so a report read back with [Parse] gives the same page. It is readable from 360 pixels on, light
// and dark, and says in tables what the drawings show.
func (r *Report) WriteHTML(out io.Writer) error {
	v := view{Report: r, Charts: []chart{}}
	for i, w := range r.Windows {
		v.Charts = append(v.Charts, r.chart(w, i))
	}
	for _, verdict := range r.Verdicts {
		v.Cards = append(v.Cards, cardOf(verdict))
	}
	if err := page.Execute(out, v); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// HTML returns what WriteHTML writes.
func (r *Report) HTML() string {
	var b strings.Builder
	if err := r.WriteHTML(&b); err != nil {
		panic(err) // the template fits its data, and a strings.Builder takes everything
	}
	return b.String()
}

// A view is what the template shows.
type view struct {
	*Report
	Cards  []card
	Charts []chart
}

// Outcome is the sum of the verdicts in a word.
func (v view) Outcome() check.Status {
	out := check.StatusPassed
	for _, one := range v.Verdicts {
		switch {
		case one.Status == check.StatusFailed:
			return check.StatusFailed
		case one.Status == check.StatusInconclusive:
			out = check.StatusInconclusive
		}
	}
	if len(v.Verdicts) == 0 {
		return check.StatusInconclusive
	}
	return out
}

// Order says how far the order of events can be trusted to come again.
func (v view) Order() string { return strings.TrimPrefix(v.tieNote(), ", ") }

// Clock says which time passed.
func (v view) Clock() string { return v.clock() }

// Length is how long the run was.
func (v view) LengthText() string { return short(v.Report.Length) }

// A card is one verdict.
type card struct {
	check.Verdict
	Phases []phase
}

type phase struct {
	check.Phase
	Share float64 // of the whole, in percent
}

func cardOf(v check.Verdict) card {
	c := card{Verdict: v}
	for _, p := range v.Phases {
		c.Phases = append(c.Phases, phase{p, 100 * p.Seconds / max(v.Seconds, 1e-9)})
	}
	return c
}

// A chart is one window with its lanes.
type chart struct {
	Window
	ID    string
	Ticks []tick
	Lanes []lane
}

type tick struct {
	X    float64 // in percent
	Text string
}

// A lane is one drawing, in rows, and the same as a table.
type lane struct {
	ID, Title, Desc string
	Legend          []legend
	Rows            []row
	Head            []string
	Table           [][]string
}

type legend struct{ Class, Text string }

type row struct {
	Label  string
	Notes  []string // what stands in the row, in words
	Height int
	SVG    template.HTML
}

// ticks is how many times the axis names at most: five fit a phone.
const ticks = 5

func (r *Report) chart(w Window, number int) chart {
	c := chart{Window: w, ID: fmt.Sprintf("w%d", number)}
	length := duration(w.To - w.From)
	step := stepFor(length, ticks-1)
	for at := time.Duration(0); at <= length; at += step {
		c.Ticks = append(c.Ticks, tick{100 * at.Seconds() / length.Seconds(), short(w.From + at.Seconds())})
	}
	d := drawing{w: w, ticks: c.Ticks}
	for _, l := range []lane{
		d.faults(r.Lanes), d.regions(r.Lanes), d.spans("breakers", "Breakers", "When circuit breakers were not closed.", "open", r.Lanes.Breakers),
		d.spans("epochs", "Epochs", "Who said that it may write, under which epoch.", "epoch", r.Lanes.Epochs),
		d.requests(), d.latency(), d.backlog(), d.brackets(r.Verdicts),
	} {
		if len(l.Rows) > 0 {
			l.ID = c.ID + "-" + l.ID
			c.Lanes = append(c.Lanes, l)
		}
	}
	return c
}

// short writes a number of seconds as people say it: "5m", "1h 5m", "45.98s".
func short(s float64) string {
	d := duration(s)
	switch {
	case d >= time.Hour:
		d = d.Round(time.Second)
	case d >= time.Minute:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Second:
		d = d.Round(time.Millisecond)
	default:
		d = d.Round(10 * time.Microsecond)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return spaced(text)
}

// spaced puts a space behind hours and minutes.
func spaced(text string) string {
	var b strings.Builder
	for i, r := range text {
		b.WriteRune(r)
		if rest := text[i+1:]; r == 'h' && rest != "" || r == 'm' && rest != "" && rest[0] != 's' {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// within returns the spans that a window shows.
func within(spans []Span, w Window) []Span {
	return slices.DeleteFunc(slices.Clone(spans), func(s Span) bool { return s.From >= w.To || s.To <= w.From && s.To > s.From || s.To < w.From })
}

// names returns the names of spans in the order in which they first appear.
func names(spans []Span) []string {
	var out []string
	for _, s := range spans {
		if !slices.Contains(out, s.Name) {
			out = append(out, s.Name)
		}
	}
	return out
}

// note says in words when a span was.
func note(s Span) string {
	if s.Open {
		return fmt.Sprintf("%s, from %s to the end", s.Text, short(s.From))
	}
	return fmt.Sprintf("%s, %s to %s", s.Text, short(s.From), short(s.To))
}
