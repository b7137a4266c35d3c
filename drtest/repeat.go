package drtest

import (
	"bytes"
	"io"
	"net/http"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

// A Repeater is a handler whose protocol says what it means that something arrives twice, or is unreadable: a queue.
// Duplicate and Poison faults of its host are its own then. Of another handler they repeat the request itself.
type Repeater interface {
	// Repeats returns why the server cannot do what a fault says, or nil.
	Repeats(f fault.Fault) error

	// Repeat starts a fault and returns what ends it.
	Repeat(f fault.Fault) (undo func())
}

// repeat starts a Duplicate or Poison fault.
func (w *World) repeat(index int, f fault.Fault) (undo func()) {
	if r, ok := w.handler(f.Host).(Repeater); ok {
		return r.Repeat(f)
	}
	return w.disturb(index, f)
}

// handler returns what serves HTTP under a host name, or nil.
func (w *World) handler(host string) http.Handler {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.handlerLocked(host)
}

func (w *World) handlerLocked(host string) http.Handler {
	for _, port := range []string{":80", ":443"} {
		if e := w.endpoints[host+port]; e != nil {
			return e.handler
		}
	}
	return nil
}

// handle runs the handler, and what Duplicate and Poison faults add. The additions come at once and on the same
// goroutine, one after the other: what else could happen at that instant would have no order.
func (e *endpoint) handle(w http.ResponseWriter, r *http.Request, q request) {
	var twice, poison bool
	for _, d := range e.region.w.disturbing() {
		if kind := d.f.Kind; (kind == fault.KindDuplicate || kind == fault.KindPoison) && d.concerns(q) && d.hit() {
			twice = twice || kind == fault.KindDuplicate
			poison = poison || kind == fault.KindPoison
		}
	}
	if !twice && !poison {
		e.handler.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	if poison && len(body) > 0 {
		e.again(r, garbled)
	}
	e.handler.ServeHTTP(w, withBody(r, body))
	if twice {
		e.again(r, body)
	}
}

// garbled is what a Poison fault sends: neither JSON, XML nor a form.
var garbled = []byte("{\"poison\": <")

// again runs the handler once more; nobody gets the answer.
func (e *endpoint) again(r *http.Request, body []byte) {
	e.handler.ServeHTTP(newRecorder(), withBody(r, body))
}

func withBody(r *http.Request, body []byte) *http.Request {
	out := r.WithContext(r.Context())
	out.Header = r.Header.Clone()
	out.Body = io.NopCloser(bytes.NewReader(body))
	out.ContentLength = int64(len(body))
	return out
}
