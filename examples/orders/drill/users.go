package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
)

// The classes of operations.
const (
	classPlace = "POST /orders"
	classFind  = "GET /orders/{id}"
	classStock = "GET /stock/{sku}"
)

// What a user bears: an attempt, a pause between attempts that doubles up to the longest, all of them.
const (
	attemptTimeout = 2 * time.Second
	pause          = 250 * time.Millisecond
	longestPause   = time.Second
	patience       = 5 * time.Second
)

// users are the people behind the load. Each remembers the last order it was told of.
type users struct {
	http *http.Client

	mu     sync.Mutex // guards the following
	placed map[int]string
	status map[string]string // of acknowledged orders, as they were told
}

func newUsers(way http.RoundTripper) *users {
	return &users{http: &http.Client{Transport: way, Timeout: attemptTimeout}, placed: map[int]string{}, status: map[string]string{}}
}

// load starts all users: rate orders a second, and half as many reads of each kind.
func (u *users) load(w *drtest.World, clients int, rate float64, length time.Duration) []*drtest.Traffic {
	var all []*drtest.Traffic
	for _, l := range []struct {
		name  string
		share float64
		do    func(context.Context, *drtest.Op) error
	}{{"orders", 1, u.place}, {"lookups", .5, u.find}, {"stock", .5, u.stock}} {
		all = append(all, w.Load(drtest.Load{
			Name: l.name, Clients: clients, Rate: drtest.Poisson(rate * l.share / float64(clients)),
			Timeout: patience, Length: length, Do: l.do,
		}))
	}
	return all
}

// place orders, with one key, until there is an answer or patience ends.
func (u *users) place(ctx context.Context, op *drtest.Op) error {
	op.As(classPlace)
	answer, err := u.repeat(ctx, op, http.MethodPost, "/orders", op.Key(), `{"sku":"anvil","quantity":1,"email":"user@example.com"}`)
	if err != nil {
		return err
	}
	var order struct{ ID, Status string }
	if err := json.Unmarshal(answer, &order); err != nil {
		return holdfast.Unknown(fmt.Errorf("drill: the answer to POST /orders: %w", err))
	}
	op.Acked(ackKey(order.ID))
	if order.Status != "paid" {
		op.Degraded() // it will be charged later
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.placed[op.Client()], u.status[order.ID] = order.ID, order.Status
	return nil
}

// ackKey is the key under which an order is acknowledged in the history, and kept in the embedded stores.
func ackKey(order string) string { return "order/" + order }

// find looks the user's last order up; who has none looks at the list.
func (u *users) find(ctx context.Context, op *drtest.Op) error {
	op.As(classFind)
	u.mu.Lock()
	id := u.placed[op.Client()]
	u.mu.Unlock()
	path := "/orders"
	if id != "" {
		path += "/" + id
	}
	_, err := u.repeat(ctx, op, http.MethodGet, path, "", "")
	return err
}

func (u *users) stock(ctx context.Context, op *drtest.Op) error {
	op.As(classStock)
	_, err := u.repeat(ctx, op, http.MethodGet, "/stock/anvil", "", "")
	return err
}

// repeat sends a request until it is answered with success or refused for good. If patience ends before, an earlier attempt may have been run
// whatever the last one says of itself.
func (u *users) repeat(ctx context.Context, op *drtest.Op, method, path, key, body string) ([]byte, error) {
	lost := false // the answer to an attempt was
	for wait := pause; ; wait = min(2*wait, longestPause) {
		answer, again, err := u.send(ctx, op, method, path, key, body)
		if err == nil || !again {
			return answer, err
		}
		lost = lost || holdfast.OutcomeOf(err) != holdfast.OutcomeNotRun
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if lost {
				err = holdfast.Unknown(err)
			}
			return nil, err
		}
	}
}

// send sends a request once. again says whether it is worth another time.
func (u *users) send(ctx context.Context, op *drtest.Op, method, path, key, body string) (answer []byte, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://orders.example"+path, strings.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Authorization", "Bearer user-"+strconv.Itoa(op.Client()))
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return nil, true, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, true, err
	case resp.StatusCode < 300:
		if resp.Header.Get("Age") != "" {
			op.Degraded()
		}
		return answer, false, nil
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusConflict:
		return nil, true, holdfast.NotRun(fmt.Errorf("%s %s = %d", method, path, resp.StatusCode))
	case resp.StatusCode >= 500:
		return nil, true, holdfast.Unknown(fmt.Errorf("%s %s = %d", method, path, resp.StatusCode))
	}
	return nil, false, fmt.Errorf("%s %s = %d", method, path, resp.StatusCode)
}
