package sqstest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest"
)

// Start runs an SQS server in a Region of a World, under the host name that SQS has there. It ends
// with the World. What consumers are told about time follows the Region's clock, leases and delays
// do not. Message ids follow from the World's seed. A Region has one; a second Start panics.
//
// The server outlives an outage of its Region with all its messages, as SQS does.
func Start(r *drtest.Region) *Server {
	host := "sqs." + r.Name() + ".amazonaws.com"
	s, err := New(Config{Region: r.Name(), Endpoint: "http://" + host, Seed: r.World().Stream("sqstest/"+r.Name()).Uint64() | 1})
	if err != nil {
		panic(err.Error())
	}
	s.stamp = r.Now
	r.Serve(host, s)
	r.OnClose(s.Close)
	return s
}

// Client returns an SDK client in the Region from, with connections of its own over the World's
// network. It has the SDK's defaults: three attempts, and no time-out, so that a call into a black
// hole ends only with its context. Change them with change. Only for a server made by [Start].
func (s *Server) Client(from *drtest.Region, change ...func(*sqs.Options)) *sqs.Client {
	if s.endpoint == "" {
		panic("sqstest: Client of a server without an endpoint; use Options")
	}
	o := s.Options(s.endpoint)
	o.HTTPClient = from.HTTPClient()
	return sqs.New(o, change...)
}

// Refuse answers a request that a Gray or Throttle fault of the World keeps from the server, in the
// protocol of SQS: with RequestThrottled for 429, ServiceUnavailable for 503, InternalFailure else.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, status int, retryAfter time.Duration) {
	code := "InternalFailure"
	switch status {
	case http.StatusTooManyRequests:
		code = "RequestThrottled"
	case http.StatusServiceUnavailable:
		code = "ServiceUnavailable"
	}
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((retryAfter+time.Second-1)/time.Second), 10))
	}
	s.countRefused(strings.TrimPrefix(r.Header.Get("X-Amz-Target"), target))
	s.reply(w, nil, kindOf(code, status).with("Injected fault."))
}
