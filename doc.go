// Package holdfast keeps a Go service answering, and its data right, while a dependency, a queue or a whole
// AWS Region is gone. This root package holds what the others agree on: what an error says about a call
// ([OutcomeOf] and the marks), how policies nest ([Policy], [Stack], [Call]) and how a service stops ([Run]).
//
// # Which package
//
//	I want to…                                                   package
//	try again, with jitter, a budget, a hedge                    retry; retry/retryhttp, retry/retryaws
//	leave a failing or hanging dependency alone                  breaker; breaker/breakerhttp
//	cap what is in flight, throttle, limit a rate                breaker (Bulkhead), breaker/limit
//	give a repeated request the first one's result, by its key   idempotency; redisstore, idempotencyhttp
//	do it later, surely, although SQS or the Region is gone      queue; queue/sqsqueue, queue/spool
//	serve less instead of nothing                                degrade; degradehttp, redisflags, shed
//	move reads and writes to another Region                      failover; failoversql, failoverhttp
//	have the runbook as code, with approvals and a journal       failover/runbook
//	prove all that in go test                                    drtest; simnet, sqstest, redistest
//	see it all in one service                                    examples/orders
//
// The packages do not import each other. They meet through methods of errors (NotRun, OutcomeUnknown, Permanent,
// RetryAfter) and through bare method values such as breaker.Ready; take only those you need.
//
// # The one question
//
// Retry, hedge, failover and replay are four ways to run a call twice. Before it does, each asks of the error: did
// the call not run, did it run, or is that unknown? And of the call: is it a read, does it carry a key, does its
// write epoch still hold? [OutcomeOf] gives the first answer, by the same rules in every package. Mark errors of
// your own where you know better:
//
//	return holdfast.NotRun(err)             // refused before any effect: anyone may repeat it
//	return holdfast.Unknown(err)            // the reply was lost: only a keyed call may be repeated
//	return holdfast.Permanent(err)          // do not try again
//	return holdfast.After(err, time.Minute) // not before a minute has passed
//
// # Stacking order
//
// A client, outermost first:
//
//	idempotency key    outside everything, so that all attempts carry the same key
//	stub               before the time-out: an answer that needs no network needs no time
//	time-out           the caller's patience, attempts and waits included
//	retry              inside the time-out, so that it never sleeps past it
//	failover           inside retry: each attempt may go to another Region
//	breaker            per Region, inside failover: its refusal is an answer about that Region, at once
//	bulkhead           inside the breaker: calls it refuses must not hold a place
//	attempt time-out   innermost: it bounds the one exchange the others decide about
//
// A server, outermost first: shed ▸ failoverhttp ▸ idempotencyhttp ▸ degradehttp ▸ handler. Shedding costs least and
// comes first; a Region that is not the writer forwards or refuses before a key is claimed; the key comes before the
// degraded modes, so that a replay is served in read-only mode too, and a refusal releases the key and is never stored.
//
// [Stack] nests any policies and costs an allocation each; the packages' generic functions (retry.Do, breaker.Do, …)
// nest by hand and cost none.
//
// # Shutdown order
//
// Readiness off, so that no new work comes → HTTP server → idempotency Guard (handlers that outlived their client)
// → queue Worker (drains what it runs) → queue Client (flushes and spools what the others deferred) → failover and
// degrade controllers, on whose word all of these act → telemetry. [Run] does it in stages, see its example.
//
// # What is promised, and what is not
//
// Each package states its promise in its first paragraphs, in exact words. Of this one: marks keep the wrapped error
// reachable; the outermost answer wins; Run outlives its functions unless it says otherwise in its error.
// Nothing here makes a call run exactly once: across a crash or a lost reply that takes an idempotency key,
// a fence or a transaction on the side of the effect, and the packages say which of them they use.
package holdfast
