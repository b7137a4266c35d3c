package embedded

import (
	"cmp"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A Handled is how often processes did the same with one message of a Region's queues within a second of the World.
type Handled struct {
	What   string // [Sent], [SentNow], received, extended, given back, [Deleted] or buried
	Region failover.Region
	ID     string // the call's if it was sent, else the message's
	Second int
	Times  int
}

// A handledLog counts.
type handledLog struct {
	mu    sync.Mutex // guards times
	times map[Handled]int
}

func (f *Fleet) handled(what string, region failover.Region, ids ...string) {
	if f.World.RealTime() {
		return // it has no end
	}
	second := int(f.World.Elapsed() / time.Second)
	f.handles.mu.Lock()
	defer f.handles.mu.Unlock()
	if f.handles.times == nil {
		f.handles.times = map[Handled]int{}
	}
	for _, id := range ids {
		f.handles.times[Handled{What: what, Region: region, ID: id, Second: second}]++
	}
}

// MostHandled returns the message that was handled most often within a second, for each way of handling one.
func (f *Fleet) MostHandled() (most []Handled) {
	f.handles.mu.Lock()
	defer f.handles.mu.Unlock()
	for _, what := range []string{SentNow, received, extended, givenBack, Deleted, buried} {
		var top Handled
		for h, times := range f.handles.times {
			h.Times = times
			if h.What == what && cmp.Or(cmp.Compare(h.Times, top.Times), cmp.Compare(top.Second, h.Second), cmp.Compare(top.ID, h.ID)) > 0 {
				top = h
			}
		}
		if top.Times > 0 {
			most = append(most, top)
		}
	}
	return most
}

// Puts is how many calls were sent to the queues of a Region in a second of the World, the first time or again, or to their dead-letter queues.
type Puts struct {
	Calls  int // each counts once
	Copies int // beyond once each, those that were sent to be put off, for half a second at least
	Buried int // messages that were given up, each time that one was
}

// Puts returns what was sent to the queues of each Region in each second of the World.
func (f *Fleet) Puts() map[failover.Region]map[int]Puts {
	f.handles.mu.Lock()
	defer f.handles.mu.Unlock()
	all := map[failover.Region]map[int]Puts{East: {}, West: {}}
	for h, times := range f.handles.times {
		n := all[h.Region][h.Second]
		switch h.What {
		case buried:
			n.Buried += times
		case Sent:
			n.Calls++
			h.What = SentNow
			n.Copies += min(times-1, times-f.handles.times[h])
		default:
			continue
		}
		all[h.Region][h.Second] = n
	}
	return all
}

// What is done with messages, as far as anyone has to tell it apart.
const (
	Sent      = "sent"
	SentNow   = "sent at once" // less than half a second before it may run
	received  = "received"
	extended  = "extended"
	givenBack = "given back"
	Deleted   = "deleted"
	buried    = "buried"
)

func idsOf[T any](all []T, id func(T) string) []string {
	ids := make([]string, len(all))
	for i, one := range all {
		ids[i] = id(one)
	}
	return ids
}

// undelayed returns those that may run within half a second.
func undelayed(messages []queue.Outgoing) (now []queue.Outgoing) {
	for _, m := range messages {
		if time.Until(m.NotBefore) < time.Second/2 {
			now = append(now, m)
		}
	}
	return now
}

func callID(o queue.Outgoing) string    { return o.CallID }
func messageID(m *queue.Message) string { return m.ID }
