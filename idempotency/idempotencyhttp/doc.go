// Package idempotencyhttp guards HTTP handlers by the Idempotency-Key header, and sends that header.
//
//	protect, err := idempotencyhttp.Middleware(guard, idempotencyhttp.Config{})
//	http.ListenAndServe(addr, protect(mux))
//
// # The server
//
// [Middleware] follows draft-ietf-httpapi-idempotency-key-header. Errors are application/problem+json (RFC 9457) with a code member:
//
//	400 key_missing       no key where one is required: POST and PATCH, unless Optional
//	400 key_invalid       not a string of RFC 8941, not printable ASCII, too long, sent twice
//	400 scope_missing     no Authorization to scope the key by, and no Config.Scope
//	409 in_flight         the first request runs; Retry-After
//	409 outcome_unknown   the first request ended without an answer that can be trusted
//	409 not_replayable    the first request is done and its response could not be kept
//	413 too_large         the request body is over MaxBody and cannot be fingerprinted
//	422 mismatch          the key was used with another query or body
//	500 not_decodable     the stored response is damaged
//	503 unavailable       the store is out, or this Region does not write; Retry-After
//
// A repetition gets the first request's status, headers and body, with Idempotency-Replayed: true. "key" and key are one key.
// GET, HEAD, OPTIONS, TRACE and CONNECT pass; PUT and DELETE are guarded if they carry a key.
//
// # What is stored
//
// Responses below 500 are, but for 408, 425, 429 and those whose handler reported that nothing ran; 503 is not either. The key is
// then free again. Other 5xx hold the key: the handler may have done its work, so a repetition is 409 outcome_unknown
// until Config.Reconcile of the guard knows better. [Config.Stored] decides otherwise, but for what is never stored; the
// guard's Config.Verdict is not asked.
// A handler, or a helper such as degradehttp.Error, reports an error's outcome through the ResponseWriter's ReportOutcome(error) method.
//
// The response is sent when it has been stored. A handler that flushes, hijacks, or writes more than MaxBody answers its client
// directly; the key is then marked done and repetitions are 409 not_replayable. Trailers and 1xx are not replayed.
//
// # Clients that leave
//
// The handler does not notice that its client has gone: it runs on for up to [Config].MaxRun, its response is stored, and the
// client's next try gets it. (*idempotency.Guard).Run waits for such handlers at shutdown. Keep what a handler needs of a request in values of its context.
//
// # Keys belong to someone
//
// A key is looked up with its scope and operation, so that no client can read another's response. The default scope is a hash of
// Authorization; where tokens change between tries, or sessions are cookies, set Config.Scope to the user's ID. [GlobalScope] is for
// services with one client.
//
// # The client
//
// [Transport] adds the header. It goes outside retries and Regions, so that all tries carry one key; inside a guarded function the key is
// derived from the function's own (idempotency.ChildID), so that a re-run sends the same one.
package idempotencyhttp
