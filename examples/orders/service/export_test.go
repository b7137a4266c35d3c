package service

import (
	"context"
	"net/http"
)

// What the service does around the packages, for the handler written by hand that the benchmark compares with.
var (
	CustomerOf = customerOf
	Decode     = decode
	Reply      = reply
)

// Insert stores an order as postOrder does.
func (s *Service) Insert(ctx context.Context, o Order) error {
	_, err := s.insert(ctx, o)
	return err
}

// ChargeNow charges as placing an order does.
func (s *Service) ChargeNow(ctx context.Context, args ChargeArgs) error { return s.charge(ctx, args) }

// Serve runs a server as [Service.Run] does.
func Serve(ctx context.Context, listen func(http.Handler) HTTPServer) error {
	return (&Service{parts: Parts{Listen: listen}}).serve(ctx)
}

// Mailed is what an answer of the mail relay means.
var Mailed = mailed

// Placed counts an order as postOrder does.
func (s *Service) Placed(ctx context.Context, status Status) { s.metrics.placed(ctx, status) }
