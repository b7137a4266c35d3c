package idempotencyhttp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// A recorder is the ResponseWriter of a guarded handler. It holds the response back until it is stored, unless the handler
// flushes, hijacks or writes too much. The handler may outlive the request; after leave nothing reaches the client.
type recorder struct {
	limit   int64
	header  http.Header // the handler's; its own goroutine's until finish
	before  fields      // what outer handlers had set
	err     error       // reported by ReportOutcome
	request requestBody // what the handler reads

	mu       sync.Mutex // guards the following and every use of w: ServeHTTP must not return during one
	w        http.ResponseWriter
	gone     bool   // the request has ended
	status   int    // 0 until written
	written  fields // header as it was then
	body     bytes.Buffer
	direct   string // why the response goes to the client directly; "" while it is held back
	hijacked bool
	answered bool // w has been written to
}

var errGone = errors.New("idempotencyhttp: the client has gone")

func newRecorder(w http.ResponseWriter, limit int64) *recorder {
	r := &recorder{limit: limit, w: w, header: w.Header().Clone()}
	r.before.take(r.header)
	return r
}

// A requestBody is a body that has been read.
type requestBody struct{ bytes.Reader }

// Close implements io.Closer.
func (*requestBody) Close() error { return nil }

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeHeaderLocked(status)
}

func (r *recorder) writeHeaderLocked(status int) {
	switch {
	case r.status != 0 || r.hijacked:
	case status < 100 || status > 999: // as net/http does
		panic(fmt.Sprintf("idempotencyhttp: invalid WriteHeader code %d", status))
	case status >= 100 && status < 200:
		if !r.gone {
			var now fields
			now.take(r.header)
			now.copyTo(r.w.Header())
			r.w.WriteHeader(status) // informational: not part of the response
		}
	default:
		r.status = status
		r.written.take(r.header)
	}
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hijacked {
		return 0, http.ErrHijacked
	}
	r.writeHeaderLocked(http.StatusOK)
	if !bodyAllowed(r.status) && len(p) > 0 {
		return 0, http.ErrBodyNotAllowed
	}
	if r.direct == "" && int64(r.body.Len()+len(p)) > r.limit {
		if err := r.goDirectLocked("the response is larger than MaxBody"); err != nil {
			return 0, err
		}
	}
	if r.direct == "" {
		return r.body.Write(p)
	}
	if r.gone {
		return 0, errGone
	}
	return r.w.Write(p)
}

// goDirectLocked sends what is held back and lets the rest pass.
func (r *recorder) goDirectLocked(why string) error {
	if r.direct != "" {
		return nil
	}
	r.direct = why
	r.writeHeaderLocked(http.StatusOK)
	if r.gone {
		r.body.Reset()
		return nil
	}
	return r.sendLocked()
}

// FlushError implements what [http.ResponseController] asks for.
func (r *recorder) FlushError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hijacked {
		return http.ErrHijacked
	}
	if err := r.goDirectLocked("the response was streamed"); err != nil {
		return err
	}
	if r.gone {
		return errGone
	}
	return http.NewResponseController(r.w).Flush()
}

// Flush implements [http.Flusher].
func (r *recorder) Flush() { _ = r.FlushError() }

// Hijack implements [http.Hijacker].
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil, nil, errGone
	}
	conn, rw, err := http.NewResponseController(r.w).Hijack()
	if err == nil {
		r.direct, r.hijacked, r.answered = "the connection was hijacked", true, true
		if r.status == 0 {
			r.status = http.StatusOK
		}
	}
	return conn, rw, err
}

// SetReadDeadline, SetWriteDeadline and EnableFullDuplex implement what [http.ResponseController] asks for.
func (r *recorder) SetReadDeadline(t time.Time) error {
	return r.control(func(c *http.ResponseController) error { return c.SetReadDeadline(t) })
}

// SetWriteDeadline sets the deadline for writing to the client.
func (r *recorder) SetWriteDeadline(t time.Time) error {
	return r.control(func(c *http.ResponseController) error { return c.SetWriteDeadline(t) })
}

// EnableFullDuplex has nothing to do: the request body has been read.
func (r *recorder) EnableFullDuplex() error { return nil }

func (r *recorder) control(do func(*http.ResponseController) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return errGone
	}
	return do(http.NewResponseController(r.w))
}

// ReportOutcome says that the response stands for err, whose marks then decide what becomes of the key. Helpers that turn
// errors into responses call it on the first ResponseWriter that has it, along Unwrap methods.
func (r *recorder) ReportOutcome(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// leave ends the request: the handler may run on, but reaches the client no more. answered says that the client has
// had an answer, or part of one.
func (r *recorder) leave() (answered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	return r.answered
}

// send gives the client what was held back.
func (r *recorder) send() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.answered {
		_ = r.sendLocked() // the client may have gone
	}
	if !r.hijacked {
		r.copyTrailersLocked()
	}
}

func (r *recorder) sendLocked() error {
	r.answered = true
	r.written.copyTo(r.w.Header())
	r.w.WriteHeader(r.status)
	_, err := r.w.Write(r.body.Bytes())
	r.body = bytes.Buffer{}
	if errors.Is(err, http.ErrBodyNotAllowed) {
		return nil
	}
	return err
}

// copyTrailersLocked passes on what the handler set after its header was written.
func (r *recorder) copyTrailersLocked() {
	for name, values := range r.header {
		if r.written.get(name) == nil {
			r.w.Header()[name] = values
		}
	}
}

// notStored ends a guarded call whose response is not stored. Its marks say what becomes of the key.
type notStored struct {
	why             string
	notRun, unknown bool
}

func (e *notStored) Error() string        { return "idempotencyhttp: " + e.why }
func (e *notStored) NotRun() bool         { return e.notRun }
func (e *notStored) OutcomeUnknown() bool { return e.unknown }

// finish returns what is to be stored of the response.
func (r *recorder) finish(stored func(int) bool) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeHeaderLocked(http.StatusOK)
	if err := verdict(r.status, r.err, stored); err != nil {
		return nil, err
	}
	if r.direct != "" {
		return encode(r.status, nil, r.direct, nil), nil
	}
	return encode(r.status, r.ownFieldsLocked(), "", r.body.Bytes()), nil
}

// verdict returns nil if a response is stored.
func verdict(status int, reported error, stored func(int) bool) error {
	if reported != nil {
		switch outcome.Of(reported) {
		case outcome.NotRun:
			return &notStored{why: "nothing ran", notRun: true}
		case outcome.Unknown:
			return &notStored{why: "the outcome is unknown", unknown: true}
		}
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &notStored{why: "a response to be asked for again", notRun: true}
	}
	if stored == nil {
		stored = func(status int) bool { return status < 500 }
	}
	switch {
	case stored(status):
		return nil
	case status >= 500:
		return &notStored{why: "a server error", unknown: true}
	}
	return &notStored{why: "Config.Stored says no", notRun: true}
}

// perConnection are headers of one exchange, not of the response.
var perConnection = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Date", "Content-Length"}

// ownFieldsLocked is the handler's header without what outer handlers had set, who will set it again.
func (r *recorder) ownFieldsLocked() *fields {
	own := &fields{}
	own.all = own.room[:0]
	for i := range r.written.all {
		if f := &r.written.all[i]; !slices.Contains(perConnection, f.name) && !strings.HasPrefix(f.name, http.TrailerPrefix) && !r.setBefore(f) {
			own.all = append(own.all, *f)
		}
	}
	return own
}

func (r *recorder) setBefore(f *field) bool {
	before := r.before.get(f.name)
	return before != nil && slices.Equal(before.values(), f.values())
}
