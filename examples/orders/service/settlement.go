package service

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// Settle closes the books on an order. The charge defers it, so it exists for paid orders only.
var Settle = queue.Define[SettleArgs]("orders.settle.v1")

// SettleArgs are the arguments of [Settle].
type SettleArgs struct {
	Order string `json:"order"`
}

// settleLater defers the settlement of a paid order, once however often it runs.
func (s *Service) settleLater(ctx context.Context, order string) error {
	_, err := Settle.Defer(ctx, s.Client, SettleArgs{Order: order}, queue.ID("settle-"+order), queue.Delay(s.parts.Settings.settleAfter()))
	return err
}

// settle marks a paid order as settled.
func (s *Service) settle(ctx context.Context, args SettleArgs) error {
	_, err := s.update(ctx, args.Order, func(o Order) Order { o.Settled = true; return o })
	if holdfast.OutcomeOf(err) == holdfast.OutcomeNotRun {
		return queue.Snooze(askAgain)
	}
	return err
}

// askAgain is when a deferred call that has done nothing asks a database again that could not be asked. It is no attempt of the call: an outage of hours
// gives none up.
const askAgain = 15 * time.Second

// found reads an order from the writer's copy, which knows what exists.
func (s *Service) found(ctx context.Context, id string) (Order, error) {
	o, err := read(ctx, s, func(ctx context.Context, db *sql.DB) (Order, error) {
		return s.parts.Database.Find(ctx, db, id)
	}, failover.MaxStaleness(time.Millisecond))
	if errors.Is(err, sql.ErrNoRows) {
		return o, errNoOrder
	}
	return o, err
}

func (s Settings) settleAfter() time.Duration {
	if s.SettleAfter == 0 {
		return time.Minute
	}
	return s.SettleAfter
}
