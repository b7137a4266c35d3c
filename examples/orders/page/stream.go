package page

import (
	"bytes"
	"fmt"
	"net/http"
	"time"
)

// retryAfter is what a browser that finds no room, or no Run, is told, in seconds.
const retryAfter = "5"

// stream answers GET /events. The last frame seen comes from Last-Event-ID, or from the parameter last: a browser that opens
// a new stream itself cannot set the header.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case <-p.done:
		w.Header().Set("Retry-After", retryAfter)
		refuse(w, r, http.StatusServiceUnavailable, "The service is stopping", "")
		return
	default:
	}
	if !p.feed.enter(p.cfg.MaxStreams) {
		w.Header().Set("Retry-After", retryAfter)
		refuse(w, r, http.StatusServiceUnavailable, "Too many watch already", fmt.Sprintf("there is room for %d", p.cfg.MaxStreams))
		return
	}
	defer p.feed.leave()
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("last")
	}
	s := streamTo(w, p.cfg.WriteTimeout)
	p.follow(r, s, p.feed.resume(last))
}

// follow sends frames and beats until the client goes away, does not keep up, or Run ends.
func (p *Page) follow(r *http.Request, s *stream, number uint64) {
	beat := time.NewTicker(p.cfg.Heartbeat)
	defer beat.Stop()
	if s.send("retry: 1000\n\n") != nil {
		return
	}
	for {
		frames, more := p.feed.after(number)
		for _, f := range frames {
			if s.send("id: %s\nevent: %s\ndata: %s\n\n", p.feed.id(f.number), f.kind, f.data) != nil {
				return
			}
			number = f.number
		}
		if len(frames) > 0 {
			beat.Reset(p.cfg.Heartbeat)
		}
		select {
		case <-more:
		case <-beat.C:
			// An event and no comment: the page's script must see it to know that the connection lives.
			if s.send("event: beat\ndata: 1\n\n") != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-p.done:
			_ = s.send("event: bye\ndata: 1\n\n") // it ends anyway
			return
		}
	}
}

// A stream writes to one client, each time with a deadline.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	buf     bytes.Buffer
}

// streamTo begins the answer.
func streamTo(w http.ResponseWriter, timeout time.Duration) *stream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that follow nginx would hold frames back
	return &stream{w: w, control: http.NewResponseController(w), timeout: timeout}
}

func (s *stream) send(format string, args ...any) error {
	s.buf.Reset()
	fmt.Fprintf(&s.buf, format, args...)
	_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout)) // replaces the server's WriteTimeout; not every writer has one
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	return s.control.Flush()
}
