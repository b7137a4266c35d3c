package embedded

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/failover"
)

// A Front is the users' way in, as DNS with health checks is: every few seconds it asks each Region whether it is active, and sends
// everything to the one that last said so.
type Front struct {
	transport http.RoundTripper
	onAnswer  func(failover.Region, *http.Request, *http.Response, error) // may be nil
	checks    *http.Client
	active    atomic.Pointer[string]
}

// Every how long health checks ask, and how long they wait: those of Route 53 at their quickest, without the time DNS answers are kept.
const (
	checkEvery   = 10 * time.Second
	checkTimeout = 4 * time.Second
)

// NewFront starts one where users sit. It asks every second probe, if the service's are short. onAnswer is [Config.OnAnswer].
func NewFront(web *drtest.Region, probe time.Duration, onAnswer func(failover.Region, *http.Request, *http.Response, error)) *Front {
	front := &Front{transport: web.Transport(), onAnswer: onAnswer, checks: &http.Client{Transport: web.Transport(), Timeout: checkTimeout}}
	east := East
	front.active.Store(&east)
	every := checkEvery
	if probe > 0 {
		every = min(every, 2*probe)
	}
	web.Go("front", func(ctx context.Context) error { return front.run(ctx, every) })
	return front
}

// Active is the Region that users reach.
func (f *Front) Active() failover.Region { return *f.active.Load() }

func (f *Front) run(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		for _, region := range []failover.Region{East, West} {
			if f.check(ctx, region) {
				f.active.Store(&region)
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (f *Front) check(ctx context.Context, region failover.Region) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, Address(region).JoinPath("active").String(), nil)
	if err != nil {
		return false
	}
	resp, err := f.checks.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// RoundTrip sends a request to the active Region.
func (f *Front) RoundTrip(r *http.Request) (*http.Response, error) {
	to := f.Active()
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.Host = "http", Address(to).Host, ""
	answer, err := f.transport.RoundTrip(out)
	if f.onAnswer != nil {
		f.onAnswer(to, r, answer, err)
	}
	return answer, err
}
