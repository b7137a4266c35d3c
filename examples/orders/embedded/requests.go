package embedded

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/retry"
)

// A Request is one that somebody who has a budget for repetitions sent.
type Request struct {
	From    string    // users, or a process and which life of it
	Process string    // "" for users
	Host    string    // to whom; for users that of the service
	For     string    // the order, or the operation of a load, that it was sent for; "" for others
	Again   bool      // it repeats another request
	At      time.Time // when it was sent
	Paid    time.Time // when it was decided: for a repetition the end of the request before, when the budget is asked
	NotRun  bool      // by its answer nothing was done; without one it may have been
	Done    bool      // by its answer it was
}

// A requestLog is the list of them.
type requestLog struct {
	mu       sync.Mutex // guards all, and what it points to
	requests []*Request
	ended    map[string]time.Time // the last request of each call
}

// Requests returns what users sent to the service, and its processes to payments, the mail relays and each other, in the order in which it was sent.
func (f *Fleet) Requests() (all []Request) {
	f.requests.mu.Lock()
	defer f.requests.mu.Unlock()
	for _, r := range f.requests.requests {
		all = append(all, *r)
	}
	return all
}

// log is where requests are noted: nowhere in real time, which has no end.
func (f *Fleet) log() *requestLog {
	if f.World.RealTime() {
		return nil
	}
	return &f.requests
}

// A counted transport notes requests on their way out.
type counted struct {
	http.RoundTripper
	log     *requestLog
	from    string
	process string
	work    func(*http.Request) string // what the request is for
}

// RoundTrip implements http.RoundTripper.
func (t counted) RoundTrip(r *http.Request) (*http.Response, error) {
	call := t.from + " " + r.URL.Host + " " + r.Header.Get("Idempotency-Key")
	if op, ok := drtest.OpFrom(r.Context()); ok {
		call = t.from + " " + op.Key()
	}
	sent := &Request{From: t.from, Process: t.process, Host: r.URL.Hostname(), For: t.work(r), Again: retry.From(r.Context()).Number > 1, At: time.Now()}
	t.log.sent(call, sent)
	resp, err := t.RoundTripper.RoundTrip(r)
	t.log.over(call, sent, resp, err)
	return resp, err
}

func (l *requestLog) sent(call string, r *Request) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Paid = r.At
	if before, ok := l.ended[call]; r.Again && ok {
		r.Paid = before
	} else {
		r.Again = false // the attempts before were refused on their way out: the first that is sent repeats no request
	}
	l.requests = append(l.requests, r)
}

func (l *requestLog) over(call string, r *Request, answer *http.Response, err error) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = map[string]time.Time{}
	}
	l.ended[call] = time.Now()
	r.Done = err == nil && answer.StatusCode < http.StatusMultipleChoices
	r.NotRun = err != nil && holdfast.OutcomeOf(err) == holdfast.OutcomeNotRun ||
		err == nil && (answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable)
}

// ofOperation is the operation of a load that a request is sent for.
func ofOperation(r *http.Request) string {
	if op, ok := drtest.OpFrom(r.Context()); ok {
		return op.Key()
	}
	return ""
}

// ofOrder is the order that a charge or a mail is about.
func ofOrder(r *http.Request) string {
	if r.GetBody == nil || r.URL.Hostname() != PaymentsHost && !strings.HasPrefix(r.URL.Hostname(), "mail.") {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	var about struct {
		Order string `json:"order"`
	}
	_ = json.NewDecoder(body).Decode(&about) // else it is about none
	return about.Order
}
