package sqstest

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Options returns settings of an SDK client for this server at endpoint, such as the URL of an
// [net/http/httptest.Server] in front of it: its Region, its address, credentials that nobody
// checks, and an HTTP client over a [Transport].
func (s *Server) Options(endpoint string) sqs.Options {
	base := &http.Transport{MaxIdleConnsPerHost: idleConns}
	return sqs.Options{
		Region:       s.home(),
		BaseEndpoint: aws.String(endpoint),
		HTTPClient:   &http.Client{Transport: &Transport{Base: base}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDSQSTEST", SecretAccessKey: "secret"}, nil
		}),
	}
}

// idleConns is enough for the concurrency of a test; net/http keeps two.
const idleConns = 100

// A Transport carries the SDK's requests to a server that is too fast for it. The SDK takes a
// request's body away when the response has begun; if net/http has sent the body but not yet
// asked for its end, that question fails, the connection is closed, and a response of more than
// 4 KiB, ten received messages, is lost half-way. A Transport gives net/http a body of its own.
// Real SQS is never that fast. The zero value uses [http.DefaultTransport].
type Transport struct {
	Base http.RoundTripper
}

// RoundTrip sends the request with its body held in memory.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return t.base().RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	own := r.WithContext(r.Context())
	own.ContentLength = int64(len(body))
	own.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	own.Body, _ = own.GetBody()
	return t.base().RoundTrip(own)
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

// CloseIdleConnections closes those of the base.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
