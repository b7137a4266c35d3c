package outcome

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"time"
)

// marked is an error with both outcome methods.
type marked struct{ notRun, unknown bool }

func (m marked) Error() string        { return fmt.Sprintf("marked %v %v", m.notRun, m.unknown) }
func (m marked) NotRun() bool         { return m.notRun }
func (m marked) OutcomeUnknown() bool { return m.unknown }

// wrapped is a marked error around another one.
type wrapped struct {
	marked
	err error
}

func (w wrapped) Unwrap() error { return w.err }

var (
	notRun   = marked{notRun: true}
	unknown  = marked{unknown: true}
	ran      = marked{}
	errPlain = errors.New("plain")
)

func TestOf(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	tests := []struct {
		name string
		err  error
		want Outcome
	}{
		{"nil", nil, Ran},
		{"unmarked", errPlain, Ran},
		{"marked not run", notRun, NotRun},
		{"marked unknown", unknown, Unknown},
		{"wrapped by fmt", fmt.Errorf("call: %w", notRun), NotRun},
		{"outermost mark wins over inner unknown", wrapped{notRun, unknown}, NotRun},
		{"outermost mark wins over inner not run", wrapped{unknown, notRun}, Unknown},
		{"outermost ran hides an inner mark", wrapped{ran, notRun}, Ran},
		{"outermost ran hides a standard error", wrapped{ran, io.EOF}, Ran},
		{"join of not run", errors.Join(notRun, dial), NotRun},
		{"join of not run and plain", errors.Join(notRun, errPlain), Ran},
		{"join with one unknown", errors.Join(notRun, errPlain, unknown), Unknown},
		{"join nested", fmt.Errorf("x: %w and %w", errors.Join(notRun), wrapped{notRun, io.EOF}), NotRun},
		{"mark around a join", wrapped{notRun, errors.Join(unknown, errPlain)}, NotRun},
		{"dial refused", dial, NotRun},
		{"dial timed out", &net.OpError{Op: "dial", Err: context.DeadlineExceeded}, NotRun},
		{"dial in url.Error", &url.Error{Op: "Post", Err: dial}, NotRun},
		{"DNS", &net.DNSError{Err: "no such host", IsNotFound: true}, NotRun},
		{"DNS time-out", &url.Error{Op: "Get", Err: &net.DNSError{IsTimeout: true}}, NotRun},
		{"certificate", &tls.CertificateVerificationError{Err: errPlain}, NotRun},
		{"not TLS", tls.RecordHeaderError{Msg: "x"}, NotRun},
		{"handshake alert", &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, NotRun},
		{"alert that data can cause", &net.OpError{Op: "remote error", Err: errors.New("tls: bad record MAC")}, Unknown},
		{"bad pooled SQL connection", driver.ErrBadConn, NotRun},
		{"EOF", io.EOF, Unknown},
		{"unexpected EOF", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), Unknown},
		{"reset", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, Unknown},
		{"broken pipe", syscall.EPIPE, Unknown},
		{"bare refused", syscall.ECONNREFUSED, NotRun},
		{"closed connection", net.ErrClosed, Unknown},
		{"deadline", context.DeadlineExceeded, Unknown},
		{"cancel", context.Canceled, Unknown},
		{"url.Error without a known cause", &url.Error{Op: "Get", Err: errPlain}, Unknown},
		{"url.Error never sent", &url.Error{Op: "Get", Err: errors.New(`unsupported protocol scheme ""`)}, NotRun},
		{"file error is not a lost call", syscall.ENOENT, Ran},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Of(tt.err); got != tt.want {
				t.Errorf("Of(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}

func TestMarkedIgnoresUnmarkedErrors(t *testing.T) {
	if o, ok := Marked(io.EOF); ok {
		t.Errorf("Marked(EOF) = %d, true, want false", o)
	}
	if o, ok := Marked(errors.Join(io.EOF, unknown)); !ok || o != Unknown {
		t.Errorf("Marked(join) = %d, %t, want Unknown, true", o, ok)
	}
}

func TestJoin(t *testing.T) {
	tests := []struct {
		in   []Outcome
		want Outcome
	}{
		{nil, NotRun},
		{[]Outcome{NotRun, NotRun}, NotRun},
		{[]Outcome{NotRun, Ran}, Ran},
		{[]Outcome{Unknown, NotRun}, Unknown},
		{[]Outcome{Ran, Unknown}, Unknown},
	}
	for _, tt := range tests {
		if got := Join(tt.in...); got != tt.want {
			t.Errorf("Join(%v) = %d, want %d", tt.in, got, tt.want)
		}
	}
}

type permanent bool

func (p permanent) Error() string   { return "permanent" }
func (p permanent) Permanent() bool { return bool(p) }

type after time.Duration

func (a after) Error() string             { return "later" }
func (a after) RetryAfter() time.Duration { return time.Duration(a) }

func TestPermanent(t *testing.T) {
	if !Permanent(fmt.Errorf("x: %w", permanent(true))) {
		t.Error("a wrapped mark is not seen")
	}
	if Permanent(fmt.Errorf("%w: %w", permanent(false), permanent(true))) {
		t.Error("the outermost answer does not win")
	}
	if Permanent(errPlain) || Permanent(nil) {
		t.Error("an unmarked error is permanent")
	}
}

func TestRetryAfter(t *testing.T) {
	if d, ok := RetryAfter(errors.Join(errPlain, after(time.Second))); !ok || d != time.Second {
		t.Errorf("RetryAfter = %v, %t, want 1s, true", d, ok)
	}
	if d, ok := RetryAfter(after(-time.Second)); !ok || d != 0 {
		t.Errorf("RetryAfter of a negative wait = %v, %t, want 0, true", d, ok)
	}
	if _, ok := RetryAfter(errPlain); ok {
		t.Error("a plain error asks for a wait")
	}
}

// The remaining tests provoke real errors, so that a new Go release that words them anew is noticed.

func TestRealDialRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = http.Get("http://" + addr)
	if got := Of(err); got != NotRun {
		t.Errorf("Of(%v) = %d, want NotRun", err, got)
	}
}

func TestRealTLSErrors(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()

	_, err := http.Get(server.URL)
	if got := Of(err); got != NotRun {
		t.Errorf("unknown authority: Of(%v) = %d, want NotRun", err, got)
	}
	_, err = server.Client().Get(server.URL)
	if got := Of(err); got != NotRun {
		t.Errorf("client certificate required: Of(%v) = %d, want NotRun", err, got)
	}
}

func TestRealConnectionLostAfterSend(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	}))
	defer server.Close()
	_, err := http.Post(server.URL, "text/plain", nil)
	if got := Of(err); got != Unknown {
		t.Errorf("Of(%v) = %d, want Unknown", err, got)
	}
}

func TestRealHandshakeTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts in the kernel's backlog and never answers
	client := http.Client{Transport: &http.Transport{TLSHandshakeTimeout: time.Millisecond}}
	_, err = client.Get("https://" + l.Addr().String())
	if got := Of(err); got != NotRun {
		t.Errorf("Of(%v) = %d, want NotRun", err, got)
	}
}
