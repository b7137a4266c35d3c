package page_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/page"
)

// A pipes is a listener in memory, so that connections live in the bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	close(l.done)
	return nil
}
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// dial connects a client. A pipe has no buffer: a client that does not read takes nothing.
func (l *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours, nil
}

// A served is a running page behind a server.
type served struct {
	*pipes
	stop   context.CancelFunc // ends Run
	server *http.Server
}

// streaming returns a page that is served, in the bubble of t, with which it ends: first Run, then the server, which must
// find no stream that is left.
func streaming(t *testing.T, cfg page.Config) *served {
	t.Helper()
	p := newPage(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	s := &served{&pipes{make(chan net.Conn), make(chan struct{})}, stop, &http.Server{Handler: p, ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second}}
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx) }()
	go func() { ended <- s.server.Serve(s.pipes) }()
	t.Cleanup(func() {
		stop()
		shutdown, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.server.Shutdown(shutdown); err != nil {
			t.Errorf("Shutdown = %v: a stream did not end with Run", err)
			_ = s.server.Close()
		}
		for range 2 {
			if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	synctest.Wait()
	return s
}

// A watcher is a browser's stream.
type watcher struct {
	t     *testing.T
	lines *bufio.Scanner
	close func()
}

// A message is one server-sent event.
type message struct{ id, kind, data string }

// watch opens a stream that has seen the frame last.
func (s *served) watch(t *testing.T, last string) *watcher {
	t.Helper()
	transport := &http.Transport{DialContext: s.dial}
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://orders.test/events", nil)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	response, err := transport.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET /events = %v, %v", response, err)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return &watcher{t, lines, func() {
		cancel()
		_ = response.Body.Close()
		transport.CloseIdleConnections()
		synctest.Wait()
	}}
}

// next returns the next event, none when the stream has ended.
func (w *watcher) next() (m message, ok bool) {
	for w.lines.Scan() {
		switch name, value, _ := strings.Cut(w.lines.Text(), ": "); name {
		case "id":
			m.id = value
		case "event":
			m.kind = value
		case "data":
			m.data = value
		case "":
			if m.kind != "" {
				return m, true
			}
		}
	}
	return m, false
}

// want reads the next event, which must be of a kind.
func (w *watcher) want(kind string) message {
	w.t.Helper()
	m, ok := w.next()
	if !ok || m.kind != kind {
		w.t.Fatalf("the next event is %v, %v, want %s", m, ok, kind)
	}
	return m
}

func TestStreamBeginsWithASnapshotAndGoesOnWithChanges(t *testing.T) {
	faults := atomic.Pointer[[]page.Fault]{}
	cfg := page.Config{State: func() page.State {
		s := page.State{Regions: []page.Region{{Name: east}}}
		if f := faults.Load(); f != nil {
			s.Faults = *f
		}
		return s
	}}
	synctest.Test(t, func(t *testing.T) {
		log := page.NewLog(0)
		cfg.Events = log
		s := streaming(t, cfg)
		w := s.watch(t, "")
		defer w.close()
		first := w.want("snapshot")
		var snapshot struct {
			Regions []struct{ Name string }
			Series  map[string][][]float64
		}
		if err := json.Unmarshal([]byte(first.data), &snapshot); err != nil || len(snapshot.Regions) != 1 || len(snapshot.Series[east]) != 1 {
			t.Fatalf("snapshot %s: %v, want one Region with a point", first.data, err)
		}
		start := time.Now()
		quiet := w.want("change")
		if strings.Contains(quiet.data, `"faults"`) || !strings.Contains(quiet.data, `"points"`) || time.Since(start) != time.Second {
			t.Errorf("a second in which nothing changed came after %v as %s, want points only after 1s", time.Since(start), quiet.data)
		}
		faults.Store(&[]page.Fault{{ID: "sqs", Label: "SQS"}})
		if m := w.want("change"); !strings.Contains(m.data, `"faults":[{"id":"sqs"`) {
			t.Errorf("a new fault came as %s", m.data)
		}
		log.Add(page.Event{Text: "something happened"})
		if m := w.want("events"); !strings.Contains(m.data, `"something happened"`) || m.id <= quiet.id {
			t.Errorf("an event came as %v after %v", m, quiet.id)
		}
	})
}

func TestStreamResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := streaming(t, page.Config{State: emptyState})
		w := s.watch(t, "")
		w.want("snapshot")
		last := w.want("change")
		w.close()
		time.Sleep(3500 * time.Millisecond) // three seconds are missed

		w = s.watch(t, last.id)
		for i := range 3 {
			if m := w.want("change"); m.id != after(last.id, i+1) {
				t.Errorf("missed frame %d is %s, want %s", i, m.id, after(last.id, i+1))
			}
		}
		w.close()
		for name, id := range map[string]string{
			"of another process": "ABCDEFGH-3", "from the future": after(last.id, 10_000), "nonsense": "x", "huge": last.id + "99999999999999999999", "negative": after(last.id, -1000),
		} {
			w = s.watch(t, id)
			if m, ok := w.next(); !ok || m.kind != "snapshot" {
				t.Errorf("an ID %s (%s) was answered with %v, want a snapshot", name, id, m)
			}
			w.close()
		}
		time.Sleep(300 * time.Second) // more than the ring holds
		w = s.watch(t, last.id)
		w.want("snapshot")
		w.want("change")
		w.close()
	})
}

