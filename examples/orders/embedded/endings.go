package embedded

import (
	"slices"
	"time"
)

// An Ending is how a process stopped in good order, and the requests for deferred calls that it made meanwhile.
type Ending struct {
	Process string
	Told    time.Time   // to stop
	Shut    time.Time   // when its HTTP server had ended; zero if the process was killed before
	Gone    time.Time   // when the process had
	Polls   []time.Time // of its workers, begun after Shut
}

// Endings returns them, the oldest first.
func (c *Crew) Endings() []Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.endings)
}

func (c *Crew) ended(e Ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endings = append(c.endings, e)
}

// polled notes that a process's worker asks a queue for calls.
func (p *Pool) polled(process string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.instances {
		if l := i.present(); l != nil && i.name == process {
			l.polled()
		}
	}
}

func (l *life) polled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ending.Shut.IsZero() {
		l.ending.Polls = append(l.ending.Polls, time.Now())
	}
}

// shut notes that the HTTP server has ended.
func (l *life) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending.Shut = time.Now()
}

// gone ends a life that was told to stop, and returns how.
func (l *life) gone(process string, told time.Time) Ending {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.ending
	e.Process, e.Told, e.Gone = process, told, time.Now()
	return e
}
