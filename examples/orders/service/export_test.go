package service

import "context"

// What the service does around the packages, for the handler written by hand that the benchmark compares with.
var (
	CustomerOf = customerOf
	Decode     = decode
	Reply      = reply
)

// Placed counts an order as postOrder does.
func (s *Service) Placed(ctx context.Context, status Status) { s.metrics.placed(ctx, status) }
