package service

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
)

// postOrder answers POST /orders. It runs under its Idempotency-Key, which the middleware has claimed.
func (s *Service) postOrder(w http.ResponseWriter, r *http.Request) {
	customer, ok := customerOf(w, r)
	if !ok {
		return
	}
	request, ok := decode(w, r)
	if !ok {
		return
	}
	ctx := r.Context()
	order, err := degrade.Write(ctx, s.checkout, func(ctx context.Context) (Order, error) {
		return s.place(ctx, Order{
			ID: idempotency.ChildID(ctx, "order"), Customer: customer, Email: request.Email, SKU: request.SKU, Quantity: request.Quantity,
			Cents: Prices[request.SKU] * int64(request.Quantity), Status: StatusPending, Placed: time.Now().UTC().Truncate(time.Millisecond),
		})
	}, nil)
	switch {
	case errors.Is(err, errOtherOrder):
		problem(w, http.StatusUnprocessableEntity, "The Idempotency-Key stands for another order.", "It was used before: take a new one for each order.")
	case errors.Is(err, errDeclined):
		problem(w, http.StatusPaymentRequired, "The payment was declined.", "order "+order.ID)
	case err != nil:
		degradehttp.Error(w, r, err)
	default:
		s.metrics.placed(ctx, order.Status)
		w.Header().Set("Location", "/orders/"+order.ID)
		reply(w, http.StatusCreated, order)
	}
}

// place stores, charges and defers, in this order: what is charged exists, and what is told exists. After a failure half-way the key is held and
// the client's next try runs all of it again; each step finds what it has done before.
func (s *Service) place(ctx context.Context, o Order) (Order, error) {
	o, err := s.insert(ctx, o)
	switch {
	case err != nil:
		return o, err
	case o.Status == StatusDeclined:
		return o, errDeclined
	}
	charged, err := Charge.Try(ctx, s.Charges, ChargeArgs{Order: o.ID, Cents: o.Cents}, s.charge, queue.ID("charge-"+o.ID))
	if err != nil {
		return o, halfway(err)
	}
	if charged.Via == queue.ViaRan {
		o.Status = StatusPaid
	}
	if _, err := Mail.Defer(ctx, s.Client, MailArgs{Order: o.ID, To: o.Email, Status: o.Status}, queue.ID(mailID+o.ID)); err != nil {
		return o, halfway(err)
	}
	return o, nil
}

// halfway marks the error of a later step: the order is there, or the money was taken, so "nothing was done" would be wrong, whatever the step says
// of itself.
func halfway(err error) error {
	if err == nil || errors.Is(err, errDeclined) {
		return err
	}
	return holdfast.Unknown(err)
}
