package page

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// settle is how long events are collected before they are sent: a flood is ten frames a second.
const settle = 100 * time.Millisecond

// ErrRunTwice is returned by a second call of [Page.Run].
var ErrRunTwice = errors.New("page: Run was called twice")

// A reading is what one call of Config.State came to.
type reading struct {
	state State
	view  view
	at    time.Time
	err   error
}

// Run reads the State and feeds the streams until ctx ends; then it ends the streams and the contexts of buttons under
// way, and returns nil. It waits for none of them, nor for a State that hangs. Call it once: a second call returns [ErrRunTwice].
func (p *Page) Run(ctx context.Context) error {
	if p.ran.Swap(true) {
		return ErrRunTwice
	}
	defer close(p.done)
	tick := time.NewTicker(p.cfg.Every)
	defer tick.Stop()
	calm := time.NewTimer(settle)
	defer calm.Stop()

	readings := make(chan reading, 1) // a State that hangs can still hand over when nobody listens any more
	asked, busy := p.ask(readings), true
	var events <-chan struct{} // nil until calm
	var seen uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-readings:
			busy = false
			p.take(r)
		case <-tick.C:
			if busy {
				p.late(asked)
				continue
			}
			asked, busy = p.ask(readings), true
		case <-p.again:
			if !busy {
				asked, busy = p.ask(readings), true
			}
		case <-events:
			seen = p.tell(seen)
			events = nil
			calm.Reset(settle)
		case <-calm.C:
			events = p.cfg.Events.more
		}
	}
}

// ask calls State on a goroutine of its own.
func (p *Page) ask(readings chan<- reading) (asked time.Time) {
	go func() {
		var r reading
		r.err = guarded(func() error {
			r.state = p.cfg.State()
			r.view = viewOf(r.state, p.cfg.Actions)
			return nil
		})
		r.at = time.Now().UTC()
		readings <- r
	}()
	return time.Now()
}

// take shows a reading, or that there is none.
func (p *Page) take(r reading) {
	if r.err != nil {
		p.cfg.Logger.Error("State cannot be read", slog.Any("error", r.err))
		p.feed.trouble("the state cannot be read: "+clip(r.err.Error()), r.at)
		return
	}
	p.feed.read(r.state, r.view, r.at)
}

// late shows that State has not returned for some seconds, once.
func (p *Page) late(asked time.Time) {
	if time.Since(asked) < max(5*time.Second, 3*p.cfg.Every) {
		return
	}
	p.feed.trouble(fmt.Sprintf("the state has not been answered since %s UTC", asked.UTC().Format(time.TimeOnly)), asked)
}

// tell sends the events after number seen and returns the newest one's.
func (p *Page) tell(seen uint64) uint64 {
	events, lost, newest := p.cfg.Events.after(seen)
	if lost > 0 {
		note := Event{At: time.Now().UTC(), Kind: KindNote, Tone: ToneInfo, Text: fmt.Sprintf("%d events were left out: they came too fast", lost)}
		events = append([]Event{note}, events...)
	}
	p.feed.happened(events)
	return newest
}
