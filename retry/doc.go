// Package retry repeats calls: with back-off, within a budget, and hedged.
//
// Pass only what may run twice, or set Retryable: [IfNotRun]. Everything below assumes that repeating the call
// is harmless; nothing in this package can make it so.
//
//	var payments = &retry.Policy{Name: "payments", MaxAttempts: 3, AttemptTimeout: 2 * time.Second}
//
//	order, err := retry.Do(ctx, payments, func(ctx context.Context) (Order, error) {
//		return api.Order(ctx, id)
//	})
//
// # Guarantees
//
// A call is attempted at most as often, as late and as widely as its [Policy] allows:
//
//   - never more than MaxAttempts times; no attempt starts after the context's deadline or MaxElapsed;
//   - no wait is begun that would end past the deadline: the call stops at once instead;
//   - a repetition is paid from the [Budget] before its wait, so a dependency that is down sees at most a
//     fraction more calls than one that is up;
//   - a nested [Do] with the same Name runs once inside a repeated attempt: two layers of m and n attempts cost at
//     most m+n calls, not m×n.
//
// The last real error is never replaced: [errors.Is] finds it whatever ended the call. A result that came with a
// nil error is never discarded, even if the context has ended meanwhile.
//
// # Defaults
//
// The zero Policy, and a nil one, make up to 4 attempts with full jitter between 0 and 50 ms, 100 ms, 200 ms (at most
// 5 s, were there more attempts), honour a RetryAfter of up to 30 s, and repeat every error that is [Transient].
// The zero Policy also has a private budget of 20 % of its calls plus 3 repetitions a second.
//
// # Which errors
//
// An error speaks for itself through methods, here and in all of Holdfast; the outermost error that has them answers:
//
//	Permanent() bool              never repeat, whatever Retryable says
//	NotRun() bool                 the call had no effect
//	OutcomeUnknown() bool         the call may have had its effect
//	RetryAfter() time.Duration    do not come back sooner
//
// [Error], returned when a call is given up, answers for all its attempts: NotRun if none of them ran,
// OutcomeUnknown if that of any is unknown. The error of a first attempt that is not to be repeated is returned as it is.
//
// # Schedules
//
// A schedule is a factory of cenkalti/backoff v4 values: [FullJitter], [EqualJitter], [DecorrelatedJitter], [Constant],
// [Fixed], or any BackOff you have. The factory is called at a call's first failure, so a value serves one
// call and need not be safe for concurrent use. Of an [backoff.ExponentialBackOff] a copy is used: a shared one is
// safe, its MaxInterval caps the delay after its jitter, and its MaxElapsedTime (15 min unless set) is ignored in favour of
// Policy.MaxElapsed. What backoff.WithMaxRetries and other wrappers hide stays as it is.
//
// # Hedging
//
// [Hedge] starts a second attempt while the first is slow and takes what answers first.
//
// # Not here
//
// Repeating HTTP requests and AWS calls is done by the packages retryhttp and retryaws. Whether a dependency should be
// called at all is for a circuit breaker; doing it later is for a queue.
package retry
