// Package retryhttp repeats HTTP requests.
//
//	client := &http.Client{Transport: &retryhttp.Transport{Policy: &retry.Policy{Name: "payments"}}}
//
// # What is repeated
//
// [Transport] repeats a request whose method is safe (GET, HEAD, OPTIONS, TRACE), PUT, DELETE, or that carries an
// Idempotency-Key header, and any other request as long as nothing ran: the error says NotRun, such as a refused
// connection, or the server refused it with 408, 421, 425 or 429. [Transport.Repeatable] replaces this rule. A
// request with a body is repeated only if it has GetBody, as those of [http.NewRequest] with a bytes.Buffer, bytes.Reader or
// strings.Reader have.
//
// Repeated are failed exchanges and responses with status 408, 421, 425, 429 and 5xx other than 501, 505 and 511. Not repeated are
// rejected certificates and URLs that cannot be used.
//
// # What the caller gets
//
// The first good response. If the last attempt got a response, that response as it came, whatever its status: see
// [retry.From] of its Request's context for the number of attempts. A status speaks for its own attempt alone: before a 429 that came second,
// the first attempt may have run. Else the last error, in a [retry.Error] if there was more than one attempt.
//
// Responses that are dropped are closed, after reading up to 64 KiB of them, and at most for a second, so that their
// connections can be used again.
//
// # Times
//
// Retry-After counts, in seconds and as a date, within the policy's MaxHint. AttemptTimeout covers an attempt up to the
// response's header; reading the body is limited by the request's context alone. http.Client.Timeout covers all attempts together.
//
// # One layer
//
// A service mesh repeats requests too. [Middleware] makes the attempts of the mesh count for the policies of a server, and
// [Transport.OneLayer] asks the mesh to leave repeating to this client: see docs/mesh.md.
package retryhttp
