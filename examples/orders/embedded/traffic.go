package embedded

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryhttp"
)

// A Shopper is what users do, for a load.
type Shopper func(context.Context, *drtest.Op) error

// Buy places an order.
func (f *Fleet) Buy() Shopper { return f.buyer(f.Config.Persistence) }

// BuyOnce places an order and believes the first answer.
func (f *Fleet) BuyOnce() Shopper { return f.buyer(1) }

func (f *Fleet) buyer(attempts int) Shopper {
	return f.shopper("POST /orders", attempts, func(op *drtest.Op) string {
		return fmt.Sprintf(`{"sku":"anvil","quantity":1,"email":%q}`, Email(op.Key()))
	}, func(op *drtest.Op, resp *http.Response) {
		op.Acked(OrderKey(strings.TrimPrefix(resp.Header.Get("Location"), "/orders/")))
	})
}

// Email is the address that a user gives with an order, which tells the orders of one operation from all others.
func Email(key string) string {
	return strings.NewReplacer("/", ".", " ", "-").Replace(key) + "@example.com"
}

// Look reads stock.
func (f *Fleet) Look() Shopper {
	return f.shopper("GET /stock/anvil", f.Config.Persistence, nothing, degraded)
}

// List reads the user's newest orders.
func (f *Fleet) List() Shopper {
	return f.shopper("GET /orders", f.Config.Persistence, nothing, degraded)
}

func nothing(*drtest.Op) string { return "" }

// degraded notes an answer that is not the real thing.
func degraded(op *drtest.Op, resp *http.Response) {
	if resp.Header.Get("Degradation") != "" {
		op.Degraded()
	}
}

// shopper repeats a request with its key, as a careful client does, until its patience ends. All users of one have one budget for that, as those of one gateway do.
func (f *Fleet) shopper(class string, attempts int, body func(*drtest.Op) string, done func(*drtest.Op, *http.Response)) Shopper {
	users := &http.Client{Transport: &retryhttp.Transport{Base: doubtful{counted{f.front, f.log(), fmt.Sprintf("users of %s, %d times", class, attempts), "", ofOperation}}, Policy: &retry.Policy{
		Name: "users", MaxAttempts: attempts, AttemptTimeout: 5 * time.Second,
		Backoff: retry.FullJitter(200*time.Millisecond, 2*time.Second),
	}}}
	method, path, _ := strings.Cut(class, " ")
	return func(ctx context.Context, op *drtest.Op) error {
		op.As(class)
		var doubt doubt
		ctx = context.WithValue(ctx, doubtKey{}, &doubt)
		req, err := http.NewRequestWithContext(ctx, method, "http://orders.example"+path, strings.NewReader(body(op)))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", fmt.Sprintf("Bearer user-%d", op.Client()))
		if method == http.MethodPost {
			req.Header.Set("Idempotency-Key", op.Key())
		}
		resp, err := users.Do(req)
		if err != nil {
			return doubt.mark(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		if err := failed(class, resp.StatusCode); err != nil {
			return doubt.mark(err)
		}
		done(op, resp)
		return nil
	}
}

// failed says what an answer means to a user: done, not done, or unknown.
func failed(class string, status int) error {
	switch {
	case status < 300:
		return nil
	case status == http.StatusServiceUnavailable:
		return holdfast.NotRun(fmt.Errorf("%s = 503", class))
	case status >= 500, status == http.StatusConflict:
		return holdfast.Unknown(fmt.Errorf("%s = %d", class, status))
	}
	return fmt.Errorf("%s = %d", class, status)
}

// A doubt is that an attempt of an operation may have had its effect, whatever the last one says.
type doubt struct{ atomic.Bool }

type doubtKey struct{}

// mark is the error of the whole operation.
func (d *doubt) mark(err error) error {
	if d.Load() {
		return holdfast.Unknown(err)
	}
	return err
}

// doubtful notes attempts of unknown outcome.
type doubtful struct{ front http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t doubtful) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.front.RoundTrip(r)
	unknown := err != nil && holdfast.OutcomeOf(err) != holdfast.OutcomeNotRun
	if err == nil {
		unknown = holdfast.OutcomeOf(failed("", resp.StatusCode)) == holdfast.OutcomeUnknown
	}
	if d, ok := r.Context().Value(doubtKey{}).(*doubt); ok && unknown {
		d.Store(true)
	}
	return resp, err
}
