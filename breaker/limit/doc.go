// Package limit bounds calls by what the other side can take: by latency, by its refusals, or by a rate.
//
// All limits refuse on this side: errors are typed, marked as not run, carry a hint when to try again, and are
// neutral for a breaker around them. A permit comes back also when the call panics or ends its goroutine.
//
//	sizes := holdfast.Must(limit.NewAdaptive(limit.AdaptiveConfig{Name: "search"}))
//	err := sizes.Do(ctx, func(ctx context.Context) error { return search(ctx, query) })
//
// # Which limit
//
//   - [Adaptive]: how much in flight is right is not known, or changes. It learns from latency, with a bound on
//     what is in flight. In front of a dependency you do not own.
//   - [Throttle]: the other side sheds load by itself, with 429 or 503. A share of what it would refuse anyway is
//     refused here, which costs it nothing.
//   - [Rate]: a contract says so many calls a second. Over golang.org/x/time/rate.
//   - breaker.Bulkhead: the number that may run at once is known, or what must be protected is on this side.
//
// # What they are not
//
// They limit one process: a hundred of them share a dependency's rate only as far as each gets its part. A limit is
// no breaker: none of them stops calling a dependency that is gone.
//
// A call whose caller cancelled, or whose caller gave it less than half a second, teaches nothing.
package limit
