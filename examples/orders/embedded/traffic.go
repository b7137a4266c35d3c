package embedded

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryhttp"
)

// A Shopper is what users do, for a load.
type Shopper func(context.Context, *drtest.Op) error

// Buy places an order.
func (f *Fleet) Buy() Shopper {
	return f.shopper("POST /orders", `{"sku":"anvil","quantity":1,"email":"user@example.com"}`, func(op *drtest.Op, resp *http.Response) {
		op.Acked(OrderKey(strings.TrimPrefix(resp.Header.Get("Location"), "/orders/")))
	})
}

// Look reads stock.
func (f *Fleet) Look() Shopper { return f.shopper("GET /stock/anvil", "", degraded) }

// List reads the user's newest orders.
func (f *Fleet) List() Shopper { return f.shopper("GET /orders", "", degraded) }

// degraded notes an answer that is not the real thing.
func degraded(op *drtest.Op, resp *http.Response) {
	if resp.Header.Get("Degradation") != "" {
		op.Degraded()
	}
}

// shopper repeats a request with its key, as a careful client does, until its patience ends.
func (f *Fleet) shopper(class, body string, done func(*drtest.Op, *http.Response)) Shopper {
	users := &http.Client{Transport: &retryhttp.Transport{Base: f.front, Policy: &retry.Policy{
		Name: "users", MaxAttempts: 3, AttemptTimeout: 5 * time.Second,
		Backoff: retry.FullJitter(200*time.Millisecond, 2*time.Second),
	}}}
	method, path, _ := strings.Cut(class, " ")
	return func(ctx context.Context, op *drtest.Op) error {
		op.As(class)
		req, err := http.NewRequestWithContext(ctx, method, "http://orders.example"+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", fmt.Sprintf("Bearer user-%d", op.Client()))
		if method == http.MethodPost {
			req.Header.Set("Idempotency-Key", op.Key())
		}
		resp, err := users.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		if err := failed(class, resp.StatusCode); err != nil {
			return err
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
