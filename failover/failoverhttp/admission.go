package failoverhttp

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// AdmissionConfig configures [Admission].
type AdmissionConfig struct {
	// For is how long after an unplanned move into this Region the limit holds. Zero means 15 min.
	For time.Duration

	// Rank says how important a request is: 0 sheddable, 1 sheddable-plus, 2 critical, 3 critical-plus, as the classes of degrade/shed.
	// Nil means 2 for all.
	Rank func(*http.Request) int

	// Limit admits a request, for example by an adaptive limit; done is called with its outcome. It takes the place of
	// [failover.Member.Capacity]. Nil means that capacity, and without one everything is admitted.
	Limit func(*http.Request) (done func(error), err error)
}

// Admission lets into this Region, after an unplanned move to it, what it can take: at most the least Capacity of its members in requests a
// second, with room kept for the more important ones. The rest is answered with 503 and Retry-After, before the body is read. Outside
// such a time it does nothing. Errors: a nil controller, a negative For.
func Admission(c *failover.Controller, cfg AdmissionConfig) (func(http.Handler) http.Handler, error) {
	switch {
	case c == nil:
		return nil, errors.New("failoverhttp: Admission: the controller is nil")
	case cfg.For < 0:
		return nil, errors.New("failoverhttp: AdmissionConfig.For is negative")
	}
	if cfg.For == 0 {
		cfg.For = 15 * time.Minute
	}
	a := &admission{c: c, cfg: cfg}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(next, w, r) })
	}, nil
}

type admission struct {
	c   *failover.Controller
	cfg AdmissionConfig

	mu      sync.Mutex // guards the following
	at      time.Time
	tokens  float64
	size    float64 // requests a second
	checked time.Time
	known   bool
}

func (a *admission) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if !a.surge() {
		next.ServeHTTP(w, r)
		return
	}
	if a.cfg.Limit != nil {
		a.limited(next, w, r)
		return
	}
	rank := 2
	if a.cfg.Rank != nil {
		rank = min(3, max(0, a.cfg.Rank(r)))
	}
	if !a.take(rank) {
		unavailable(w, r, "This Region takes over from another one and is full. The request had no effect.", time.Second)
		return
	}
	next.ServeHTTP(w, r)
}

func (a *admission) limited(next http.Handler, w http.ResponseWriter, r *http.Request) {
	done, err := a.cfg.Limit(r)
	if err != nil {
		wait, _ := outcome.RetryAfter(err)
		unavailable(w, r, "This Region takes over from another one and is full. The request had no effect.", wait)
		return
	}
	status := &statusWriter{ResponseWriter: w}
	finished := false
	defer func() {
		if !finished {
			done(errors.New("failoverhttp: the handler panicked"))
		}
	}()
	next.ServeHTTP(status, r)
	finished = true
	if status.code >= 500 {
		done(errors.New(http.StatusText(status.code)))
		return
	}
	done(nil)
}

// surge reports whether an unplanned move to this Region is under way or not long over.
func (a *admission) surge() bool {
	d := a.c.Decision()
	t := d.Transition
	if t == nil || t.Cut.IsZero() {
		t = d.Last
	}
	return t != nil && !t.Planned && t.To == a.c.Self() && !t.Cut.IsZero() && time.Since(t.Cut) < a.cfg.For
}

// keep is the share of a second's tokens that requests of a rank must leave to more important ones.
var keep = [...]float64{0.5, 0.3, 0.1, 0}

// take takes a token of the bucket, which holds a second's worth.
func (a *admission) take(rank int) bool {
	now := time.Now()
	a.refresh(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.known {
		return true
	}
	a.tokens = min(a.size, a.tokens+now.Sub(a.at).Seconds()*a.size)
	a.at = now
	if a.tokens-1 < keep[rank]*a.size-1e-9 && a.tokens < a.size || a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// refresh asks for the capacity once a second, outside the lock: it is the members' code.
func (a *admission) refresh(now time.Time) {
	a.mu.Lock()
	due := now.Sub(a.checked) >= time.Second
	if due {
		a.checked = now
	}
	a.mu.Unlock()
	if !due {
		return
	}
	capacity, ok := a.c.Capacity()
	a.mu.Lock()
	defer a.mu.Unlock()
	if ok && !a.known {
		a.tokens, a.at = float64(capacity), now
	}
	a.size, a.known = float64(max(1, capacity)), ok
}

// A statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
