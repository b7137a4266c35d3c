//go:build unix

package lab

import (
	"net/http"
	"sync/atomic"
)

// A tally is the users' way in, and counts the orders that they were promised.
type tally struct {
	http.RoundTripper
	round  atomic.Int64 // which count it is
	orders atomic.Int64 // that were sent and acknowledged in this round
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
	if err == nil && answer.StatusCode/100 == 2 && r.Method == http.MethodPost && r.URL.Path == "/orders" && t.round.Load() == round {
		t.orders.Add(1)
	}
	return answer, err
}
