// Package failoverhttp carries a failover decision over HTTP, on both sides of a request.
//
//	mux.Handle("/orders", failoverhttp.Middleware(ctl)(failoverhttp.WriterOnly(ctl, failoverhttp.Reject503)(orders)))
//	mux.Handle("/active", failoverhttp.Active(ctl))      // Route 53 health checks, load balancers
//	mux.Handle("/failover", failoverhttp.Status(ctl))
//	admin, err := failoverhttp.Admin(ctl, authorize)
//
// # The epoch on the wire
//
// [HeaderEpoch] carries the write epoch as 16 hexadecimal digits. [Transport] sets it on writes. [Middleware] refuses a request of an
// older epoch than this process knows (412: the sender follows an old decision; nothing was done) and one of a newer epoch (503: this
// process does, and may be the old writer). It compares with what this process knows: a check that must hold
// while this process is paused is the resource's, in the transaction of the write.
//
// # Clients
//
// [Transport] sends requests through a failover.Client over [Endpoint]s: safe methods go to the nearest usable Region and fall through to
// others, all else goes to the writer and never falls through.
//
// # Admission
//
// After an unplanned move all traffic of two Regions arrives in one, at once. [Admission] lets in what the Region can take and sheds
// the rest by importance with 503 and Retry-After. Planned moves ramp instead.
//
// Refusals are problem details (RFC 9457) and say that nothing was done.
package failoverhttp
