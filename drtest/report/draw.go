package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-go/holdfast/drtest/check"
)

// A drawing makes the lanes of one window. Every picture is 1000 units wide and stretched to the width of the page;
// so it holds shapes only, and text stands beside it.
type drawing struct {
	w     Window
	ticks []tick
}

const width = 1000

// x returns where an instant is.
func (d drawing) x(s float64) float64 {
	return width * min(max((s-d.w.From)/(d.w.To-d.w.From), 0), 1)
}

// A canvas collects the shapes of one picture.
type canvas struct {
	strings.Builder
	height int
}

func num(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func (c *canvas) rect(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(c, `<rect class="%s" x="%s" y="%s" width="%s" height="%s">`, class, num(x), num(y), num(w), num(h))
	if title != "" {
		fmt.Fprintf(c, `<title>%s</title>`, template.HTMLEscapeString(title))
	}
	c.WriteString(`</rect>`)
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(c, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, num(x1), num(y1), num(x2), num(y2))
}

// row finishes a picture.
func (c *canvas) row(label string, notes ...string) row {
	return row{Label: label, Notes: notes, Height: c.height, SVG: template.HTML(c.String())} //nolint:gosec // every text in it is escaped above
}

// canvas begins a picture with the lines of the axis.
func (d drawing) canvas(height int) *canvas {
	c := &canvas{height: height}
	for _, t := range d.ticks {
		c.line("grid", 10*t.X, 0, 10*t.X, float64(height))
	}
	return c
}

// leastWidth is how wide the shortest span is drawn.
const leastWidth = 4

func (d drawing) bar(c *canvas, class string, y, h float64, s Span) {
	from, to := d.x(s.From), d.x(s.To)
	from = min(from, width-leastWidth)
	c.rect(class, from, y, max(to-from, leastWidth), h, note(s))
}

const barHeight = 14

// spans draws one row a name.
func (d drawing) spans(id, title, desc, class string, all []Span) lane {
	l := lane{ID: id, Title: title, Desc: desc, Head: []string{"Who", "What", "From", "To"}}
	shown := within(all, d.w)
	for _, name := range names(shown) {
		c := d.canvas(barHeight)
		var notes []string
		for i, s := range shown {
			if s.Name != name {
				continue
			}
			d.bar(c, class+" "+parity(i), 0, barHeight, s)
			notes = append(notes, note(s))
		}
		l.Rows = append(l.Rows, c.row(name, few(notes)...))
	}
	for _, s := range shown {
		l.Table = append(l.Table, []string{s.Name, s.Text, short(s.From), short(s.To)})
	}
	return l
}

// parity tells neighbours apart.
func parity(i int) string {
	if i%2 == 1 {
		return "odd"
	}
	return "even"
}

// mostNotes is how many spans of a row are put in words beside it; the table has all.
const mostNotes = 3

func few(notes []string) []string {
	if len(notes) <= mostNotes {
		return notes
	}
	return append(notes[:mostNotes:mostNotes], fmt.Sprintf("and %d more", len(notes)-mostNotes))
}

func (d drawing) faults(l Lanes) lane {
	out := d.spans("faults", "Faults", "What was broken, and how long.", "fault", l.Faults)
	for i := range out.Rows {
		out.Rows[i].Label = "" // the notes say it
	}
	out.Head[0] = "Target"
	return out
}

// regions draws what each Region answered, and when it was down.
func (d drawing) regions(l Lanes) lane {
	out := lane{
		ID: "regions", Title: "Regions", Desc: "Operations that each Region answered, and when it was down.",
		Legend: []legend{{"region", "answered"}, {"down", "down"}}, Head: []string{"Region", "From", "To", "Answered"},
	}
	var top float64
	for _, name := range l.Regions {
		for _, n := range d.w.Regions[name] {
			top = max(top, n)
		}
	}
	const height = 28
	for _, name := range l.Regions {
		c := d.canvas(height)
		var notes []string
		for _, s := range within(l.Down, d.w) {
			if s.Name == name {
				d.bar(c, "down", 0, height, s)
				notes = append(notes, note(s))
			}
		}
		if counts := d.w.Regions[name]; counts != nil {
			d.columns(c, height, top, []string{"region"}, counts)
		}
		out.Rows = append(out.Rows, c.row(name, few(notes)...))
		out.Table = append(out.Table, d.table([]string{name}, d.w.Regions[name])...)
	}
	return out
}

// columns draws a stacked column for each bucket.
func (d drawing) columns(c *canvas, height int, top float64, classes []string, counts ...[]float64) {
	if top == 0 {
		return
	}
	n := len(counts[0])
	wide := width / float64(n)
	for i := range n {
		y := float64(height)
		for k, list := range counts {
			if list[i] == 0 {
				continue
			}
			h := max(float64(height)*list[i]/top, 1)
			y -= h
			c.rect(classes[k], float64(i)*wide, y, wide, h, "")
		}
	}
}

// table returns a line for each bucket in which one of the lists is not 0.
func (d drawing) table(before []string, lists ...[]float64) [][]string {
	var out [][]string
	for i := range lists[0] {
		line := slices.Clone(before)
		at := d.w.From + float64(i)*d.w.Bucket
		line = append(line, short(at), short(at+d.w.Bucket))
		some := false
		for _, list := range lists {
			line = append(line, strconv.FormatFloat(list[i], 'f', -1, 64))
			some = some || list[i] != 0
		}
		if some {
			out = append(out, line)
		}
	}
	return out
}

func (d drawing) requests() lane {
	l := lane{
		ID: "requests", Title: "Requests by outcome", Desc: fmt.Sprintf("Operations that were due, in steps of %s, by how they ended for their caller.", short(d.w.Bucket)),
		Legend: []legend{{"unknown", "unknown"}, {"failed", "failed"}, {"degraded", "degraded"}, {"ok", "ok"}},
		Head:   []string{"From", "To", "ok", "degraded", "failed", "unknown"},
	}
	var top float64
	for i := range d.w.OK {
		top = max(top, d.w.OK[i]+d.w.Degraded[i]+d.w.Failed[i]+d.w.Unknown[i])
	}
	if top == 0 {
		return l
	}
	const height = 80
	c := d.canvas(height)
	d.columns(c, height, top, []string{"ok", "degraded", "failed", "unknown"}, d.w.OK, d.w.Degraded, d.w.Failed, d.w.Unknown)
	l.Rows = []row{c.row("", fmt.Sprintf("highest column: %s a second", strconv.FormatFloat(top/d.w.Bucket, 'f', -1, 64)))}
	l.Table = d.table(nil, d.w.OK, d.w.Degraded, d.w.Failed, d.w.Unknown)
	return l
}

func (d drawing) latency() lane {
	l := lane{
		ID: "latency", Title: "Latency", Desc: "From when an operation was due to its end, whatever the outcome; the scale is logarithmic.",
		Legend: []legend{{"p99", "99 %"}, {"p50", "median"}}, Head: []string{"From", "To", "median ms", "99 % ms"},
	}
	top := slices.Max(d.w.P99)
	if top == 0 {
		return l
	}
	const height = 60
	c := d.canvas(height)
	for _, list := range []struct {
		class string
		ms    []float64
	}{{"p99", d.w.P99}, {"p50", d.w.P50}} {
		d.steps(c, list.class, height, list.ms, func(ms float64) float64 { return logScale(ms) / logScale(top) }, 0)
	}
	l.Rows = []row{c.row("", fmt.Sprintf("highest: %s", short(top/1e3)))}
	l.Table = d.table(nil, d.w.P50, d.w.P99)
	return l
}

// steps draws a line that is level within each bucket; it is interrupted where the number is none.
func (d drawing) steps(c *canvas, class string, height int, list []float64, scale func(float64) float64, none float64) {
	wide := width / float64(len(list))
	var path strings.Builder
	pen := "M"
	for i, v := range list {
		if v == none {
			pen = "M"
			continue
		}
		y := float64(height) - 1 - scale(v)*float64(height-2)
		fmt.Fprintf(&path, "%s%s %sH%s", pen, num(float64(i)*wide), num(y), num(float64(i+1)*wide))
		pen = "L"
	}
	if path.Len() > 0 {
		fmt.Fprintf(c, `<path class="%s" d="%s"/>`, class, path.String())
	}
}

func (d drawing) backlog() lane {
	l := lane{ID: "backlog", Title: "Backlog and other gauges", Desc: "The highest reading in each step; each row has a scale of its own.", Head: []string{"Gauge", "From", "To", "Reading"}}
	for _, name := range slices.Sorted(maps.Keys(d.w.Gauges)) {
		list := d.w.Gauges[name]
		top := slices.Max(list)
		const height = 40
		c := d.canvas(height)
		d.steps(c, "gauge", height, list, func(v float64) float64 { return max(v, 0) / max(top, 1e-9) }, -1)
		l.Rows = append(l.Rows, c.row(name, "highest: "+strconv.FormatFloat(max(top, 0), 'f', -1, 64)))
		l.Table = append(l.Table, d.table([]string{name}, list)...)
	}
	return l
}

// brackets draws the measured RTO and RPO where they were.
func (d drawing) brackets(verdicts []check.Verdict) lane {
	l := lane{ID: "brackets", Title: "RTO and RPO", Desc: "Where on the timeline the measured times lie.", Head: []string{"Check", "From", "To", "Measured"}}
	for _, v := range verdicts {
		if v.From == 0 && v.To == 0 {
			continue
		}
		to, until := v.To, short(v.To)
		if to == 0 {
			to, until = d.w.To, "not reached"
		}
		if len(within([]Span{{From: v.From, To: to}}, d.w)) == 0 {
			continue
		}
		const height = 16
		c := d.canvas(height)
		a, b := d.x(v.From), d.x(to)
		a = min(a, width-leastWidth)
		b = max(b, a+leastWidth)
		at := a
		for i, p := range v.Phases {
			next := d.x(v.From + p.Seconds + sum(v.Phases[:i]))
			c.rect("phase "+parity(i), at, 4, max(next-at, 0), height-8, p.Name+" "+short(p.Seconds))
			at = next
		}
		c.line("bracket", a, 0, a, height)
		c.line("bracket", b, 0, b, height)
		c.line("bracket", a, height/2, b, height/2)
		l.Rows = append(l.Rows, c.row(fmt.Sprintf("%s: %s", v.Check, v.Got), fmt.Sprintf("%s, %s to %s", v.Status, short(v.From), until)))
		l.Table = append(l.Table, []string{v.Check, short(v.From), until, v.Got})
	}
	return l
}

func sum(phases []check.Phase) (s float64) {
	for _, p := range phases {
		s += p.Seconds
	}
	return s
}

// logScale makes room for small numbers beside large ones.
func logScale(ms float64) float64 {
	const least = 0.1
	n := 0.0
	for ms = cmp.Or(ms, least); ms > least; ms /= 10 {
		n += min((ms-least)/(9*least), 1)
	}
	return max(n, 0.02)
}
