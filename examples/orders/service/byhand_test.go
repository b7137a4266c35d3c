package service_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/idempotency"
)

// byHand is POST /orders as it is written without the packages, and with care: the same decoding and checks, the same two transactions of the same
// statements, each bounded in time, the same charge with a key and within the same time, two messages in envelopes for a queue, the same answer and the same count.
// What it leaves out is what the packages are for: no fence, no key of the client's, no levels, no shedding, no retry, no breaker, no second Region.
type byHand struct {
	db       *sql.DB
	rows     embedded.Database
	payments *url.URL
	client   *http.Client
	outbox   outbox
	placed   func(context.Context, service.Status)
}

// Limits as the service has them.
const (
	saveWithin = 5 * time.Second
	payWithin  = 3 * time.Second
)

func (h *byHand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	customer, ok := service.CustomerOf(w, r)
	if !ok {
		return
	}
	request, ok := service.Decode(w, r)
	if !ok {
		return
	}
	order, err := h.place(r.Context(), service.Order{
		ID: idempotency.NewID(), Customer: customer, Email: request.Email, SKU: request.SKU, Quantity: request.Quantity,
		Cents: service.Prices[request.SKU] * int64(request.Quantity), Status: service.StatusPending, Placed: time.Now().UTC().Truncate(time.Millisecond),
	})
	if err != nil {
		http.Error(w, "sorry", http.StatusInternalServerError)
		return
	}
	h.placed(r.Context(), order.Status)
	w.Header().Set("Location", "/orders/"+order.ID)
	service.Reply(w, http.StatusCreated, order)
}

func (h *byHand) place(ctx context.Context, o service.Order) (service.Order, error) {
	if err := h.insert(ctx, o); err != nil {
		return o, err
	}
	if err := h.charge(ctx, service.ChargeArgs{Order: o.ID, Cents: o.Cents}); err != nil {
		return o, err
	}
	o, err := h.paid(ctx, o.ID)
	if err != nil {
		return o, err
	}
	if err := h.outbox.put("orders.settle.v1", "settle-"+o.ID, service.SettleArgs{Order: o.ID}); err != nil {
		return o, err
	}
	return o, h.outbox.put("orders.mail.v1", "mail-"+o.ID, service.MailArgs{Order: o.ID, To: o.Email, Status: o.Status})
}

func (h *byHand) insert(ctx context.Context, o service.Order) error {
	return h.within(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := h.rows.Find(ctx, tx, o.ID); !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return h.rows.Save(ctx, tx, o)
	})
}

func (h *byHand) paid(ctx context.Context, id string) (o service.Order, err error) {
	err = h.within(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if o, err = h.rows.Find(ctx, tx, id); err != nil {
			return err
		}
		o.Status = service.StatusPaid
		return h.rows.Save(ctx, tx, o)
	})
	return o, err
}

func (h *byHand) within(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, saveWithin)
	defer cancel()
	tx, err := h.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (h *byHand) charge(ctx context.Context, args service.ChargeArgs) error {
	ctx, cancel := context.WithTimeout(ctx, payWithin)
	defer cancel()
	body, err := json.Marshal(args)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.payments.JoinPath("charges").String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", args.Order)
	resp, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return errors.New("not paid")
	}
	return nil
}

// An outbox is a queue in memory.
type outbox struct {
	mu       sync.Mutex // guards messages
	messages []string
}

func (b *outbox) put(name, id string, args any) error {
	data, err := json.Marshal(args)
	if err != nil {
		return err
	}
	message, err := json.Marshal(struct {
		ID   string          `json:"id"`
		Type string          `json:"type"`
		Time time.Time       `json:"time"`
		Data json.RawMessage `json:"data"`
	}{id, name, time.Now(), data})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, string(message))
	return nil
}

func (b *outbox) empty() { b.messages = nil }
