// Package breakerhttp puts circuit breakers around an HTTP client.
//
//	payments := holdfast.Must(breaker.New(breaker.Config{Name: "payments"}))
//	client := &http.Client{Transport: &breakerhttp.Transport{Breaker: breakerhttp.One(payments)}}
//
// # What counts
//
//   - Failures: errors of the exchange, responses 5xx and 429, and a body that breaks off while it is read. A
//     Retry-After header becomes the breaker's open time, within its bounds.
//   - Neutral: 408 and 501, which say nothing about health; the caller's cancel, and a deadline too short to judge by.
//   - Successes: all others, once the body has been read to its end or closed.
//
// A failure is counted as soon as it is known. A success is not known before the body's end: until then the call is
// under way, and while half-open it holds its place as a probe. Slow, in the sense of breaker.Config.SlowCall, is the
// time to the response's header: a long download is not a slow server. A response whose body is never closed is
// never counted; net/http asks to close it anyway.
//
// A rejected request returns a *breaker.OpenError inside the *url.Error of net/http. It was not sent, and says so.
//
// # Where it stands
//
// Inside retries and key-making transports, outside the wire: every attempt is judged, and a retry that an open
// breaker refuses costs nothing.
package breakerhttp
