package failover

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/intrusive"
)

// A flight is the context of one write: its caller's, which also ends when the write's time is over and when its Region is drained. It takes the
// place of a context with a deadline and of two that are merged, which cost a timer and ten allocations a write: all flights of a Region
// share one timer.
type flight struct {
	context.Context // the caller's, to be cancelled
	cancel          context.CancelCauseFunc
	end             time.Time

	link intrusive.Link[flight] // guarded by flights.mu
}

// Deadline is the caller's or the end of the write's time.
func (f *flight) Deadline() (time.Time, bool) {
	if deadline, ok := f.Context.Deadline(); ok && deadline.Before(f.end) {
		return deadline, true
	}
	return f.end, true
}

// Err is that of a deadline when the write's time is over. Contexts made from a flight are cancelled then, with a cause that is a deadline.
func (f *flight) Err() error {
	err := f.Context.Err()
	if err != nil && context.Cause(f.Context) == errFlightOver {
		return context.DeadlineExceeded
	}
	return err
}

// errFlightOver is the cause of a write's context when its lease or MaxFlight has run out.
var errFlightOver error = flightOver{}

type flightOver struct{}

func (flightOver) Error() string { return "failover: the write's lease or MaxFlight has run out" }
func (flightOver) Unwrap() error { return context.DeadlineExceeded }

// flights are the writes under way in one Region.
type flights struct {
	mu    sync.Mutex             // guards the following
	all   intrusive.List[flight] // by their ends, but for those that are over
	timer *time.Timer            // nil until the first flight
	due   time.Time              // when the timer fires; zero if it does not
}

// begin returns the context of a write that may take until end. The caller ends it with land.
func (fs *flights) begin(ctx context.Context, end time.Time) *flight {
	f := &flight{end: end}
	f.Context, f.cancel = context.WithCancelCause(ctx)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.all.InsertSorted(f, &f.link, func(other *flight) bool { return other.end.After(end) })
	fs.armLocked(end)
	return f
}

// land ends a flight.
func (fs *flights) land(f *flight) {
	fs.forget(f)
	f.cancel(nil)
}

func (fs *flights) forget(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.all.Remove(&f.link)
}

// armLocked sees to it that the timer fires at end, or before. A write that lands leaves it as it is: most timers fire once in
// MaxFlight and find nothing to do.
func (fs *flights) armLocked(end time.Time) {
	if !fs.due.IsZero() && !end.Before(fs.due) {
		return
	}
	fs.due = end
	if fs.timer == nil {
		fs.timer = time.AfterFunc(time.Until(end), fs.onTimer)
		return
	}
	fs.timer.Reset(time.Until(end))
}

// onTimer ends the flights whose time is over. It runs on the timer's goroutine, and looks at no others but the next: a Region that hangs has many flights, each
// with an end of its own. A flight that begins later sets the timer itself, also if its own time is over by then.
func (fs *flights) onTimer() {
	fs.mu.Lock()
	now := time.Now()
	fs.due = time.Time{}
	var over []*flight
	f := fs.all.First()
	for ; f != nil && !now.Before(f.end); f = fs.all.First() {
		fs.all.Remove(&f.link)
		over = append(over, f)
	}
	if f != nil {
		fs.armLocked(f.end)
	}
	fs.mu.Unlock()
	endAll(over, errFlightOver)
}

// drain ends all flights.
func (fs *flights) drain() {
	fs.mu.Lock()
	var all []*flight
	for f := fs.all.First(); f != nil; f = f.link.Next() {
		all = append(all, f)
	}
	fs.mu.Unlock()
	endAll(all, ErrRegionDrained)
}

// endAll cancels outside of the lock: contexts made from a flight run what waits for their end.
func endAll(flights []*flight, cause error) {
	for _, f := range flights {
		f.cancel(cause)
	}
}
