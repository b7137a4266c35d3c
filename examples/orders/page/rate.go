package page

import (
	"math"
	"time"
)

// kept is how many points of each Region's curves are kept: two minutes at the default pace.
const kept = 120

// A point is a Region's figures at one instant, in the order of the constants below. Negative means unknown.
type point [figures]float64

// The figures of a point. The first five are requests a second.
const (
	figureOK = iota
	figureDegraded
	figureRefused
	figureFailed
	figureUnknown
	figureQueue // messages
	figureSpool // messages
	figureLag   // milliseconds
	figures
)

// A meter makes rates of a Region's counters.
type meter struct {
	last Traffic
	at   time.Time // zero before the first reading
}

// point returns r's figures at an instant. Counters that fell are those of a process that began anew.
func (m *meter) point(r Region, at time.Time) point {
	seconds := at.Sub(m.at).Seconds()
	rate := func(now, before uint64) float64 {
		switch {
		case m.at.IsZero() || seconds <= 0:
			return 0
		case now < before:
			before = 0
		}
		return round(float64(now-before) / seconds)
	}
	now, before := r.Traffic, m.last
	p := point{
		rate(now.OK, before.OK), rate(now.Degraded, before.Degraded), rate(now.Refused, before.Refused),
		rate(now.Failed, before.Failed), rate(now.Unknown, before.Unknown), -1, float64(r.Spool.Messages), -1,
	}
	if r.Queue != nil {
		p[figureQueue] = float64(r.Queue.Total())
	}
	if lag := r.Lag; !lag.MeasuredAt.IsZero() && !lag.ReplicatedThrough.IsZero() {
		p[figureLag] = float64(max(0, lag.MeasuredAt.Sub(lag.ReplicatedThrough)).Milliseconds())
	}
	m.last, m.at = now, at
	return p
}

// round keeps one decimal: more is noise, and bytes.
func round(f float64) float64 { return math.Round(f*10) / 10 }

// A series is a Region's newest points, the newest last.
type series []point

func (s series) add(p point) series {
	if len(s) >= kept {
		s = append(s[:0:0], s[len(s)-kept+1:]...) // a copy: snapshots hold the old one
	}
	return append(s[:len(s):len(s)], p)
}
