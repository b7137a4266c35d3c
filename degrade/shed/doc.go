// Package shed refuses the least important requests when there are too many.
//
// A request has one of four classes. A [Shedder] has one limit, of requests in flight, and each class may use a share of it: with
// the defaults Sheddable is refused from 50 % on, SheddablePlus from 70 %, Critical from 90 % and CriticalPlus at 100 %. So that a
// service that is overloaded sees its recovery, one in a hundred of the refused is spared, up to a tenth above the limit.
// A request that brings a deadline it cannot meet is refused at once.
//
//	s, err := shed.New(shed.Config{Name: "front", MaxInFlight: 200})
//	server := &http.Server{Handler: s.Middleware(mux)}
//
// Put it outermost: before sessions, idempotency and anything else that costs. A refusal is a 503 with Retry-After, sent before
// the body is read. Serve health checks beside it, not behind it: a load balancer that sees them refused takes the instance out, and the
// others get its load.
//
// # Classes travel
//
// The class comes with the request as the member holdfast.criticality of the Baggage header; degradehttp.Transport sends it on. What a
// client says is believed up to Config.MaxClass, so that at the edge nobody can call itself critical-plus: say MaxClass for the edge, leave it
// for services that only your own services call. The time left comes as Request-Deadline-Ms, in milliseconds, and needs no synchronised clocks.
// What a request takes at least is learned from the shortest ones behind the Shedder, whatever they are: set Config.MinTime where some answers
// are much quicker than others, or only those whose time is over are refused.
//
// # Not promised
//
// The limit is yours to find, for example with a load test: it does not adapt (package breaker/limit has a limit that does). Requests are
// not queued: a queue in an overloaded server answers those who have left.
package shed
