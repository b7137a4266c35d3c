// Package breaker leaves a failing or hanging dependency alone: circuit breakers, groups of them, and bulkheads.
//
// A failing or hanging dependency is left alone within one window, asked again gently, and never wedges: no state
// lasts because a probe hung, a callback blocked or a call panicked.
//
//	var payments = holdfast.Must(breaker.New(breaker.Config{Name: "payments"}))
//
//	receipt, err := breaker.Do(ctx, payments, func(ctx context.Context) (Receipt, error) {
//		return api.Charge(ctx, order)
//	})
//	if errors.Is(err, breaker.ErrOpen) {
//		// not run, and err says when to try again: serve a stub, defer it, or tell the user
//	}
//
// # States
//
//	closed ──a rule trips──▶ open ──its time passes──▶ half-open ──Probes succeed──▶ (ramp) ──▶ closed
//	                          ▲                            │                            │
//	                          └──────── a probe fails ─────┴───────── a rule trips ─────┘
//
// A closed [Breaker] counts results in a rolling window and opens when a rule says so: FailureRate of at least
// MinCalls results, ConsecutiveFailures, SlowRate, or a [VerdictTripNow]. Open it rejects calls with an [OpenError].
// Half-open it admits Probes calls, or runs Config.Probe in the background. With Config.Ramp a recovered breaker
// admits a growing random share first. The states are decided by sony/gobreaker, used under a lock of ours; the
// differences from it are listed below.
//
// # What counts
//
// Results count when calls end, so that calls that hang count as soon as they time out, and calls in flight do not
// water down the rate. Set a deadline or an attempt time-out on every call: a call that never ends is never counted.
//
//   - Neutral: the caller's cancel; its deadline, if it left the call less than DeadlineCounts and SlowCall; what
//     Verdict calls neutral, by default refusals made on this side and errors marked permanent.
//   - Failures: other errors, panics, runtime.Goexit, probes that take longer than ProbeTimeout.
//   - A result is dropped if the state has changed since its call began: it says nothing about now.
//
// # How long open
//
// OpenFor, doubled with every opening that follows within a Window of the last recovery, up to MaxOpenFor, less up
// to Jitter of it at random. If the error that opened it has a RetryAfter method, its answer is taken instead, within
// OpenFor and MaxOpenFor.
//
// # By hand
//
// [Breaker.Force] opens, closes, or only observes, with a reason, a name and an end. ModeObserve admits everything
// and counts what would have been rejected; as Config.Mode it lets a new breaker be tried out in production.
//
// # Bulkheads
//
// A [Bulkhead] bounds the calls in flight, with a bounded queue if wanted. Use both: the breaker outside, the bulkhead
// inside, so that a refusal by the one never takes a place of the other. Package limit has limits that find their
// number by themselves; package breakerhttp puts breakers around an HTTP client.
//
// # Guarantees
//
//   - Errors and panics of a call reach its caller unchanged. A rejected call did not run.
//   - Every permit comes back, also on panic and runtime.Goexit.
//   - [Breaker.State], [Breaker.Stats], [Breaker.Ready] change nothing.
//   - Listeners are told every transition in order and may call the breaker; one that blocks delays nobody but the
//     call that is telling it.
//   - No goroutine but while Config.Probe runs, no timer while idle, nothing to close; a dropped breaker is collected.
//
// # Not promised
//
//   - Exact counts under concurrency: a few successes may fall into the neighbouring bucket (a tenth of the window).
//     Failures and decisions are exact.
//   - Knowledge shared between processes: each learns for itself. One decision for all is what package failover makes.
//   - Ending calls: a breaker never cancels a context, not even a probe's. Only Config.Probe gets a deadline.
//
// # Differences from gobreaker
//
// Decisions are the same, call by call, for calls one after the other; this is tested over random workloads. Different
// on purpose: results count at completion, not in the bucket of admission; calls in flight and neutral results are not
// requests; consecutive failures are not forgotten with the window; the open time ends by itself and not at the next
// call; hung probes expire; listeners run without the lock; Goexit is a failure. A closed call takes no lock and reads
// no clock: two loads and an add.
//
// # Cost
//
// Success about a tenth of gobreaker's, rejection a fifth, no allocation; in the last tenth of a second of an
// opening a rejection reads the clock. SlowCall, or a deadline on the context, adds
// one clock reading at the start, and SlowCall one at the end. See docs/benchmarks.md; scaling was measured up to two
// processors only.
package breaker
