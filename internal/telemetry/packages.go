package telemetry

// Packages lists every instrumented package in the order of docs/metrics.md.
func Packages() []*Package {
	return []*Package{
		Retry,
		Breaker,
		Limit,
		Idempotency,
		Degrade, DegradeShed,
		Queue,
		Failover, Runbook,
	}
}
