package embedded

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// A Send is a mail that a process has given to a relay.
type Send struct {
	Process string
	Order   string
	At      time.Time
	NotRun  bool // by its answer nothing was done; without one it may have been
	Done    bool // by its answer it was
}

// A sendLog is the list of them.
type sendLog struct {
	mu  sync.Mutex // guards all, and what it points to
	all []*Send
}

// Sends returns every mail that was given to a relay, the oldest first.
func (f *Fleet) Sends() (all []Send) {
	f.sendLog.mu.Lock()
	defer f.sendLog.mu.Unlock()
	for _, s := range f.sendLog.all {
		all = append(all, *s)
	}
	return all
}

// A heardNet is a process's way to other hosts, which notes the mails.
type heardNet struct {
	http.RoundTripper
	process string
	hosts   []string // of relays
	log     *sendLog
}

// RoundTrip implements http.RoundTripper.
func (n heardNet) RoundTrip(r *http.Request) (*http.Response, error) {
	if !slices.Contains(n.hosts, r.URL.Host) {
		return n.RoundTripper.RoundTrip(r)
	}
	send := n.begin(r)
	answer, err := n.RoundTripper.RoundTrip(r)
	notRun := err != nil && holdfast.OutcomeOf(err) == holdfast.OutcomeNotRun ||
		err == nil && (answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable)
	n.log.mu.Lock()
	send.NotRun, send.Done = notRun, err == nil && answer.StatusCode < http.StatusMultipleChoices
	n.log.mu.Unlock()
	return answer, err
}

func (n heardNet) begin(r *http.Request) *Send {
	var args service.MailArgs
	if body, err := r.GetBody(); err == nil {
		_ = json.NewDecoder(body).Decode(&args) // what is no mail is of no order
		body.Close()
	}
	send := &Send{Process: n.process, Order: args.Order, At: time.Now()}
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	n.log.all = append(n.log.all, send)
	return send
}
