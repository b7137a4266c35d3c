package embedded

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A Blame is what a process holds against a Region because of its queues, beside what those have done.
type Blame struct {
	Process string
	Region  failover.Region
	Counted int // failures, as the process tells Prometheus
	Failed  int // requests to the Region's queues that failed
}

// blames reads the metrics of a process that is about to stop.
func (s *Site) blames(process string, svc *service.Service) (all []Blame) {
	answer := httptest.NewRecorder()
	svc.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	s.mu.Lock()
	failures := s.failures[process]
	s.mu.Unlock()
	for line := range strings.Lines(answer.Body.String()) {
		labels, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(labels, "holdfast_failover_calls_total{") || !strings.Contains(labels, `client="observed"`) || !strings.Contains(labels, `outcome="bad"`) {
			continue
		}
		for region, failed := range failures {
			counted, err := strconv.ParseFloat(value, 64)
			if err == nil && strings.Contains(labels, `region="`+region+`"`) {
				all = append(all, Blame{process, region, int(counted), int(failed.Load())})
			}
		}
	}
	return all
}

// A heardQueue counts requests that fail, as its Region answers them or does not, and tells of polls and of what is done with each message.
type heardQueue struct {
	queue.Transport
	failed  *atomic.Int64
	polled  func()
	handled func(what string, ids ...string)
}

func (q heardQueue) heard(errs ...error) {
	for _, err := range errs {
		if err != nil {
			q.failed.Add(1)
			return
		}
	}
}

// Send implements queue.Transport, as what follows.
func (q heardQueue) Send(ctx context.Context, messages []queue.Outgoing) []queue.SendResult {
	q.handled(Sent, idsOf(messages, callID)...)
	q.handled(SentNow, idsOf(undelayed(messages), callID)...)
	results := q.Transport.Send(ctx, messages)
	var errs []error
	for _, r := range results {
		errs = append(errs, r.Err)
	}
	q.heard(errs...)
	return results
}

// Receive fails with its request.
func (q heardQueue) Receive(ctx context.Context, r queue.ReceiveRequest) ([]*queue.Message, error) {
	q.polled()
	got, err := q.Transport.Receive(ctx, r)
	q.heard(err)
	q.handled(received, idsOf(got, messageID)...)
	return got, err
}

// Extend fails if it does for one message.
func (q heardQueue) Extend(ctx context.Context, messages []*queue.Message, lease time.Duration) []error {
	q.handled(extended, idsOf(messages, messageID)...)
	errs := q.Transport.Extend(ctx, messages, lease)
	q.heard(errs...)
	return errs
}

// Release fails as Extend.
func (q heardQueue) Release(ctx context.Context, releases []queue.Release) []error {
	q.handled(givenBack, idsOf(releases, func(r queue.Release) string { return r.Message.ID })...)
	errs := q.Transport.Release(ctx, releases)
	q.heard(errs...)
	return errs
}

// Delete fails as Extend.
func (q heardQueue) Delete(ctx context.Context, messages []*queue.Message) []error {
	q.handled(Deleted, idsOf(messages, messageID)...)
	errs := q.Transport.Delete(ctx, messages)
	q.heard(errs...)
	return errs
}

// Dead fails as Extend.
func (q heardQueue) Dead(ctx context.Context, letters []queue.DeadLetter) []error {
	q.handled(buried, idsOf(letters, func(l queue.DeadLetter) string { return l.Message.ID })...)
	errs := q.Transport.Dead(ctx, letters)
	q.heard(errs...)
	return errs
}

// Stats fails with its request.
func (q heardQueue) Stats(ctx context.Context) (queue.Depth, error) {
	d, err := q.Transport.Stats(ctx)
	q.heard(err)
	return d, err
}
