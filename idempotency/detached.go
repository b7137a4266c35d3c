package idempotency

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A detachedRun runs the function on another goroutine, so that it survives its caller.
type detachedRun struct {
	*run
	values   valuesOnly    // the caller's
	runner   *runner       // nil if the goroutine is the run's own
	end      atomic.Int32  // who came first
	finished chan struct{} // gets a token when the run has ended, and the fields below are written, before the caller left

	stored   []byte
	info     Info
	err      error
	returned bool
	panicked any // with returned false: the panic's value, or nil for Goexit
}

// Ends of a detached run.
const (
	runsOn int32 = iota
	callerLeft
	runEnded
)

func (r *run) detached() (stored []byte, info Info, err error) {
	d := &r.apart
	d.run = r
	r.core.work.add()
	r.core.runners.run(d)
	select {
	case <-d.finished:
		return d.result()
	case <-r.ctx.Done():
	}
	if !d.end.CompareAndSwap(runsOn, callerLeft) {
		<-d.finished
		return d.result()
	}
	r.left = true
	e := r.refuse(endDetached, ErrDetached, context.Cause(r.ctx))
	e.Fence, e.Wait = r.holder.Fence, askAgain(time.Since(r.flight.begun), r.config.Lease)
	return nil, Info{Attempt: r.past.attempt, Fence: r.holder.Fence}, e
}

// main runs the function, whichever way it ends.
func (d *detachedRun) main() {
	defer d.core.work.done()
	defer func() {
		if !d.returned {
			if d.panicked = recover(); d.panicked != nil {
				d.logPanic() // the caller, if there is one, sees its value, but not where it came from
			}
		}
		d.ended()
	}()
	d.values.Context = d.ctx
	d.stored, d.info, d.err = d.inline(&d.values, time.Now().Add(d.terms.MaxRun))
	d.returned = true
}

// ended tells the caller, unless it has left. From then on the run is the caller's.
func (d *detachedRun) ended() {
	usable := d.usable()
	if d.end.CompareAndSwap(runsOn, runEnded) {
		d.finished <- struct{}{}
	} else if usable {
		d.core.runners.free(d.runner)
	}
}

// usable reports whether there is a runner that survives the run: Goexit ends its goroutine.
func (d *detachedRun) usable() bool { return d.runner != nil && (d.returned || d.panicked != nil) }

func (d *detachedRun) logPanic() {
	d.log.Error("idempotency: detached call panicked", slog.String("guard", d.config.Name),
		slog.Any("panic", d.panicked), slog.String("stack", string(debug.Stack())))
}

// result hands the run's end to the caller: also its panic or Goexit, as if it had run here.
func (d *detachedRun) result() ([]byte, Info, error) {
	if d.usable() {
		d.core.runners.free(d.runner)
	}
	if d.returned {
		return d.stored, d.info, d.err
	}
	if d.panicked == nil {
		runtime.Goexit()
	}
	panic(d.panicked)
}