// after is the ID that comes n frames after id.
func after(id string, n int) string {
	boot, number, _ := strings.Cut(id, "-")
	var i int
	_, _ = fmt.Sscan(number, &i)
	return fmt.Sprintf("%s-%d", boot, i+n)
}

func TestQuietStreamBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, calls := make(chan struct{}), 0
		s := streaming(t, page.Config{State: func() page.State {
			if calls++; calls > 1 {
				<-hang
			}
			return page.State{}
		}})
		w := s.watch(t, "")
		defer w.close()
		w.want("snapshot")
		if m := w.want("change"); !strings.Contains(m.data, "has not been answered since") {
			t.Errorf("a State that hangs is told as %s", m.data)
		}
		told := time.Now()
		for i := range 3 {
			if m, want := w.want("beat"), time.Duration(i+1)*15*time.Second; time.Since(told) != want || m.id != "" {
				t.Errorf("beat %d after %v with ID %q, want after %v without", i, time.Since(told), m.id, want)
			}
		}
		close(hang)
		if m := w.want("change"); !strings.Contains(m.data, `"trouble":""`) {
			t.Errorf("a State that answers again is told as %s", m.data)
		}
	})
}

func TestPanickingStateIsShownAndEndsNothing(t *testing.T) {
	calls := 0
	cfg := page.Config{State: func() page.State {
		if calls++; calls == 2 || calls == 3 {
			panic("no figures today")
		}
		return page.State{Regions: []page.Region{{Name: east}}}
	}}
	synctest.Test(t, func(t *testing.T) {
		s := streaming(t, cfg)
		w := s.watch(t, "")
		defer w.close()
		if m := w.want("snapshot"); !strings.Contains(m.data, east) {
			t.Errorf("snapshot %s", m.data)
		}
		if m := w.want("change"); !strings.Contains(m.data, "no figures today") {
			t.Errorf("a panic is told as %s", m.data)
		}
		late := s.watch(t, "")
		defer late.close()
		if m := late.want("snapshot"); !strings.Contains(m.data, "no figures today") || !strings.Contains(m.data, east) {
			t.Errorf("who comes meanwhile sees %s, want the last figures and why they are old", m.data)
		}
		if m := w.want("change"); !strings.Contains(m.data, `"trouble":""`) { // the second panic was no news
			t.Errorf("after the panics: %s", m.data)
		}
	})
}

func TestSlowClientHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := streaming(t, page.Config{State: emptyState, MaxStreams: 2})
		slow, err := s.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = slow.Close() }()
		if _, err := fmt.Fprint(slow, "GET /events HTTP/1.1\r\nHost: orders.test\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it never reads: the server's first write blocks
		quick := s.watch(t, "")
		defer quick.close()
		quick.want("snapshot")
		start := time.Now()
		for i := range 9 {
			if quick.want("change"); time.Since(start) != time.Duration(i+1)*time.Second {
				t.Fatalf("change %d came after %v beside a slow client, want one a second", i, time.Since(start))
			}
		}
		if status := s.status(t); status != http.StatusServiceUnavailable {
			t.Errorf("a third stream = %d, want 503: there is room for 2", status)
		}
		time.Sleep(1100 * time.Millisecond) // 10 s since the write began
		if status := s.status(t); status != http.StatusOK {
			t.Errorf("a stream after the slow one was cut off = %d, want 200", status)
		}
	})
}

// status opens a stream and hangs up.
func (s *served) status(t *testing.T) int {
	t.Helper()
	transport := &http.Transport{DialContext: s.dial}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://orders.test/events", nil)
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	transport.CloseIdleConnections()
	if response.StatusCode != http.StatusOK && response.Header.Get("Retry-After") == "" {
		t.Errorf("status %d without Retry-After", response.StatusCode)
	}
	synctest.Wait()
	return response.StatusCode
}

func TestStreamsEndWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := streaming(t, page.Config{State: emptyState})
		w := s.watch(t, "")
		defer w.close()
		w.want("snapshot")
		s.stop()
		w.want("bye")
		if m, ok := w.next(); ok {
			t.Errorf("after the end came %v", m)
		}
		if status := s.status(t); status != http.StatusServiceUnavailable {
			t.Errorf("a stream after Run ended = %d, want 503", status)
		}
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := running(t, page.Config{State: emptyState})
		if err := p.Run(t.Context()); !errors.Is(err, page.ErrRunTwice) {
			t.Errorf("the second Run = %v, want ErrRunTwice", err)
		}
	})
}

func TestStateThatHangsDoesNotHoldRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		p := newPage(t, page.Config{State: func() page.State {
			<-hang
			return page.State{}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		close(hang)
	})
}
