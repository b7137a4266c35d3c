package idempotency

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A detachedRun runs the function on its own goroutine, so that it survives its caller.
type detachedRun struct {
	*run
	values   valuesOnly    // the caller's
	end      atomic.Int32  // who came first
	finished chan struct{} // closed when the fields below are written

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
	d.run, d.finished = r, make(chan struct{})
	r.core.work.add()
	go d.main()
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
	return nil, Info{Attempt: r.record.Attempt, Fence: r.holder.Fence}, e
}

func (d *detachedRun) main() {
	growStack(d.terms.MaxRun)
	defer d.core.work.done()
	defer close(d.finished)
	defer func() {
		if !d.returned {
			if d.panicked = recover(); d.panicked != nil {
				d.logPanic() // the caller, if there is one, sees its value, but not where it came from
			}
		}
		d.end.CompareAndSwap(runsOn, runEnded)
	}()
	d.values.Context = d.ctx
	d.stored, d.info, d.err = d.inline(&d.values, time.Now().Add(d.terms.MaxRun))
	d.returned = true
}

func (d *detachedRun) logPanic() {
	d.log.Error("idempotency: detached call panicked", slog.String("guard", d.config.Name),
		slog.Any("panic", d.panicked), slog.String("stack", string(debug.Stack())))
}

// result hands the run's end to the caller: also its panic or Goexit, as if it had run here.
func (d *detachedRun) result() ([]byte, Info, error) {
	if d.returned {
		return d.stored, d.info, d.err
	}
	if d.panicked == nil {
		runtime.Goexit()
	}
	panic(d.panicked)
}

// growStack makes room on a new goroutine's stack for a handler, in one step while there is next to nothing on it. Growing from 2 KiB as
// frames come copies them at every doubling.
//
//go:noinline
func growStack(n time.Duration) byte {
	var room [15 << 10]byte
	return room[uint64(n)%uint64(len(room))]
}
