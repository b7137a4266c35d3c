package idempotencyhttp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// A recorder is one guarded request, and the ResponseWriter of its handler. It holds the response back until it is stored, unless the handler
// flushes, hijacks or writes too much. The handler may outlive the request; after leave nothing reaches the client.
type recorder struct {
	limit   int64
	header  http.Header // the handler's; its own goroutine's until finish
	before  fields      // what outer handlers had set
	err     error       // reported by ReportOutcome
	request requestBody // what the handler reads

	// Room for what most requests have, so that it takes no memory of its own.
	values      [4]string // of header
	beforeRoom  [3]field
	writtenRoom [6]field
	room        [768]byte // for the body of the request, then what is held back, then what is stored

	mu       sync.Mutex // guards the following and every use of w: ServeHTTP must not return during one
	w        http.ResponseWriter
	gone     bool   // the request has ended
	status   int    // 0 until written
	written  fields // header as it was then
	body     bytes.Buffer
	direct   string // why the response goes to the client directly; "" while it is held back
	hijacked bool
	answered bool // w has been written to
	finished bool // the handler has returned: what is held back is the response, and what is stored lies behind it
}

var errGone = errors.New("idempotencyhttp: the client has gone, or the handler has returned")

func newRecorder(w http.ResponseWriter, limit int64) *recorder {
	r := &recorder{limit: limit, w: w}
	r.before = take(w.Header(), r.beforeRoom[:])
	r.header = r.before.header(r.values[:0])
	return r
}

// read reads the body of req, of at most limit bytes.
func (r *recorder) read(req *http.Request) (body []byte, err error) {
	length := min(req.ContentLength, r.limit)
	if length < 0 || length > int64(len(r.room)) {
		return readAll(http.MaxBytesReader(r.w, req.Body, r.limit), length)
	}
	room := r.room[:min(int64(len(r.room)), r.limit)]
	n, err := fill(room, req.Body)
	body = room[:n:n]
	r.body = *bytes.NewBuffer(r.room[n:n])
	switch err {
	case io.EOF: //nolint:errorlint // fill returns them bare
		return body, nil
	case nil: // it is longer than it said
		rest, err := io.ReadAll(http.MaxBytesReader(r.w, req.Body, r.limit-int64(n)))
		return append(body, rest...), err
	}
	return nil, err
}

// fill reads until room is full or body ends, with io.EOF or another error.
func fill(room []byte, body io.Reader) (n int, err error) {
	for n < len(room) && err == nil {
		var more int
		more, err = body.Read(room[n:])
		n += more
	}
	return n, err
}

// readAll is io.ReadAll of a body that says how long it is; negative means that it does not.
func readAll(body io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(body)
	}
	b := bytes.NewBuffer(make([]byte, 0, min(length, maxTrusted)+bytes.MinRead)) // room to see the end
	_, err := b.ReadFrom(body)
	return b.Bytes(), err
}

// maxTrusted is how much memory a request gets for saying that it will be long.
const maxTrusted = 64 << 10

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
			take(r.header, nil).copyTo(r.w.Header())
			r.w.WriteHeader(status) // informational: not part of the response
		}
	default:
		r.status = status
		r.written = take(r.header, r.writtenRoom[:])
	}
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hijacked {
		return 0, http.ErrHijacked
	}
	if r.finished && r.direct == "" {
		return 0, errGone
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
	r.finished = true
	if err := verdict(r.status, r.err, stored); err != nil {
		return nil, err
	}
	if r.direct != "" {
		return encode(nil, r.status, nil, r.direct, nil), nil
	}
	return encode(r.body.AvailableBuffer(), r.status, r.ownFieldsLocked(), "", r.body.Bytes()), nil
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

// ownFieldsLocked returns the handler's header without what outer handlers had set, who will set it again. These fields then are the first of written.
func (r *recorder) ownFieldsLocked() fields {
	own := 0
	for i := range r.written {
		if f := &r.written[i]; !slices.Contains(perConnection, f.name) && !strings.HasPrefix(f.name, http.TrailerPrefix) && !r.setBefore(f) {
			r.written[own], r.written[i] = r.written[i], r.written[own]
			own++
		}
	}
	return r.written[:own]
}

func (r *recorder) setBefore(f *field) bool {
	before := r.before.get(f.name)
	return before != nil && slices.Equal(before.values(), f.values())
}
