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

// inject makes a fault act and returns what takes it away.
func (w *World) inject(index int, f fault.Fault) (undo func()) {
	switch f.Kind {
	case fault.KindRegionDown:
		return w.regionDown(f)
	case fault.KindPartition:
		return w.overlay(f, func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
	case fault.KindLatency:
		return w.overlay(f, func(s *simnet.Shape) {
			s.Latency += f.Delay
			s.Jitter += f.Jitter
		})
	case fault.KindGray, fault.KindThrottle:
		return w.disturb(index, f)
	case fault.KindReplicationLag:
		return w.store(f.Store).delay(f.Delay)
	case fault.KindReplicationPause:
		return w.store(f.Store).pause()
	case fault.KindCrash:
		return w.process(f.Process).crash()
	default:
		return w.Region(f.Region).skewBy(f.Delay)
	}
}

// overlay puts a change on the link of a fault.
func (w *World) overlay(f fault.Fault, change func(*simnet.Shape)) (undo func()) {
	there := w.net.Overlay(f.Region, f.To, change)
	if f.OneWay {
		return there
	}
	back := w.net.Overlay(f.To, f.Region, change)
	return func() { there(); back() }
}

// regionDown cuts a Region off and, unless it hangs, kills what runs there.
func (w *World) regionDown(f fault.Fault) (undo func()) {
	r := w.Region(f.Region)
	down := func(s *simnet.Shape) { s.Mode = f.Mode }
	var undos []func()
	for _, link := range [][2]string{{simnet.Any, r.name}, {r.name, simnet.Any}, {r.name, r.name}} {
		undos = append(undos, w.net.Overlay(link[0], link[1], down))
	}
	if f.Mode != simnet.ModeHang {
		w.net.Crash(r.name)
		r.die()
		undos = append(undos, r.revive)
	}
	return func() {
		for _, undo := range undos {
			undo()
		}
	}
}

// A disturbance is a fault that makes a host give wrong answers.
type disturbance struct {
	f   fault.Fault
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func (w *World) disturb(index int, f fault.Fault) (undo func()) {
	d := &disturbance{f: f, rng: simnet.Stream(w.config.Seed, fmt.Sprintf("disturbance/%d/%s/%v", index, f.Target(), w.now()))}
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

// hit draws whether the disturbance meets an operation.
func (d *disturbance) hit(host, op string) bool {
	if d.f.Host != host || !covers(d.f.Op, op) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64() < d.f.Share
}

// covers reports whether an operation is the one a fault names, or lies below its path.
func covers(named, op string) bool {
	rest, ok := strings.CutPrefix(op, named)
	return named == "" || ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(named, "/"))
}

// Disturbed asks the faults of a host about one operation, for servers that do not speak HTTP. If ok, the server
// must not run it but answer with an error like the HTTP status, and may say when to come back.
func (r *Region) Disturbed(host, op string) (status int, retryAfter time.Duration, ok bool) {
	return r.disturbed(host, func() string { return op })
}

func (r *Region) disturbed(host string, op func() string) (status int, retryAfter time.Duration, ok bool) {
	r.w.mu.Lock()
	all := r.w.disturbances
	r.w.mu.Unlock()
	for _, d := range all {
		if d.hit(host, op()) {
			return d.f.Status, d.f.RetryAfter, true
		}
	}
	return 0, 0, false
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

// ServeHTTP runs the handler behind the faults of its host.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if skew := e.region.skewed(); skew != 0 {
		w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	}
	status, retryAfter, ok := e.region.disturbed(e.host, func() string { return operation(r) })
	if !ok {
		e.handler.ServeHTTP(w, r)
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
