// Package proxy joins real TCP connections to a simulated network, so that the faults of package simnet act on real
// servers and on programs that know nothing of it.
//
//	n := simnet.New(simnet.Config{})
//	server, err := proxy.Attach(n, "us-east-1", "redis.east:6379", "127.0.0.1:6379") // a real server becomes a host of a zone
//	front, err := proxy.Expose(n, "users", "redis.east:6379", "127.0.0.1:0")         // a real address leads from a zone to a host
//	client := redis.NewClient(&redis.Options{Addr: front.Addr()})
//
// A client in this process may as well dial the host through [simnet.Net.Dialer]; one in another process needs the
// front. In package drtest, Region.Attach and Region.Expose do the same for a World in real time.
//
// The bytes pass through connections of the simulated network, so every shape and mode means here what it means
// there: latency, bandwidth and loss, black holes that keep bytes and release them at TCP's next retransmission,
// half-open connections after a crash, resets, hanging servers. The end of a stream travels like bytes do: a slow
// link closes slowly.
//
// # What a client sees at a front
//
//	mode        new connection                            connection there is
//	up          accepted                                  carried
//	blackhole   SYNs are dropped (Linux), it times out    silence, then what TCP would do
//	refuse      ECONNREFUSED                              ECONNRESET
//	reset       accepted, then ECONNRESET                 ECONNRESET
//	hang        accepted, then silence                    silence
//
// The kernel accepts a connection before the simulated one is made. So a client's dial does not take the link's round
// trip; its first bytes do, twice. On systems other than Linux a black hole accepts, and then is silent.
//
// # Not promised
//
// A server that does not listen shows as a reset, not as a refusal. What a server's kernel has taken is out of reach:
// the proxy cannot freeze or kill a process. Packets below TCP are not seen.
package proxy
