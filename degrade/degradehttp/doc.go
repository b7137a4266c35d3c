// Package degradehttp brings degrade's levels to HTTP, on both sides.
//
//	levels, err := degradehttp.Middleware(c, degradehttp.Config{
//		Feature: checkout,
//		Routes: map[string]degradehttp.Route{
//			"/search":           {Feature: search},
//			"GET /oauth/return": {Feature: login, Kind: degradehttp.KindWrite}, // a GET that changes something
//			"POST /logout":      {Kind: degradehttp.KindPass},
//		},
//	})
//	server := &http.Server{Handler: levels(mux)}
//
// # Server
//
// [Middleware] decides before the body is read: GET reads and other methods write, unless a route says otherwise; HEAD, OPTIONS and
// health routes always pass. A refusal is 503 with Retry-After, no-store and RFC 9457 problem details that name feature, level and cause.
// An admitted request sees the levels it began with ([degrade.Controller.Pin]). An answer that is not the real thing says so:
//
//	Degradation: checkout;level=limited, history;source=stale;age=42, payments;source=stub
//	Age: 42
//	Cache-Status: holdfast; hit; ttl=-32
//
// [Guard] protects one handler, [Error] writes any error of this module as the right answer, [Status] shows what is going on as JSON and
// as a page, [Admin] lets authorized people override it, and [Readiness] stays ready while degraded, so that a load balancer
// does not empty the fleet.
//
// # Client
//
// [StubTransport] lets a stub answer for a dependency that lives in another Region; [Transport] sends the criticality of the
// request at hand and the time it has left.
//
// # Order
//
// Server: shed ▸ failoverhttp ▸ idempotencyhttp ▸ degradehttp ▸ handler, so that a replay is served in read-only mode and a refusal is
// never stored as a result. Refusals and the Degradation field tell the names of features, and of dependencies that are stubbed, to
// whoever asks: name them accordingly, or strip the field at the edge.
package degradehttp
