package service

import "github.com/holdfast-go/holdfast/degrade"

// features are what the service does for people, and the dependency that has a stub.
type features struct {
	checkout *degrade.Feature // POST /orders
	history  *degrade.Feature // GET /orders
	browse   *degrade.Feature // GET /stock

	payments *degrade.Dependency
}

// declare says what needs what. The levels follow: see TestMatrix for what each loss leaves.
func (s *Service) declare() features {
	reads := s.Modes.Dependency("orders-db-reads", degrade.DependencyConfig{Ready: s.DB.Readable})
	writes := s.Modes.Dependency("orders-db-writes", degrade.DependencyConfig{Ready: s.DB.Writable})
	keys := s.Modes.Dependency("keys", degrade.DependencyConfig{Ready: s.Guard.Ready})
	later := s.Modes.Dependency("queue", degrade.DependencyConfig{Ready: s.Client.Ready})
	charges := s.Modes.Dependency("charges", degrade.DependencyConfig{Ready: s.Charges.Ready})
	payments := s.Modes.Dependency("payments", degrade.DependencyConfig{Ready: s.Payments.Ready, Home: s.parts.Home, Stubbed: true})
	return features{
		// The controller and the breakers have waited for what they report to hold: checkout need not wait again.
		checkout: s.Modes.Feature("checkout", degrade.FeatureConfig{Reads: reads, Writes: degrade.AllOf(writes, keys), Optional: degrade.AllOf(payments, later, charges), Hold: degrade.NoWait}),
		history:  s.Modes.Feature("history", degrade.FeatureConfig{Reads: reads}),
		browse:   s.Modes.Feature("browse", degrade.FeatureConfig{Reads: reads, Fallback: degrade.AllOf()}),
		payments: payments,
	}
}
