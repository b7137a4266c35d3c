package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// An instance is one process of a Region, over all its lives.
type instance struct {
	pool *Pool
	name string
	life atomic.Pointer[life] // the present one; nil between two

	version int // how often it was deployed: each has a name of its own, as a cluster gives it, where one that was killed comes back under the same
}

// A life is a process from its start until it has stopped in good order, or dies.
type life struct {
	process context.Context // ends when the World kills the process: from then on nothing of this life reaches anybody
	leave   context.CancelCauseFunc
	service *service.Service
	handler atomic.Pointer[server]    // nil while it takes no requests
	told    atomic.Pointer[time.Time] // when it was told to stop in good order, nil if it was not
	began   atomic.Pointer[time.Time] // when it began to take requests

	mu     sync.Mutex // guards ending
	ending Ending     // as far as it has come
}

func (l *life) dead() bool { return l.process.Err() != nil }

// present returns the life that the process has now, nil if it has none.
func (i *instance) present() *life {
	if l := i.life.Load(); l != nil && !l.dead() {
		return l
	}
	return nil
}

// Why a process is told to stop, beside the end of its Region.
var (
	errStopped  = errors.New("embedded: the fleet is stopped")
	errDeployed = errors.New("embedded: a new version is deployed")
)

// Deploy stops every process of the Region in good order and starts it again, one after the other: the next when the one before takes requests again, or has not for
// settleFor.
func (p *Pool) Deploy() {
	p.mu.Lock()
	instances := slices.Clone(p.instances)
	p.mu.Unlock()
	for n, i := range instances {
		l := i.present()
		if l == nil {
			continue
		}
		l.leave(errDeployed)
		for deadline := time.Now().Add(settleFor); n < len(instances)-1 && time.Now().Before(deadline) && !i.replaced(l); {
			time.Sleep(settleFor / 100)
		}
	}
}

// settleFor is how long a deployment waits for a process.
const settleFor = 10 * time.Second

// replaced reports whether another life than old takes requests.
func (i *instance) replaced(old *life) bool {
	l := i.present()
	return l != nil && l != old && l.handler.Load() != nil
}

// run is the lives until the World ends one.
func (i *instance) run(process context.Context) error {
	for {
		again, err := i.live(process)
		if err != nil || !again {
			return err
		}
		i.version++
	}
}

// live is one life; again if it ended for the next. A dead process is left behind: its goroutines end by themselves, and nobody waits for them but [Crew.Stop].
func (i *instance) live(process context.Context) (again bool, err error) {
	crew := i.pool.crew
	if !crew.enter() {
		return false, nil // its Region came back when all was over
	}
	ctx, cancel := context.WithCancelCause(process)
	parts, release, err := i.pool.parts(process, i.name)
	if err != nil {
		cancel(nil)
		crew.alive.Done()
		return false, err
	}
	l := &life{process: process, leave: cancel}
	if i.version > 0 {
		parts.Instance = fmt.Sprintf("%s-v%d", i.name, i.version)
	}
	parts.Listen = func(h http.Handler) service.HTTPServer {
		return &server{life: l, h: h, closed: make(chan struct{})}
	}
	ended := make(chan error, 1)
	end := func(err error) {
		cancel(nil)
		release()
		ended <- err
		crew.alive.Done()
	}
	if l.service, err = service.New(parts); err != nil {
		end(err)
		return false, err
	}
	i.life.Store(l)
	defer i.life.Store(nil)
	go func() { end(i.serveUntil(ctx, l)) }()
	if i.pool.abandon == nil {
		err = <-ended
		return context.Cause(ctx) == errDeployed, err
	}
	select {
	case err = <-ended:
	case <-process.Done():
		if !errors.Is(context.Cause(process), drtest.ErrCrashed) {
			return false, <-ended // the World ends
		}
		i.pool.abandon(i.name)
	}
	return context.Cause(ctx) == errDeployed, err
}

// serveUntil runs the service of a life until ctx ends, and tells the crew how that went if it ends in good order.
func (i *instance) serveUntil(ctx context.Context, l *life) error {
	crew := i.pool.crew
	defer context.AfterFunc(crew.life, func() { l.leave(errStopped) })()
	told := make(chan time.Time, 1)
	defer context.AfterFunc(ctx, func() {
		now := time.Now()
		if !l.dead() {
			l.told.Store(&now)
			if blames := i.pool.blames; blames != nil {
				crew.blamed(blames(i.name, l.service))
			}
		}
		told <- now
	})()
	err := l.service.Run(ctx)
	if ctx.Err() != nil && !l.dead() {
		ending := l.gone(i.name, <-told)
		crew.tookToStop(ending.Gone.Sub(ending.Told))
		crew.ended(ending)
	}
	return err
}

// epoch tells the World under which epoch the process may write.
func (i *instance) epoch() (uint64, time.Time) {
	if l := i.present(); l != nil {
		return l.service.Controller.Epoch()
	}
	return 0, time.Time{}
}

// serve hands a request to the process. One that dies with it cuts the connection.
func (i *instance) serve(w http.ResponseWriter, r *http.Request) {
	l := i.present()
	if l == nil {
		http.Error(w, "the instance is gone", http.StatusServiceUnavailable)
		return
	}
	s := l.handler.Load()
	if s == nil || !s.enter() {
		http.Error(w, "the instance is going", http.StatusServiceUnavailable)
		return
	}
	defer s.leave()
	if told := l.told.Load(); told != nil && time.Since(*told) > 0 {
		i.pool.crew.tookOn(i.name, r.Method+" "+r.URL.Path, time.Since(*told))
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(l.process, cancel)()
	answer := &answer{ResponseWriter: w}
	s.h.ServeHTTP(answer, r.WithContext(ctx))
	if l.dead() {
		i.pool.crew.cut.Add(1)
		panic(http.ErrAbortHandler)
	}
	if answer.status >= http.StatusInternalServerError && l.told.Load() != nil {
		i.pool.crew.refusedAtStop(i.name, r.Method+" "+r.URL.Path, fmt.Sprintf("%d %s", answer.status, answer.body), l.told.Load().Sub(*l.began.Load()))
	}
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
	life   *life
	h      http.Handler
	closed chan struct{}

	mu     sync.Mutex // guards the following
	active int
	idle   chan struct{} // closed when a shutdown waits and active falls to 0
}

// ListenAndServe takes requests until Shutdown.
func (s *server) ListenAndServe() error {
	now := time.Now()
	s.life.began.Store(&now)
	s.life.handler.Store(s)
	<-s.closed
	return http.ErrServerClosed
}

// Shutdown takes no more requests and waits for those in flight.
func (s *server) Shutdown(ctx context.Context) error {
	s.life.handler.CompareAndSwap(s, nil)
	s.mu.Lock()
	s.idle = make(chan struct{})
	if s.active == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	defer close(s.closed)
	defer s.life.shut()
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
