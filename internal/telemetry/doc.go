// Package telemetry is the one place that imports OpenTelemetry's root package and the one table of
// Holdfast's instruments.
//
// # Counting
//
// Hot paths count with their own atomics. A handle (a policy, a breaker, a queue client) is attached once
// with [Attach]; from then on one observable callback per package and meter provider reads all live handles
// when metrics are collected. The callback holds handles weakly: attaching neither starts a goroutine nor
// keeps a dropped handle alive. I/O durations use [Histogram] with attribute sets built once ([NewSet]).
//
// # Defaults
//
// A nil MeterProvider or TracerProvider means OpenTelemetry's global one, a nil Logger is silent.
//
// # The table
//
// Every instrument is declared in this package, in the file named after the package that feeds it, and listed
// by [Packages]. docs/metrics.md is generated from it: go test ./internal/telemetry -run TestMetricsDoc -update.
package telemetry
