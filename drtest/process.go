package drtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// ErrCrashed is the cause of the context of a process that was killed.
var ErrCrashed = errors.New("drtest: the process was killed")

// A Process is a function that lives in a Region: it is killed with it, and started again when the Region is
// back. [Region.Go] makes it.
type Process struct {
	region *Region
	name   string
	f      func(context.Context) error
	phase  time.Duration

	mu      sync.Mutex // guards all below; never held while waiting
	downs   int        // faults that keep it down
	kill    context.CancelCauseFunc
	changed chan struct{} // closed and replaced when downs changes
	starts  int
}

// Go starts f in the Region, as a process that its supervisor keeps alive: it is killed with the Region or by
// a Crash fault, which ends its context with the cause [ErrCrashed], and f is called again when that is
// over. A killed f must return; what it does before it does so still counts, for goroutines cannot be
// stopped from outside, unless it goes out from its [Region.Machine]. When f returns by itself the process has ended; an error or a panic fails the
// test. Names are unique in a World; Go panics on a second use.
func (r *Region) Go(name string, f func(ctx context.Context) error) *Process {
	p := &Process{region: r, name: name, f: f, phase: r.w.phase(), changed: make(chan struct{})}
	r.w.addProcess(p)
	r.mu.Lock()
	r.procs = append(r.procs, p)
	p.downs = r.downs
	r.mu.Unlock()
	r.w.tasks.Go(p.supervise)
	return p
}

// Name returns the name of the process.
func (p *Process) Name() string { return p.name }

// Starts returns how often the process was started.
func (p *Process) Starts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

// supervise runs the process until it ends by itself or the World does.
func (p *Process) supervise() {
	w := p.region.w
	for p.up() {
		if !w.sleepUntil(w.ctx, w.phased(p.phase)) {
			return
		}
		ctx, again, ok := p.start()
		if !ok {
			continue
		}
		if again {
			p.note("started again")
		} else {
			p.note("started")
		}
		w.stimulus("process "+p.name, 0)
		err := p.call(ctx)
		if ctx.Err() != nil && !errors.Is(err, errPanicked) {
			continue
		}
		p.note("ended")
		if err != nil {
			w.host.fail("drtest: process %q in %s ended: %v", p.name, p.region.name, err)
		}
		return
	}
}

// up waits until nothing keeps the process down; false at the end of the World.
func (p *Process) up() bool {
	for {
		p.mu.Lock()
		downs, changed := p.downs, p.changed
		p.mu.Unlock()
		if p.region.w.ctx.Err() != nil {
			return false
		}
		if downs == 0 {
			return true
		}
		select {
		case <-changed:
		case <-p.region.w.ctx.Done():
			return false
		}
	}
}

// start makes the context of a new life, unless the process was killed again meanwhile.
func (p *Process) start() (ctx context.Context, again, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.downs > 0 {
		return nil, false, false
	}
	ctx, p.kill = context.WithCancelCause(p.region.w.ctx)
	p.starts++
	return ctx, p.starts > 1, true
}

func (p *Process) note(text string) { p.region.w.Mark(history.MarkProcess, p.name, text) }

var errPanicked = errors.New("panicked")

// call runs f and turns a panic into an error.
func (p *Process) call(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v, at %s", errPanicked, v, panicPlace())
		}
	}()
	return p.f(ctx)
}

// down keeps the process dead until up is called.
func (p *Process) down() {
	p.mu.Lock()
	p.downs++
	first := p.downs == 1
	kill := p.kill
	p.alterLocked()
	p.mu.Unlock()
	if kill != nil && first {
		kill(ErrCrashed)
		p.note("killed")
	}
}

// release ends one reason to be down.
func (p *Process) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.downs--
	p.alterLocked()
}

func (p *Process) alterLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Process) crash() (undo func()) {
	p.down()
	return p.release
}

// phased returns the next instant with an offset.
func (w *World) phased(phase time.Duration) time.Duration {
	return nextPhase(w.now(), phase)
}

// panicPlace returns where the panic that is being recovered came from.
func panicPlace() string {
	buf := make([]byte, 1<<14)
	g := parseGoroutine(string(buf[:runtime.Stack(buf, false)]))
	after := false
	for _, f := range g.frames {
		if strings.HasPrefix(f.function, "panic") {
			after = true
			continue
		}
		if after && f.foreign() {
			return f.String()
		}
	}
	return fmt.Sprint(g.place([]goroutine{g}))
}
