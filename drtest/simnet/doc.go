// Package simnet is a network in memory that behaves like TCP between zones: plain [net.Conn] and
// [net.Listener] values with latency, bandwidth and faults, on the time of a testing/synctest bubble.
//
//	n := simnet.New(simnet.Config{Seed: 1})
//	n.SetLink("users", "us-east-1", simnet.Shape{Latency: 30 * time.Millisecond})
//	l, err := n.Listen("us-east-1", "api.example:80")
//	...
//	go http.Serve(l, handler)
//	client := &http.Client{Transport: &http.Transport{DialContext: n.Dialer("users")}}
//
//	heal := n.Overlay("users", "us-east-1", func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
//	time.Sleep(time.Hour)
//	heal()
//
// # Time
//
// The package reads the clock and sets timers through package time, so in a bubble an hour of silence
// takes microseconds. Every wait is on a channel or a timer and no mutex is held across one: synctest
// calls such waits durable, and time moves on. Outside a bubble it works on wall time.
//
// Delays are whole multiples of [Grain], give or take [Lane], and whatever a fault wakes is moved to the next
// instant in the lane of the message it belongs to: the remainder of its time by Grain stays between the
// same two multiples of Lane. Two chains of events that start in different lanes therefore never meet in
// one nanosecond, and within a chain each way over a link moves to another nanosecond of the lane, so an
// answer does not meet the time-out that was set with its request. That is what lets package drtest
// promise one order of events per seed; ties would be broken by the scheduler.
//
// # Faults
//
// A link is one direction between two zones. Its [Shape] has a [Mode]:
//
//   - ModeUp carries bytes.
//   - ModeBlackhole drops packets in silence. Bytes written are kept, and arrive at the sender's next
//     retransmission after the link is up again; a dial gives up after [SYNGiveUp], a connection with
//     unacknowledged bytes after [DataGiveUp].
//   - ModeRefuse answers a dial with ECONNREFUSED and resets the connections there are.
//   - ModeReset accepts a dial and resets every connection.
//   - ModeHang accepts a dial and every byte, and delivers nothing until it ends: a frozen process
//     behind a live kernel.
//
// [Net.Crash] kills the connections that end in a zone without telling their peers, as a power cut does.
// A peer keeps a half-open connection and meets ECONNRESET with its next bytes.
//
// Shape.Loss drops packets one by one: what a reader sees of it are retransmissions, and all bytes of the connection
// wait behind them. [Net.SpoilNames] breaks look-ups, [Net.DownHost] takes one host away.
//
// # Zones in zones
//
// A zone named "us-east-1/a" lies in "us-east-1": what no link of its own says is taken from those of the outer zone,
// overlays on the outer zone cover it, and a crash of the outer zone is its own.
//
// # Not modelled
//
// Congestion control, receive windows (Write never blocks) and keep-alive probes. Bytes that are in flight when a link goes black count as lost and are
// retransmitted.
package simnet
