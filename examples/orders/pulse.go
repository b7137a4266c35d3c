package main

import (
	"fmt"
	"slices"
	"time"
)

// A pulse measures whether this machine has time for what runs on it: by how much a timer of every 20 ms is late. Leases of 2 s and time-outs
// of some hundred milliseconds mean little where it often is by as much.
type pulse struct {
	ended chan struct{}
	late  chan lateness
}

const (
	pulseEvery = 20 * time.Millisecond
	tooLate    = 100 * time.Millisecond // at the 99th of 100
)

// startPulse begins to measure; stop it.
func startPulse() *pulse {
	p := &pulse{make(chan struct{}), make(chan lateness)}
	go p.run()
	return p
}

// stop returns what was measured.
func (p *pulse) stop() lateness {
	close(p.ended)
	return <-p.late
}

func (p *pulse) run() {
	var all []time.Duration
	for due := time.Now(); ; {
		due = due.Add(pulseEvery)
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
		case <-p.ended:
			timer.Stop()
			p.late <- latenessOf(all)
			return
		}
		late := time.Since(due)
		all = append(all, late)
		due = due.Add(late.Truncate(pulseEvery)) // beats that are over do not count again
	}
}

// A lateness is how late timers were.
type lateness struct{ p99, worst time.Duration }

func latenessOf(all []time.Duration) lateness {
	if len(all) == 0 {
		return lateness{}
	}
	slices.Sort(all)
	return lateness{all[len(all)*99/100], all[len(all)-1]}
}

func (l lateness) String() string {
	return fmt.Sprintf("this machine's timers were late by up to %v, 99 of 100 by at most %v", l.worst.Round(time.Millisecond), l.p99.Round(time.Millisecond))
}

// explain adds to the error of a drill what this machine had to do with it. It excuses nothing that was lost.
func (l lateness) explain(err error) error {
	if err == nil || l.p99 < tooLate {
		return err
	}
	return fmt.Errorf("%w\n%v: it was too busy for a drill in real time; a lower -rate or a longer -lease asks less of it", err, l)
}
