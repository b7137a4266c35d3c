package idempotency

import (
	"runtime/pprof"
	"sync"
	"time"
)

// runners are goroutines that wait for detached runs while [Guard.Run] runs: a new goroutine's stack is small, and growing it under a handler costs
// more than all else that a detached run takes. While Run does not run, each run has a goroutine of its own.
type runners struct {
	mu     sync.Mutex // guards the following
	opened int        // by how many Runs
	idle   []*runner  // the one that has run last is the last
	all    *tracker   // of those that were taken first since there was no Run
}

// A runner is one of the goroutines. Whoever took it from the idle ones, or its run if that outlives its caller, gives it back.
type runner struct {
	of       *tracker
	runs     chan *detachedRun // with room for one: nobody waits for a runner
	finished chan struct{}     // of the run at hand
}

// maxIdle is how many runners wait for work.
const maxIdle = 64

// run starts d.
func (rs *runners) run(d *detachedRun) {
	if d.runner = rs.take(); d.runner != nil {
		d.finished = d.runner.finished
		d.runner.runs <- d
		return
	}
	d.finished = make(chan struct{}, 1)
	go d.alone()
}

// take returns the runner whose stack is the warmest, or a new one; nil while no Run runs.
func (rs *runners) take() *runner {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.opened == 0 {
		return nil
	}
	if last := len(rs.idle) - 1; last >= 0 {
		w := rs.idle[last]
		rs.idle = rs.idle[:last]
		return w
	}
	w := &runner{rs.all, make(chan *detachedRun, 1), make(chan struct{}, 1)}
	w.of.add()
	go w.main()
	return w
}

// free gives a runner back whose run is over.
func (rs *runners) free(w *runner) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.opened == 0 || w.of != rs.all || len(rs.idle) == maxIdle {
		close(w.runs)
		return
	}
	rs.idle = append(rs.idle, w)
}

func (w *runner) main() {
	defer w.of.done()
	growStack(0)
	for d := range w.runs {
		pprof.SetGoroutineLabels(d.ctx) // as a goroutine of its caller's would have them
		d.main()
	}
}

// alone is main on a goroutine of the run's own.
func (d *detachedRun) alone() {
	growStack(d.terms.MaxRun)
	d.main()
}

// growStack makes room on a new goroutine's stack for a handler, in one step while there is next to nothing on it. Growing from 2 KiB as
// frames come copies them at every doubling.
//
//go:noinline
func growStack(n time.Duration) byte {
	var room [15 << 10]byte
	return room[uint64(n)%uint64(len(room))]
}

// open lets runners wait for work until close.
func (rs *runners) open() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.opened == 0 {
		rs.all = &tracker{}
	}
	rs.opened++
}

// close ends the runners that wait, unless there is another Run, and returns all that are to end; those at work end with their runs.
func (rs *runners) close() (ending *tracker) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.opened--; rs.opened > 0 {
		return &tracker{}
	}
	for _, w := range rs.idle {
		close(w.runs)
	}
	rs.idle = nil
	return rs.all
}
