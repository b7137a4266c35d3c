package sqstest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// Start runs an SQS server in a Region of a World, under the host name that SQS has there. It ends
// with the World. What consumers are told about time follows the Region's clock, leases and delays
// do not. Message ids follow from the World's seed. A Region has one; a second Start panics.
//
// The server outlives an outage of its Region with all its messages, as SQS does.
func Start(r *drtest.Region) *Server {
	host := "sqs." + r.HostPart() + ".amazonaws.com"
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

// Repeats refuses Duplicate and Poison faults of operations that the server does not have.
func (s *Server) Repeats(f fault.Fault) error {
	if f.Op != "" && !slices.Contains(Operations(), f.Op) {
		return fmt.Errorf("sqstest: %q is not an action of this server", f.Op)
	}
	return nil
}

// Repeat lets a Duplicate or Poison fault of the World act, as [Fault] says.
func (s *Server) Repeat(f fault.Fault) (undo func()) {
	return s.Inject(Fault{Op: f.Op, Share: f.Share, Duplicate: f.Kind == fault.KindDuplicate, Poison: f.Kind == fault.KindPoison})
}

// ControlPlane reports whether a request sets queues up, rather than use them: a ControlPlaneDown fault of the World
// refuses it.
func (s *Server) ControlPlane(r *http.Request) bool {
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), target) {
	case "CreateQueue", "DeleteQueue", "SetQueueAttributes", "PurgeQueue", "TagQueue", "UntagQueue":
		return true
	}
	return false
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
