package failoverhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// An Endpoint is a service in one Region.
type Endpoint struct {
	Base *url.URL          // scheme, host and path prefix in this Region
	RT   http.RoundTripper // nil means http.DefaultTransport
}

// Probe asks path of an endpoint and expects a status below 400. It is for [failover.Member].
func Probe(path string) func(context.Context, Endpoint) error {
	return func(ctx context.Context, e Endpoint) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.Base.JoinPath(path).String(), nil)
		if err != nil {
			return err
		}
		res, err := e.transport().RoundTrip(req)
		if err != nil {
			return err
		}
		discard(res)
		if res.StatusCode >= 400 {
			return fmt.Errorf("failoverhttp: probe of %s: %s", e.Base.Host, res.Status)
		}
		return nil
	}
}

// Drain closes the idle connections of an endpoint whose Region was switched away. It is for [failover.Member].
func Drain(_ context.Context, e Endpoint) error {
	if t, ok := e.transport().(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}

func (e Endpoint) transport() http.RoundTripper {
	if e.RT == nil {
		return http.DefaultTransport
	}
	return e.RT
}

// Transport is an [http.RoundTripper] over Regions: scheme, host and path prefix of a request's URL are those of the Region's [Endpoint].
// GET, HEAD, OPTIONS and TRACE are reads: they go to the nearest usable Region and, when that does not answer, on to the next. All other
// methods are writes: they go to the writer Region, if this process may write, with [HeaderEpoch], and are never repeated in another
// Region. Make its client with Classify of this package.
//
// The body of an answer to a write is read whole before RoundTrip returns, because the write's lease covers it.
type Transport struct {
	Client *failover.Client[Endpoint]

	// MaxResponse bounds the body of an answer to a write in bytes. Zero means 8 MiB. More is an unknown outcome.
	MaxResponse int64
}

var readMethods = []string{"", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}

// RoundTrip implements [http.RoundTripper]. An answer of a Region is returned as it is, also a 503 when no other Region was left.
// Errors: those of [failover.Read] and [failover.Write].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if slices.Contains(readMethods, req.Method) {
		return t.read(req)
	}
	return t.write(req)
}

func (t *Transport) read(req *http.Request) (*http.Response, error) {
	var refused *http.Response // the answer of the Region before
	runs := 0
	res, err := failover.Read(req.Context(), t.Client, func(ctx context.Context, e Endpoint) (*http.Response, error) {
		discard(refused)
		refused = nil
		res, err := send(ctx, req, e, runs)
		runs++
		if err == nil && classOf(res) != failover.ClassOK {
			refused = res
			return res, &StatusError{Response: res}
		}
		return res, err
	})
	if err != nil && refused != nil {
		return refused, nil
	}
	return res, err
}

func (t *Transport) write(req *http.Request) (*http.Response, error) {
	limit := t.MaxResponse
	if limit == 0 {
		limit = 8 << 20
	}
	runs := 0
	res, err := failover.Write(req.Context(), t.Client, func(ctx context.Context, e Endpoint, f failover.Fence) (*http.Response, error) {
		out := req.Clone(ctx)
		out.Header.Set(HeaderEpoch, f.Token())
		res, err := send(ctx, out, e, runs)
		runs++
		if err != nil {
			return nil, err
		}
		if err := whole(res, limit); err != nil {
			return nil, err
		}
		if classOf(res) != failover.ClassOK {
			return res, &StatusError{Response: res}
		}
		return res, nil
	})
	if runs == 0 && req.Body != nil {
		req.Body.Close() // a RoundTripper closes it always
	}
	if status, ok := errors.AsType[*StatusError](err); ok && outcome.Of(err) != outcome.Unknown {
		return status.Response, nil
	}
	return res, err
}

// whole reads res.Body into memory.
func whole(res *http.Response, limit int64) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	res.Body.Close()
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("failoverhttp: the answer is larger than %d bytes: %w", limit, io.ErrUnexpectedEOF)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// send sends a copy of req to e. A body can be sent again only with GetBody.
func send(ctx context.Context, req *http.Request, e Endpoint, run int) (*http.Response, error) {
	out := req.Clone(ctx)
	if run > 0 && req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, errNoSecondBody
		}
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	out.URL.Scheme, out.URL.Host, out.Host = e.Base.Scheme, e.Base.Host, ""
	out.URL.Path, out.URL.RawPath = join(e.Base, req.URL)
	return e.transport().RoundTrip(out)
}

// join puts base's path before u's, which stays as it is: a store's keys may hold "//" and "..".
func join(base, u *url.URL) (path, raw string) {
	prefix := strings.TrimSuffix(base.Path, "/")
	if prefix == "" {
		return u.Path, u.RawPath
	}
	slash := ""
	if !strings.HasPrefix(u.Path, "/") {
		slash = "/"
	}
	path, raw = prefix+slash+u.Path, strings.TrimSuffix(base.EscapedPath(), "/")+slash+u.EscapedPath()
	return path, raw
}

var errNoSecondBody = &bodyError{}

// A bodyError refuses to send a body that cannot be read twice.
type bodyError struct{}

func (*bodyError) Error() string {
	return "failoverhttp: the request's body cannot be sent twice: it has no GetBody"
}
func (*bodyError) NotRun() bool         { return true }
func (*bodyError) OutcomeUnknown() bool { return false }
func (*bodyError) LocalRefusal() bool   { return true }

// drainFor is how long the rest of an answer that nobody wants may take. A Region that is in trouble may never end it.
const drainFor = 100 * time.Millisecond

// discard reads a little and closes, so that the connection can be used again.
func discard(res *http.Response) {
	if res == nil {
		return
	}
	late := time.AfterFunc(drainFor, func() { res.Body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	res.Body.Close()
}

// A StatusError stands for an answer whose status speaks against the Region.
type StatusError struct{ Response *http.Response }

// Error names the status.
func (e *StatusError) Error() string { return "failoverhttp: " + e.Response.Status }

// Class is what the status means for routing.
func (e *StatusError) Class() failover.Class { return classOf(e.Response) }

// NotRun is true for refusals.
func (e *StatusError) NotRun() bool {
	return e.Class() == failover.ClassOverload || e.Class() == failover.ClassRejected
}

// OutcomeUnknown is true for statuses after which the request may have had its effect.
func (e *StatusError) OutcomeUnknown() bool { return e.Class() == failover.ClassUnknown }

// Classify is the ClientConfig.Classify for [Endpoint]s: 429 and 503 are overload, 412 with an epoch a rejection, other 5xx unknown; else as
// [failover.Classify].
func Classify(err error) failover.Class {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Class()
	}
	return failover.Classify(err)
}

func classOf(res *http.Response) failover.Class {
	switch {
	case res.StatusCode == http.StatusPreconditionFailed && res.Header.Get(HeaderEpoch) != "" && res.Request != nil && res.Request.Header.Get(HeaderEpoch) != "":
		return failover.ClassRejected
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusServiceUnavailable:
		return failover.ClassOverload
	case res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented:
		return failover.ClassUnknown
	}
	return failover.ClassOK
}
