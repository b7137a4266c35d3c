package drtest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A disturbance is a fault that makes hosts refuse requests, get them twice, take long for them or lose the answers.
type disturbance struct {
	f     fault.Fault
	start time.Time

	mu     sync.Mutex // guards all below
	rng    *rand.Rand
	passed float64       // of a CapacityLimit: requests let through, less what has been made up for
	at     time.Duration // when passed was right
}

func (w *World) disturb(index int, f fault.Fault) (undo func()) {
	d := &disturbance{f: f, start: w.start, rng: simnet.Stream(w.config.Seed, fmt.Sprintf("disturbance/%d/%s/%v", index, f.Target(), w.now()))}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disturbances = append(w.disturbances, d)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, x := range w.disturbances {
			if x == d {
				w.disturbances = append(w.disturbances[:i:i], w.disturbances[i+1:]...)
				return
			}
		}
	}
}

// A request is what a disturbance may meet.
type request struct {
	region  *Region
	host    string
	op      func() string
	control func() bool // whether it belongs to the control plane
}

// concerns reports whether the disturbance is about a request.
func (d *disturbance) concerns(q request) bool {
	switch d.f.Kind {
	case fault.KindControlPlaneDown:
		return q.region.within(d.f.Region) && q.control()
	case fault.KindAZDown:
		return q.region.within(d.f.Region + "/" + d.f.Zone)
	case fault.KindCapacityLimit:
		return q.host == d.f.Host || d.f.Region != "" && q.region.within(d.f.Region)
	}
	return q.host == d.f.Host && covers(d.f.Op, q.op())
}

// hit draws whether the disturbance meets a request it is about.
func (d *disturbance) hit() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.f.Kind {
	case fault.KindControlPlaneDown, fault.KindSlow:
		return true
	case fault.KindCapacityLimit:
		return d.fullLocked()
	}
	return d.rng.Float64() < d.f.Share
}

// fullLocked reports whether the requests of a second are used up, and else counts one more.
func (d *disturbance) fullLocked() bool {
	now := time.Since(d.start)
	d.passed = max(0, d.passed-(now-d.at).Seconds()*d.f.PerSecond)
	d.at = now
	if d.passed+1 > max(d.f.PerSecond, 1) {
		return true
	}
	d.passed++
	return false
}

// answer is what a host says that refuses.
func (d *disturbance) answer() (status int, retryAfter time.Duration) {
	if d.f.Status == 0 {
		return http.StatusServiceUnavailable, 0
	}
	return d.f.Status, d.f.RetryAfter
}

// refuses reports whether the disturbance keeps requests from their server.
func (d *disturbance) refuses() bool {
	switch d.f.Kind {
	case fault.KindDuplicate, fault.KindPoison, fault.KindSlow, fault.KindLostReply:
		return false
	}
	return true
}

// covers reports whether an operation is the one a fault names, or lies below its path.
func covers(named, op string) bool {
	rest, ok := strings.CutPrefix(op, named)
	return named == "" || ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(named, "/"))
}

// Disturbed asks the faults of a host about one operation, for servers that do not speak HTTP. If ok, the server
// must not run it but answer with an error like the HTTP status, and may say when to come back.
func (r *Region) Disturbed(host, op string) (status int, retryAfter time.Duration, ok bool) {
	return r.disturbed(request{r, host, func() string { return op }, func() bool { return false }})
}

func (r *Region) disturbed(q request) (status int, retryAfter time.Duration, ok bool) {
	for _, d := range r.w.disturbing() {
		if d.refuses() && d.concerns(q) && d.hit() {
			status, retryAfter = d.answer()
			return status, retryAfter, true
		}
	}
	return 0, 0, false
}

// Hindered asks the Slow and LostReply faults of a host about one operation, for servers that do not speak HTTP: how much longer it
// takes, and whether its answer is lost.
func (r *Region) Hindered(host, op string) (delay time.Duration, lost bool) {
	return r.hindered(request{r, host, func() string { return op }, func() bool { return false }})
}

func (r *Region) hindered(q request) (delay time.Duration, lost bool) {
	for _, d := range r.w.disturbing() {
		if kind := d.f.Kind; (kind == fault.KindSlow || kind == fault.KindLostReply) && d.concerns(q) && d.hit() {
			delay += d.f.Delay
			lost = lost || kind == fault.KindLostReply
		}
	}
	return delay, lost
}

func (w *World) disturbing() []*disturbance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disturbances
}

// operation names what a request asks for, as faults do.
func operation(r *http.Request) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndex(target, ".")+1:]
	}
	return r.Method + " " + r.URL.Path
}

// A Refuser is a handler whose protocol has error answers of its own. Where a fault makes a host refuse a
// request, its handler is asked to write the refusal if it is a Refuser; else a plain one is written.
type Refuser interface {
	Refuse(w http.ResponseWriter, r *http.Request, status int, retryAfter time.Duration)
}

// A ControlPlaner is a handler that knows which of its operations set things up, rather than use them: a
// ControlPlaneDown fault refuses those. [ControlPlane] makes one of a handler that does nothing else.
type ControlPlaner interface {
	ControlPlane(r *http.Request) bool
}

// ControlPlane marks a handler all of whose operations set things up, as a fake of Route 53 or IAM.
func ControlPlane(h http.Handler) http.Handler { return controlPlane{h} }

type controlPlane struct{ http.Handler }

func (controlPlane) ControlPlane(*http.Request) bool { return true }

// ServeHTTP runs the handler behind the faults of its host.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if skew := e.region.skewed(); skew != 0 {
		w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	}
	q := request{e.region, e.host, func() string { return operation(r) }, func() bool {
		c, ok := e.handler.(ControlPlaner)
		return ok && c.ControlPlane(r)
	}}
	delay, lost := e.region.hindered(q)
	if w := e.region.w; delay > 0 && !w.sleepUntil(e.region.lifetime(), w.now()+delay) {
		panic(http.ErrAbortHandler) // its process is dead
	}
	status, retryAfter, ok := e.region.disturbed(q)
	switch {
	case !ok && lost:
		e.handle(newRecorder(), r, q)
		panic(http.ErrAbortHandler)
	case !ok:
		e.handle(w, r, q)
		return
	}
	if own, ok := e.handler.(Refuser); ok {
		own.Refuse(w, r, status, retryAfter)
		return
	}
	refuse(w, status, retryAfter)
}

// refuse answers a request in place of its handler.
func refuse(w http.ResponseWriter, status int, retryAfter time.Duration) {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((retryAfter+time.Second-1)/time.Second), 10))
	}
	http.Error(w, fmt.Sprintf("injected: %d %s", status, http.StatusText(status)), status)
}
