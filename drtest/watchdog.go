package drtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A watchdog watches a bubble from outside, in real time.
type watchdog struct {
	r     *run
	barks chan string // receives one verdict at most
	quit  chan struct{}
	ended chan struct{}
}

func newWatchdog(r *run) *watchdog {
	d := &watchdog{r: r, barks: make(chan string, 1), quit: make(chan struct{}), ended: make(chan struct{})}
	go d.watch()
	return d
}

// stop ends the watchdog and waits for it.
func (d *watchdog) stop() {
	close(d.quit)
	<-d.ended
}

// spinFactor is how many times longer than a stall a World may compute without virtual time moving.
const spinFactor = 6

// maxLook is how often the watchdog looks at the most. It barks at the second look that shows the same.
const maxLook = 200 * time.Millisecond

// watch looks at the bubble once it has made no progress for the limit, and again until it is sure.
func (d *watchdog) watch() {
	defer close(d.ended)
	limit := d.r.config.Watchdog
	ticker := time.NewTicker(min(max(limit/8, 10*time.Millisecond), maxLook))
	defer ticker.Stop()
	beats, since := d.r.beats.Load(), time.Now()
	var suspects string
	var idler idler
	for {
		select {
		case <-d.quit:
			return
		case <-ticker.C:
		}
		if now := d.r.beats.Load(); now != beats {
			beats, since, suspects = now, time.Now(), ""
			if verdict := idler.look(d.r); verdict != "" {
				d.barks <- verdict
				return
			}
			continue
		}
		idle := time.Since(since)
		if idle < limit {
			continue
		}
		gs := inBubble(allGoroutines(), d.r.id.Load())
		found := stuck(gs)
		if found != "" && found == suspects {
			d.barks <- stalled(gs, idle)
			return
		}
		suspects = found
		if found == "" && idle > spinFactor*limit && len(gs) > 0 {
			d.barks <- spinning(gs, idle)
			return
		}
	}
}

// beyondPlan is how long, in virtual time, the function of a World may wait after all that was planned is over.
const beyondPlan = 10 * time.Minute

const idleFactor = 12

// An idler finds a function that waits for what never comes while loads, processes and tickers keep time moving. It
// may do so, in one place, until idleFactor watchdog limits have passed in real time: it may wait for work of its own.
type idler struct {
	place string
	since time.Time
	from  time.Duration // virtual
}

// look returns why the World is to be given up, or "".
func (i *idler) look(r *run) string {
	now := time.Duration(r.virtual.Load())
	w := r.current()
	if w == nil || now < w.planned()+beyondPlan || !i.since.IsZero() && time.Since(i.since) < r.config.Watchdog {
		return ""
	}
	gs := inBubble(allGoroutines(), r.id.Load())
	g, ok := function(gs)
	place := fmt.Sprint(g.state, g.frames)
	if !ok || g.state == "sleep" || g.state == "running" || g.state == "runnable" {
		*i = idler{} // a sleep ends
		return ""
	}
	if place != i.place {
		*i = idler{place, time.Now(), now}
		return ""
	}
	if idle := time.Since(i.since); idle > idleFactor*r.config.Watchdog {
		return fmt.Sprintf("drtest: the World has no plan beyond %v and its function has waited since, %v by now; it waits for:\n%s",
			w.planned(), idle.Round(time.Millisecond), describe([]goroutine{g}))
	}
	return ""
}

// function returns the goroutine that runs the function of the World.
func function(gs []goroutine) (goroutine, bool) {
	for _, name := range []string{".(*seedT).contain.", ".(*run).bubble."} { // Explore runs it on a goroutine of its own
		for _, g := range gs {
			if g.in(name) && !g.in(".(*run).heartbeat") { // which begins in a closure of bubble
				return g, true
			}
		}
	}
	return goroutine{}, false
}

// in reports whether the goroutine is in one of drtest's functions whose names begin like that.
func (g goroutine) in(name string) bool {
	return slices.ContainsFunc(g.frames, func(f frame) bool { return strings.HasPrefix(f.function, ownPackages+name) })
}

// stuck identifies the goroutines that keep a bubble's clock from moving, or returns "" if it is computing
// or may move on.
func stuck(gs []goroutine) string {
	var b strings.Builder
	for _, g := range gs {
		switch {
		case g.durable:
		case g.state == "running" || g.state == "runnable":
			return ""
		default:
			fmt.Fprintf(&b, "%d %s ", g.id, g.state)
		}
	}
	return b.String()
}

// stalled explains a bubble whose clock cannot move.
func stalled(gs []goroutine, idle time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "drtest: virtual time has not moved for %v; blocked outside it:\n", idle.Round(time.Millisecond))
	lock := false
	for _, g := range gs {
		if g.durable || g.ownBubbleMachinery() {
			continue
		}
		fmt.Fprintf(&b, "  goroutine %d [%s] at %v\n    %s\n", g.id, g.state, g.place(gs), cure(g.state))
		lock = lock || strings.HasPrefix(g.state, "sync.")
	}
	if lock {
		b.WriteString("who may hold the lock while waiting:\n")
		b.WriteString(describe(waiting(gs)))
	}
	return b.String()
}

// cure says what the state of a blocked goroutine means in a bubble.
func cure(state string) string {
	switch {
	case state == "IO wait":
		return "it waits for a real socket or file: use Region.HTTPClient, Region.DialContext or Region.Listen"
	case strings.HasPrefix(state, "sync.") || state == "semacquire":
		return "it waits for a lock whose holder waits for virtual time: hold no lock across a sleep or I/O"
	case strings.HasPrefix(state, "chan") || strings.HasPrefix(state, "select"):
		return "it waits on a channel, timer or context made outside the World: use those of the World's t"
	default:
		return "it waits for something that is not simulated"
	}
}

// waiting returns the goroutines that wait durably with code under test on their stack.
func waiting(gs []goroutine) []goroutine {
	var out []goroutine
	for _, g := range gs {
		if !g.durable || g.ownBubbleMachinery() {
			continue
		}
		for _, f := range g.frames {
			if f.foreign() {
				out = append(out, g)
				break
			}
		}
	}
	return out
}

// spinning explains a bubble that computes without end.
func spinning(gs []goroutine, idle time.Duration) string {
	var busy []goroutine
	for _, g := range gs {
		if !g.durable {
			busy = append(busy, g)
		}
	}
	return fmt.Sprintf("drtest: virtual time has not moved for %v, and this is running:\n%s", idle.Round(time.Second), describe(busy))
}
