package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// An instance is one process of a Region, over all its lives.
type instance struct {
	pool    *Pool
	name    string
	service atomic.Pointer[service.Service] // nil while it does not run
	handler atomic.Pointer[server]          // nil while it takes no requests
	killed  atomic.Bool                     // the World has ended this life; what still runs of it reaches nobody
	told    atomic.Pointer[time.Time]       // when it was told to stop in good order, nil if it was not
	began   atomic.Pointer[time.Time]       // when this life began to take requests
	leave   atomic.Pointer[context.CancelCauseFunc]

	mu     sync.Mutex // guards ending
	ending Ending     // of this life, as far as it has come
}

// Why a process is told to stop, beside the end of its Region.
var (
	errStopped  = errors.New("embedded: the fleet is stopped")
	errDeployed = errors.New("embedded: a new version is deployed")
)

// Deploy stops every process of the Region in good order and starts it again, one after the other has begun to.
func (p *Pool) Deploy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.instances {
		if leave := i.leave.Load(); leave != nil {
			(*leave)(errDeployed)
		}
	}
}

// run is the lives until the World ends one.
func (i *instance) run(ctx context.Context) error {
	for {
		again, err := i.live(ctx)
		if err != nil || !again {
			return err
		}
	}
}

// live is one life; again if it ended for the next.
func (i *instance) live(ctx context.Context) (again bool, err error) {
	crew := i.pool.crew
	if !crew.enter() {
		return false, nil // its Region came back when all was over
	}
	defer crew.alive.Done()
	i.killed.Store(false)
	i.told.Store(nil)
	defer context.AfterFunc(ctx, func() { i.killed.Store(true) })()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	i.leave.Store(&cancel)
	defer i.leave.Store(nil)
	defer context.AfterFunc(crew.life, func() { cancel(errStopped) })()
	parts, close, err := i.pool.parts(ctx, i.name)
	if err != nil {
		return false, err
	}
	defer close()
	parts.Listen = func(h http.Handler) service.HTTPServer {
		return &server{instance: i, h: h, closed: make(chan struct{})}
	}
	svc, err := service.New(parts)
	if err != nil {
		return false, err
	}
	i.service.Store(svc)
	defer i.service.Store(nil)
	told := make(chan time.Time, 1)
	defer context.AfterFunc(ctx, func() {
		now := time.Now()
		if !i.killed.Load() {
			i.told.Store(&now)
			if blames := i.pool.blames; blames != nil {
				crew.blamed(blames(i.name, svc))
			}
		}
		told <- now
	})()
	err = svc.Run(ctx)
	ending := i.gone()
	if ctx.Err() != nil && !i.killed.Load() {
		ending.Told = <-told
		crew.tookToStop(time.Since(ending.Told))
		crew.ended(ending)
	}
	return context.Cause(ctx) == errDeployed, err
}

// epoch tells the World under which epoch the process may write.
func (i *instance) epoch() (uint64, time.Time) {
	if svc := i.service.Load(); svc != nil {
		return svc.Controller.Epoch()
	}
	return 0, time.Time{}
}

func (i *instance) serve(w http.ResponseWriter, r *http.Request) {
	if s := i.handler.Load(); s != nil && s.enter() {
		defer s.leave()
		if told := i.told.Load(); told != nil && time.Since(*told) > 0 {
			i.pool.crew.tookOn(i.name, r.Method+" "+r.URL.Path, time.Since(*told))
		}
		answer := &answer{ResponseWriter: w}
		s.h.ServeHTTP(answer, r)
		if answer.status >= http.StatusInternalServerError && i.told.Load() != nil {
			i.pool.crew.refusedAtStop(i.name, r.Method+" "+r.URL.Path, fmt.Sprintf("%d %s", answer.status, answer.body), i.told.Load().Sub(*i.began.Load()))
		}
		return
	}
	http.Error(w, "the instance is going", http.StatusServiceUnavailable)
}

// An answer remembers its status, and the body of a refusal.
type answer struct {
	http.ResponseWriter
	status int
	body   []byte
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status >= http.StatusInternalServerError {
		a.body = append(a.body, b...)
	}
	return a.ResponseWriter.Write(b)
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// A server is an instance's HTTP server: the Region's load balancer hands it requests.
type server struct {
	instance *instance
	h        http.Handler
	closed   chan struct{}

	mu     sync.Mutex // guards the following
	active int
	idle   chan struct{} // closed when a shutdown waits and active falls to 0
}

// ListenAndServe takes requests until Shutdown.
func (s *server) ListenAndServe() error {
	now := time.Now()
	s.instance.began.Store(&now)
	s.instance.handler.Store(s)
	<-s.closed
	return http.ErrServerClosed
}

// Shutdown takes no more requests and waits for those in flight.
func (s *server) Shutdown(ctx context.Context) error {
	s.instance.handler.CompareAndSwap(s, nil)
	s.mu.Lock()
	s.idle = make(chan struct{})
	if s.active == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	defer close(s.closed)
	defer s.instance.shut()
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		return false
	}
	s.active++
	return true
}

func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.active == 0 && s.idle != nil {
		close(s.idle)
	}
}

// Authorize knows people by a token that says their name. An identity provider does better.
func Authorize(r *http.Request) (by string, err error) {
	by, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer operator-")
	if !ok || by == "" {
		return "", errors.New("not an operator")
	}
	return by, nil
}
