package failover

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/striped"
)

// counts are one source's results in one Region since the start. Calls add, the controller's loop reads.
type counts struct {
	good, bad striped.Counter
}

// add counts one result.
func (c *counts) add(h effect) {
	switch h {
	case effectGood:
		c.good.Add(1)
	case effectBad:
		c.bad.Add(1)
	}
}

// A window holds the results of the last longRateWindow seconds, one slot a second. The controller's loop owns it.
type window struct {
	slots             [longRateWindow]slot
	next              int
	lastGood, lastBad int64
}

type slot struct{ good, bad int64 }

// tick closes a second: what c counted since the last tick is its slot.
func (w *window) tick(c *counts) {
	good, bad := c.good.Load(), c.bad.Load()
	w.slots[w.next] = slot{good - w.lastGood, bad - w.lastBad}
	w.lastGood, w.lastBad = good, bad
	w.next = (w.next + 1) % len(w.slots)
}

// rate is the lower bound of the failure rate over the last seconds; ok is false below minCalls calls.
func (w *window) rate(seconds int) (bound float64, ok bool) {
	var sum slot
	for i := 1; i <= seconds; i++ {
		s := w.slots[(w.next-i+len(w.slots))%len(w.slots)]
		sum.good += s.good
		sum.bad += s.bad
	}
	if sum.good+sum.bad < minCalls {
		return 0, false
	}
	return wilson(sum.bad, sum.good+sum.bad), true
}

// wilson is the lower end of the 95 % score interval of bad in n (E. B. Wilson, 1927): few calls make a wide
// interval, so that three failures in ten do not look like thirty in a hundred.
func wilson(bad, n int64) float64 {
	const z = 1.96
	p, m := float64(bad)/float64(n), float64(n)
	centre := p + z*z/(2*m)
	spread := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, (centre-spread)/(1+z*z/m))
}

// probes are the newest results of one source's probe of one Region.
type probes struct {
	mu    sync.Mutex // guards the following
	count int
	last  [3]bool // good; last[count%3] is the oldest
	run   int     // > 0: good in a row, < 0: failed in a row
}

func (p *probes) add(good bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[p.count%len(p.last)] = good
	p.count++
	switch {
	case good:
		p.run = max(1, p.run+1)
	default:
		p.run = min(-1, p.run-1)
	}
}

// state returns how many came back, whether one of the last three failed, and the run.
func (p *probes) state() (count int, failed bool, run int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range min(p.count, len(p.last)) {
		failed = failed || !p.last[i]
	}
	return p.count, failed, p.run
}

// A source is one client's evidence about all Regions, or that of everything given to [Controller.Observe].
type source struct {
	name     string
	advisory bool // moves only its own reads
	regions  map[Region]*sourceRegion
}

type sourceRegion struct {
	counts   counts
	window   window // owned by the controller's loop
	probes   probes
	measured bool // the Member has a Lag; set before the source is registered
	lag      lagState
	avoid    atomic.Bool            // of an advisory source: its own reads go elsewhere
	notReady atomic.Pointer[string] // why the Region could not take over; nil if it could
}

func (r *sourceRegion) setReady(err error) {
	if err == nil {
		r.notReady.Store(nil)
		return
	}
	text := err.Error()
	r.notReady.Store(&text)
}

func newSource(name string, advisory bool, regions []Region) *source {
	s := &source{name: name, advisory: advisory, regions: make(map[Region]*sourceRegion, len(regions))}
	for _, r := range regions {
		s.regions[r] = &sourceRegion{}
	}
	return s
}

// A tally counts sources that have one kind of evidence, and those for which it is bad.
type tally struct{ have, bad int }

func (t *tally) add(bad bool) {
	t.have++
	if bad {
		t.bad++
	}
}

// agree: two sources, or the only one there is, or one that the other kind of evidence supports.
func (t tally) agree(supported bool) bool {
	return t.bad >= 2 || t.bad == 1 && (t.have == 1 || supported)
}

// gather joins what the sources say about region. It runs once a second on the controller's loop.
func gather(sources []*source, region Region) signals {
	var probeFailed, probesDown, rateSuspect, rateDown, rateLong tally
	s := signals{probesGood: math.MaxInt}
	for _, src := range sources {
		r := src.regions[region]
		if count, failed, run := r.probes.state(); count > 0 {
			s.probed = true
			probeFailed.add(failed)
			probesDown.add(run <= -probesToFail)
			s.probesGood = min(s.probesGood, max(0, run))
		}
		if bound, ok := r.window.rate(rateWindow); ok {
			rateSuspect.add(bound > suspectRate)
			rateDown.add(bound > unhealthyRate)
		}
		if bound, ok := r.window.rate(longRateWindow); ok {
			rateLong.add(bound > suspectRate)
		}
	}
	if !s.probed {
		s.probesGood = 0
	}
	s.anyProbe, s.anyRate = probeFailed.bad > 0, rateSuspect.bad > 0
	s.probeFailed, s.probesDown = probeFailed.agree(s.anyRate), probesDown.agree(s.anyRate)
	s.rateSuspect, s.rateDown = rateSuspect.agree(s.anyProbe), rateDown.agree(s.anyProbe)
	s.rateLong = rateLong.agree(s.anyProbe)
	return s
}

// A LagSample says how far a Region's copy has come.
type LagSample struct {
	ReplicatedThrough time.Time // the newest commit instant present there, of the writer's clock: a heartbeat row
	MeasuredAt        time.Time // when it was read

	// Epoch is the newest write epoch that the copy has learned, zero if it cannot tell. A sample of a lower epoch than the writer's is
	// not used: it may be of a former writer that nobody has rebuilt, whose clock runs but whose data do not follow. One of a lower epoch than
	// that at which the writer took over is, and the writer does not move there.
	Epoch uint64
}

// of reports whether the sample can be of a copy of the writer that opened at epoch.
func (s LagSample) of(epoch uint64) bool { return s.Epoch == 0 || s.Epoch >= epoch }

// lagState keeps the newest sample.
type lagState struct {
	mu     sync.Mutex // guards sample
	sample LagSample
}

func (l *lagState) set(s LagSample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Epoch > l.sample.Epoch || s.ReplicatedThrough.After(l.sample.ReplicatedThrough) {
		l.sample = s
	}
}

func (l *lagState) get() (s LagSample, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sample, !l.sample.ReplicatedThrough.IsZero()
}
