//go:build unix

package lab

import (
	"net/http"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
)

// A tally is the users' way in, and counts the orders that they were promised.
type tally struct {
	http.RoundTripper
	round  atomic.Int64 // which count it is
	orders atomic.Int64 // that were sent and acknowledged in this round, for the first time
}

// begin counts anew: what is under way does not count.
func (t *tally) begin() {
	t.round.Add(1)
	t.orders.Store(0)
}

// RoundTrip implements [http.RoundTripper].
func (t *tally) RoundTrip(r *http.Request) (*http.Response, error) {
	round := t.round.Load()
	answer, err := t.RoundTripper.RoundTrip(r)
	if err == nil && placed(r, answer) && t.round.Load() == round {
		t.orders.Add(1)
	}
	return answer, err
}

// placed reports whether an answer acknowledges an order that was placed just then, not before a try whose answer was lost.
func placed(r *http.Request, answer *http.Response) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/orders" && answer.StatusCode/100 == 2 && answer.Header.Get(idempotencyhttp.ReplayedHeader) == ""
}
