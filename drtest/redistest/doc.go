// Package redistest runs Redis servers in the Regions of a [drtest.World], for the real go-redis
// client, on virtual time. The commands are miniredis'; the connections, faults, replication and
// fail-over are this package's.
//
// Promise: what a client is told was written is lost only where Redis loses it too, at a fail-over
// to an asynchronous replica, and the test learns exactly what was lost.
//
//	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
//		east, west, app := w.Region("us-east-1"), w.Region("us-west-2"), w.Region("app")
//		primary := redistest.Start(east)
//		replica := primary.Replicate(west, 200*time.Millisecond)
//		client := primary.Client(app)
//		...
//		lost := replica.Promote() // the writes of the last 200 ms, or of the whole partition
//	})
//
// # go-redis in a bubble
//
// Three things in go-redis are fatal in the second bubble of a process, or name a real resolver.
// Use [Server.Client] or [Server.Options] and they do not happen:
//
//   - maintenance notifications look up the host of Options.Addr in the real DNS, even with a
//     Dialer: Options turns them off;
//   - a host name as address has the same effect elsewhere: Options has the IP address that the
//     host has in the World;
//   - a package-level pool of timers survives its bubble: [drtest.Run] empties it before each
//     World, and [Start] panics when two Worlds with Redis run at once (t.Parallel), which would
//     share the pool.
//
// # Replication
//
// [Server.Replicate] starts a read-only replica that applies each write a lag after the primary
// did, in the same order, transactions whole. Nothing is applied while the link from the primary's
// Region is not up. [Server.Promote] makes it writable and returns what had not arrived. The old
// primary goes on taking writes if somebody reaches it: fencing is the caller's problem, as it is
// with Redis. [Server.Follow] makes a server a replica of another again, dropping its own data.
//
// [Server.Standby] and [Server.FailOver] are the same thing behind one address: a managed
// fail-over inside a Region.
//
// # Other faults
//
// [Server.Pause] freezes a server with its connections open. [Server.Restart] cuts them.
// [Server.Flush] loses everything. [Server.Inject] spoils commands: an error such as LOADING or
// OOM, latency, or a reply that is lost after the command ran. Faults of the network are the
// World's; so are Gray and Throttle, whose host is [Server.Host] and whose operation is a command
// (503 becomes LOADING, 429 "max number of clients reached").
//
// go-redis does not end a command with its context unless Options.ContextTimeoutEnabled is set; a
// BLPOP without a time-out then waits for ever, in virtual time as in real.
//
// # Time
//
// A server's clock is that of its Region, skew included: a clock that jumps ahead expires keys, as
// in Redis. TTLs, blocking commands and lags run on the time of the bubble.
//
// # Not promised
//
// What miniredis does not have. Of replication: blocking pops (BLPOP and its kind), pub/sub
// messages, and the consumer groups of streams and HyperLogLogs that a server had before it was
// followed. Durability: a server that was not flushed or failed over keeps everything.
package redistest
