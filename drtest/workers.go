package drtest

import "sync"

// workers runs functions on goroutines that are used again: a new goroutine would have to grow its stack for
// each call, which costs more than the call.
type workers struct {
	mu     sync.Mutex // guards all below
	idle   []chan func()
	closed bool
	all    sync.WaitGroup
}

// run calls f on a goroutine of its own.
func (p *workers) run(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		w <- f // has room: an idle worker's channel is empty
		return
	}
	if p.closed {
		go f() // of somebody who has not noticed the end; nobody waits for it
		return
	}
	p.all.Go(func() { p.work(f) })
}

func (p *workers) work(f func()) {
	next := make(chan func(), 1)
	for f != nil {
		f()
		if !p.rest(next) {
			return
		}
		f = <-next
	}
}

// rest offers a worker for the next call; false if there will be none.
func (p *workers) rest(next chan func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, next)
	return true
}

// close ends the idle workers, and the others when their call returns.
func (p *workers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		close(w)
	}
	p.idle = nil
}
