package drtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// discardLog swallows what net/http says about connections that faults broke.
var discardLog = log.New(io.Discard, "", 0)

// Transport returns a new RoundTripper for a client in the Region, with a connection pool of its own. Two
// clients that are to fail apart need two.
func (r *Region) Transport() http.RoundTripper {
	if r.w.config.Fidelity == FidelityMessages {
		return &counter{r.w, &messenger{from: r, routes: map[*endpoint]simnet.Route{}}}
	}
	tr := &http.Transport{
		DialContext: r.DialContext, TLSClientConfig: authority().ClientTLS(), ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: idleTimeout, TLSHandshakeTimeout: handshakeTimeout,
	}
	r.OnClose(tr.CloseIdleConnections)
	return &counter{r.w, tr}
}

// A counter tells the operation in whose name a request is sent about the attempt and about who answered.
type counter struct {
	w    *World
	base http.RoundTripper
}

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	op, ok := OpFrom(req.Context())
	if !ok {
		c.w.history.AddRequest(req.URL.Hostname(), c.w.now(), 1)
		return c.base.RoundTrip(req)
	}
	c.w.history.AddRequest(req.URL.Hostname(), c.w.now(), float64(op.weight))
	op.Attempt()
	resp, err := c.base.RoundTrip(req)
	if err == nil {
		if e := c.w.find(req); e != nil {
			op.Served(e.region.name)
		}
	}
	return resp, err
}

// CloseIdleConnections closes the pool, as [http.Client.CloseIdleConnections] asks for.
func (c *counter) CloseIdleConnections() {
	if pool, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		pool.CloseIdleConnections()
	}
}

// What a pool keeps: net/http's own defaults, but for more idle connections per host, as SDKs have.
const (
	idlePerHost      = 100
	idleTimeout      = 90 * time.Second
	handshakeTimeout = 10 * time.Second
)

// HTTPClient returns a new client over [Region.Transport], without a time-out of its own.
func (r *Region) HTTPClient() *http.Client { return &http.Client{Transport: r.Transport()} }

// An endpoint is a host that serves HTTP.
type endpoint struct {
	region  *Region
	host    string
	handler http.Handler
	tls     *tlsHost // nil = plain
}

func (w *World) addEndpoint(address string, e *endpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endpoints[address] = e
	w.hosts[e.host] = true
}

// find returns the endpoint of a request.
func (w *World) find(req *http.Request) *endpoint {
	address := req.URL.Host
	if req.URL.Port() == "" {
		port := "80"
		if req.URL.Scheme == "https" {
			port = "443"
		}
		address = net.JoinHostPort(req.URL.Hostname(), port)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endpoints[address]
}

// A messenger carries requests as single messages.
type messenger struct {
	from *Region

	mu     sync.Mutex // guards routes
	routes map[*endpoint]simnet.Route
}

// route returns the way to an endpoint.
func (m *messenger) route(e *endpoint) simnet.Route {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.routes[e]
	if !ok {
		r = m.from.w.net.Route(m.from.name, e.region.name)
		m.routes[e] = r
	}
	return r
}

// RoundTrip hands the request to the handler of its host after the way there, and returns the answer after
// the way back. Like a real server, the handler goes on when the client has gone away; its context ends
// then if the network can still tell.
func (m *messenger) RoundTrip(req *http.Request) (*http.Response, error) {
	w := m.from.w
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
	}
	e := w.find(req)
	if e == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: req.URL.Host, IsNotFound: true}}
	}
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	ctx, there := req.Context(), m.route(e)
	if err := m.connect(ctx, e, there); err != nil {
		return nil, err
	}
	if err := there.Carry(ctx, messageOverhead+len(body)); err != nil {
		return nil, err
	}
	rec := newRecorder()
	if err := e.answer(ctx, m.from.lifetime(), there, rec, req, body); err != nil {
		return nil, err
	}
	if err := there.Back(m.from.name).Carry(ctx, messageOverhead+rec.body.Len()); err != nil {
		return nil, err
	}
	return rec.response(req), nil
}

// connect returns the error that a new connection would meet before its first request. Messages have no
// connections: each meets it.
func (m *messenger) connect(ctx context.Context, e *endpoint, there simnet.Route) error {
	if err := m.from.w.net.LookupName(ctx, m.from.name, e.host); err != nil {
		return &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	if m.from.w.net.HostDown(e.host) {
		return there.Refuse(ctx)
	}
	if e.tls != nil {
		return e.tls.handshake(ctx)
	}
	return nil
}

// messageOverhead is what headers add to a message.
const messageOverhead = 400

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	return io.ReadAll(req.Body)
}

var (
	errAborted       = errors.New("drtest: handler aborted the response")
	errCut     error = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
)

// answer runs the handler on a goroutine of its own and waits for it, for the end of ctx, or for that of the Region that asked: nobody is there then
// to wait.
func (e *endpoint) answer(ctx, asker context.Context, there simnet.Route, rec *recorder, req *http.Request, body []byte) error {
	served := make(chan error, 1)
	serverCtx, cancel := context.WithCancel(e.region.lifetime())
	in := incoming(serverCtx, req, body)
	e.region.w.workers.run(func() {
		defer cancel()
		defer func() {
			if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // a panic with this very value, as for net/http
				served <- errCut
			} else if p != nil {
				served <- fmt.Errorf("%w: %v", errAborted, p)
			}
		}()
		e.ServeHTTP(rec, in)
		served <- nil
	})
	select {
	case err := <-served:
		return err
	case <-asker.Done():
		return errCut
	case <-ctx.Done():
		if there.Up() {
			cancel()
		}
		return ctx.Err()
	}
}

// incoming returns the request as the server sees it.
func incoming(ctx context.Context, req *http.Request, body []byte) *http.Request {
	in := req.WithContext(ctx)
	in.RequestURI = req.URL.RequestURI()
	in.RemoteAddr = "100.64.0.1:32768"
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	in.Header = cloneHeader(req.Header) // the client may go on to use its own
	in.Body = http.NoBody
	if body != nil {
		in.Body = io.NopCloser(bytes.NewReader(body))
	}
	in.ContentLength = int64(len(body))
	return in
}

func cloneHeader(h http.Header) http.Header {
	if h == nil {
		return http.Header{}
	}
	return h.Clone()
}

// A recorder is the ResponseWriter of a message.
type recorder struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// Flush does nothing: a message arrives whole.
func (r *recorder) Flush() {}

func (r *recorder) response(req *http.Request) *http.Response {
	r.WriteHeader(http.StatusOK)
	return &http.Response{
		StatusCode: r.status, Status: fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.header, Body: io.NopCloser(&r.body), ContentLength: int64(r.body.Len()), Request: req,
	}
}
