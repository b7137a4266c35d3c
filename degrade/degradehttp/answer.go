package degradehttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/internal/request"
)

// exchange is one request's context and its answer, in one allocation.
type exchange struct {
	http.ResponseWriter
	request request.Context
	feature *degrade.Feature
	began   bool
}

// HeaderDegradation is the structured field (a list of tokens, RFC 9651) that says what of an answer is not the real thing.
const HeaderDegradation = "Degradation"

func (e *exchange) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols { // others are followed by the answer itself
		e.begin()
	}
	e.ResponseWriter.WriteHeader(status)
}

func (e *exchange) Write(p []byte) (int, error) {
	e.begin()
	return e.ResponseWriter.Write(p)
}

// ReadFrom keeps the server's way to send a file without copying it.
func (e *exchange) ReadFrom(r io.Reader) (int64, error) {
	e.begin()
	return io.Copy(e.ResponseWriter, r)
}

// Flush implements [http.Flusher] as far as the writer below does.
func (e *exchange) Flush() { _ = e.FlushError() }

// FlushError is what [http.ResponseController] looks for.
func (e *exchange) FlushError() error {
	e.begin()
	return http.NewResponseController(e.ResponseWriter).Flush()
}

// Hijack implements [http.Hijacker] as far as the writer below does.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	e.began = true
	return http.NewResponseController(e.ResponseWriter).Hijack()
}

// Unwrap is for [http.ResponseController].
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// begin writes the fields that mark a degraded answer, before its head is sent.
func (e *exchange) begin() {
	if e.began {
		return
	}
	e.began = true
	level, notes := e.feature.LevelIn(&e.request), e.request.Notes()
	if level == degrade.Normal && len(notes) == 0 {
		return
	}
	items := make([]string, 0, 1+len(notes))
	if level > degrade.Normal {
		items = append(items, e.feature.Name()+";level="+level.String())
	}
	var age, beyond time.Duration
	for _, n := range notes {
		items = append(items, item(n))
		age, beyond = max(age, n.Age), max(beyond, n.Beyond)
	}
	h := e.Header()
	h.Add(HeaderDegradation, strings.Join(items, ", "))
	if age > 0 {
		h.Set("Age", seconds(age))
		h.Add("Cache-Status", "holdfast; hit; ttl=-"+seconds(beyond))
	}
}

func item(n request.Note) string {
	s := n.Name + ";source=" + n.Source
	if n.Age > 0 {
		s += ";age=" + seconds(n.Age)
	}
	return s
}

// seconds rounds down, as Age does.
func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
