package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/queue"
)

// Charge takes the money for an order.
var Charge = queue.Define[ChargeArgs]("orders.charge.v1")

// ChargeArgs are the arguments of [Charge].
type ChargeArgs struct {
	Order string `json:"order"`
	Cents int64  `json:"cents"`
}

// How long a charge may take, and one attempt of it.
const (
	payWithin  = 3 * time.Second
	payAttempt = time.Second
)

var (
	errDeclined = holdfast.Permanent(errors.New("service: the payment was declined"))
	errPayLater = holdfast.NotRun(errors.New("service: payments are in another Region; the charge waits"))
)

// payLater answers for payments in the Region that has none.
var payLater = degradehttp.Stub(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))

// charge takes the money, marks the order and has it settled. Payments know a repetition by the key that s.Pay derives from the key of this call: the
// same here, in a worker and in the other Region. Once they have charged the call has run, in part at least, whatever a later step says of itself.
func (s *Service) charge(ctx context.Context, args ChargeArgs) error {
	status, err := s.pay(ctx, args)
	if err != nil {
		return err
	}
	switch {
	case status == http.StatusOK, status == http.StatusCreated:
		return halfway(s.paid(ctx, args.Order))
	case status == http.StatusAccepted:
		return errPayLater
	case status == http.StatusPaymentRequired:
		if _, err := s.update(ctx, args.Order, func(o Order) Order { o.Status = StatusDeclined; return o }); err != nil {
			return err // not final before it is written down: payments say it again
		}
		return errDeclined
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return holdfast.NotRun(fmt.Errorf("service: payments answer %d", status))
	}
	return holdfast.Unknown(fmt.Errorf("service: payments answer %d", status))
}

// paid notes that the money was taken.
func (s *Service) paid(ctx context.Context, order string) error {
	if _, err := s.update(ctx, order, func(o Order) Order { o.Status = StatusPaid; return o }); err != nil {
		return err
	}
	return s.settleLater(ctx, order)
}

// pay sends one charge and returns the status of the answer.
func (s *Service) pay(ctx context.Context, args ChargeArgs) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, payWithin)
	defer cancel()
	body, err := json.Marshal(args)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.parts.Payments.JoinPath("charges").String(), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.Pay.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	return resp.StatusCode, err
}

// chargeLater runs a deferred charge. An order that its Region lost is not charged. One that is paid may have been left before it was settled.
func (s *Service) chargeLater(ctx context.Context, args ChargeArgs) error {
	switch o, err := s.found(ctx, args.Order); {
	case err != nil && holdfast.OutcomeOf(err) != holdfast.OutcomeRan: // no answer: reading has no effect
		return queue.Snooze(askAgain)
	case err != nil:
		return err
	case o.Status == StatusPaid:
		return s.settleLater(ctx, o.ID)
	case o.Status == StatusDeclined:
		return errDeclined
	}
	return s.charge(ctx, args)
}

// paymentsReady holds deferred charges back while a stub answers for payments, and while their breaker is open.
func (s *Service) paymentsReady() (wait time.Duration, ok bool) {
	if s.payments.Stubbing() {
		return time.Minute, false
	}
	return s.Payments.Ready()
}
