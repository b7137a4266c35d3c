package telemetry

// Packages lists every instrumented package in the order of docs/metrics.md.
func Packages() []*Package {
	return []*Package{
		Retry,
		Breaker,
		Limit,
		Degrade, DegradeShed,
		Failover,
	}
}
