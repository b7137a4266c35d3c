package failoverhttp

import (
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/holdfast-go/holdfast/failover"
)

// Elsewhere says what [WriterOnly] does with a request that belongs to another Region: [Reject503] or [Forward].
type Elsewhere struct {
	via  http.RoundTripper
	base func(failover.Region) *url.URL
}

// Reject503 answers 503 with Retry-After.
var Reject503 = Elsewhere{}

// Forward sends the request to the writer Region through rt, at the base that base returns for it; nil means none. A request is sent on
// once: one that arrives sent on, in a Region that is not the writer, is answered with 503. Its headers travel, an idempotency
// key among them, and the sender's epoch with it; X-Forwarded-For grows by the peer, X-Forwarded-Host and -Proto stay if a proxy in front has set
// them. A writer that knows a newer epoch than this process refuses: the client that brought none itself gets 503. An exchange that breaks
// after the request was sent is answered with 504: the outcome is unknown. With a nil base, Forward is Reject503.
func Forward(rt http.RoundTripper, base func(writer failover.Region) *url.URL) Elsewhere {
	if rt == nil {
		rt = http.DefaultTransport
	}
	return Elsewhere{via: rt, base: base}
}

// WriterOnly lets requests through while this process may write, and treats others as elsewhere says.
func WriterOnly(c *failover.Controller, elsewhere Elsewhere) func(http.Handler) http.Handler {
	proxy := elsewhere.proxy()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wait, ok := c.Ready()
			if ok {
				next.ServeHTTP(w, r)
				return
			}
			d := c.Decision()
			if proxy == nil || d.Writer == "" || d.Writer == c.Self() || r.Header.Get(headerForwarded) != "" {
				unavailable(w, r, "This Region is not the writer. The request had no effect.", wait)
				return
			}
			base := elsewhere.base(d.Writer)
			if base == nil {
				unavailable(w, r, "No way to the writer Region is known. The request had no effect.", wait)
				return
			}
			proxy(base, d.Epoch).ServeHTTP(w, r)
		})
	}
}

// proxy returns what sends a request on, nil for Reject503.
func (e Elsewhere) proxy() func(base *url.URL, epoch uint64) http.Handler {
	if e.base == nil {
		return nil
	}
	return func(base *url.URL, epoch uint64) http.Handler {
		own := false // the epoch sent is this process's, not the client's
		return &httputil.ReverseProxy{
			Transport: e.via,
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(base)
				forwardedFor(p)
				p.Out.Header.Set(headerForwarded, "1")
				if own = p.Out.Header.Get(HeaderEpoch) == ""; own {
					p.Out.Header.Set(HeaderEpoch, failover.FormatEpoch(epoch))
				}
			},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { answer(w, r, err) },
			ModifyResponse: func(res *http.Response) error {
				if own && classOf(res) == failover.ClassRejected {
					return &StatusError{Response: res} // the client has asked for no epoch
				}
				res.Header.Del(HeaderEpoch) // this process's own middleware has set it
				return nil
			},
		}
	}
}

// forwardedFor goes on with what proxies in front have written; [httputil.ProxyRequest.SetXForwarded] alone would forget the client.
func forwardedFor(p *httputil.ProxyRequest) {
	p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
	p.SetXForwarded()
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if before := p.In.Header[name]; len(before) > 0 {
			p.Out.Header[name] = before
		}
	}
}
