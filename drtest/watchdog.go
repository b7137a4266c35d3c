package drtest

import (
	"fmt"
	"strings"
	"time"
)

// A watchdog watches a bubble from outside, in real time.
type watchdog struct {
	r     *run
	barks chan string // receives one verdict at most
	quit  chan struct{}
}

func newWatchdog(r *run) *watchdog {
	d := &watchdog{r: r, barks: make(chan string, 1), quit: make(chan struct{})}
	go d.watch()
	return d
}

func (d *watchdog) stop() { close(d.quit) }

// spinFactor is how many times longer than a stall a World may compute without virtual time moving.
const spinFactor = 6

// watch looks at the bubble once it has made no progress for the limit, and again until it is sure.
func (d *watchdog) watch() {
	limit := d.r.config.Watchdog
	ticker := time.NewTicker(max(limit/8, 10*time.Millisecond))
	defer ticker.Stop()
	beats, since := d.r.beats.Load(), time.Now()
	var suspects string
	for {
		select {
		case <-d.quit:
			return
		case <-ticker.C:
		}
		if now := d.r.beats.Load(); now != beats {
			beats, since, suspects = now, time.Now(), ""
			continue
		}
		idle := time.Since(since)
		if idle < limit {
			continue
		}
		gs := inBubble(allGoroutines(), d.r.id.Load())
		found := stuck(gs)
		if found != "" && found == suspects {
			d.barks <- stalled(gs, limit)
			return
		}
		suspects = found
		if found == "" && idle > spinFactor*limit && len(gs) > 0 {
			d.barks <- spinning(gs, idle)
			return
		}
	}
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
func stalled(gs []goroutine, limit time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "drtest: virtual time has not moved for %v; blocked outside it:\n", limit)
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
