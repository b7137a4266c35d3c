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
		if i.name == process {
			i.polled()
		}
	}
}

func (i *instance) polled() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.ending.Shut.IsZero() {
		i.ending.Polls = append(i.ending.Polls, time.Now())
	}
}

// shut notes that the HTTP server has ended.
func (i *instance) shut() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ending.Shut = time.Now()
}

// gone ends a life, and returns how.
func (i *instance) gone() Ending {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.ending
	i.ending = Ending{}
	e.Process, e.Gone = i.name, time.Now()
	return e
}
