package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
)

// A books is what users were told: the service has no part in them.
type books struct {
	mu      sync.Mutex // guards the following
	traffic map[failover.Region]page.Traffic
	acked   map[string]bool // orders that a user was promised
	lost    map[string]bool // orders that only a former writer's database had when it was rebuilt: the loss list
}

func newBooks() *books {
	return &books{traffic: map[failover.Region]page.Traffic{}, acked: map[string]bool{}, lost: map[string]bool{}}
}

// answered notes one answer to a user's request, or its absence.
func (b *books) answered(to failover.Region, r *http.Request, answer *http.Response, err error) {
	var order service.Order
	if err == nil && r.Method == http.MethodPost && answer.StatusCode == http.StatusCreated {
		order = orderIn(answer)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.traffic[to]
	*outcome(&t, r, answer, err, order)++
	b.traffic[to] = t
	if order.ID != "" {
		b.acked[order.ID] = true
	}
}

// orderIn reads the order and leaves the body as it was.
func orderIn(answer *http.Response) (o service.Order) {
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
	_ = json.Unmarshal(body, &o) // half an answer promises nothing
	return o
}

// failing ends a body as it ended.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// outcome says which counter an answer belongs to. What is lost on the way is unknown only if it may have changed something.
func outcome(t *page.Traffic, r *http.Request, answer *http.Response, err error, order service.Order) *uint64 {
	write := r.Method == http.MethodPost
	switch {
	case err != nil && write && holdfast.OutcomeOf(err) != holdfast.OutcomeNotRun:
		return &t.Unknown
	case err != nil:
		return &t.Failed
	case answer.StatusCode == http.StatusServiceUnavailable, answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode == http.StatusConflict:
		return &t.Refused
	case answer.StatusCode >= 500 && write:
		return &t.Unknown
	case answer.StatusCode >= 400:
		return &t.Failed
	case answer.Header.Get("Degradation") != "", order.Status == service.StatusPending:
		return &t.Degraded
	}
	return &t.OK
}

// trafficOf returns a Region's counters.
func (b *books) trafficOf(region failover.Region) page.Traffic {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.traffic[region]
}

// lose puts orders on the loss list and returns how many of them a user was promised.
func (b *books) lose(orders []string) (promised int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range orders {
		b.lost[id] = true
		if b.acked[id] {
			promised++
		}
	}
	return promised
}

// promised returns the orders that users were promised.
func (b *books) promised() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]string, 0, len(b.acked))
	for id := range b.acked {
		all = append(all, id)
	}
	return all
}

// sums closes the books against the writer's database, payments and the relays. former is a Region whose database is still to be rebuilt, "" for none.
func (b *books) sums(f *embedded.Fleet, writer *embedded.Site, former failover.Region) []page.Sum {
	promised := b.promised() // before the orders: what is promised is there
	there := map[string]bool{}
	for _, key := range writer.Store.Keys() {
		if id, ok := strings.CutPrefix(key, embedded.OrderKey("")); ok {
			there[id] = true
		}
	}
	var found, lost, missing int64
	b.mu.Lock()
	for _, id := range promised {
		switch {
		case there[id]:
			found++
		case b.lost[id]:
			lost++
		default:
			missing++
		}
	}
	b.mu.Unlock()
	why := "neither there nor on the loss list"
	if former != "" {
		why = "only in " + former + " until it is rebuilt"
	}
	return []page.Sum{
		{Name: "Acknowledged", Count: int64(len(promised)), Note: "orders that a user was promised"},
		{Name: "Found", Count: found, Note: "of them, at the writer"},
		{Name: "Loss list", Count: lost, Note: "of them, only in a former writer's database"},
		{Name: "Missing", Count: missing, Note: why, Bad: missing > 0 && former == ""},
		twice("Charges", f.Payments.Charges(), "orders charged, each once", true),
		twice("Mails", f.Relays.Sent(), "orders mailed, each once", false),
		{Name: "Unknown writes", Count: int64(len(f.Unknown.All())), Note: "answer lost, each listed"},
	}
}

// twice counts orders, and says when something was done twice.
func twice(name string, times map[string]int, note string, bad bool) page.Sum {
	again := 0
	for _, n := range times {
		if n > 1 {
			again++
		}
	}
	if again == 0 {
		return page.Sum{Name: name, Count: int64(len(times)), Note: note}
	}
	return page.Sum{Name: name, Count: int64(len(times)), Note: fmt.Sprintf("orders, %d of them twice", again), Bad: bad}
}
