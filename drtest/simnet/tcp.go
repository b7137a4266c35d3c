package simnet

import "time"

// How TCP behaves when nobody answers. Every number the package takes from elsewhere stands here.
//
//	constant     value    source
//	InitialRTO   1 s      RFC 6298 §2.1; Linux TCP_TIMEOUT_INIT
//	MinRTO       200 ms   Linux TCP_RTO_MIN (RFC 6298 §2.4 would have 1 s)
//	MaxRTO       120 s    Linux TCP_RTO_MAX; RFC 6298 §2.5 allows 60 s or more
//	SYNGiveUp    127 s    Linux tcp_syn_retries = 6: 1+2+4+8+16+32+64 s
//	DataGiveUp   924.6 s  Linux tcp_retries2 = 15: 0.2 s doubled 9 times, then 120 s each
//	Backlog      4096     Linux net.core.somaxconn since 5.4
const (
	InitialRTO = time.Second
	MinRTO     = 200 * time.Millisecond
	MaxRTO     = 120 * time.Second
	SYNGiveUp  = 127 * time.Second
	DataGiveUp = 924600 * time.Millisecond
	Backlog    = 4096
)

// Grain is the resolution of every delay of the network, and Lane how many neighbouring nanoseconds belong
// to one chain of events. See the package comment, "Time".
const (
	Grain = 100 * time.Microsecond
	Lane  = 7 * time.Nanosecond
)

// retransmission returns the first instant at or after now at which a sender that transmitted at
// sent, and again after rto, 2·rto, 4·rto … up to MaxRTO apart, transmits once more.
func retransmission(sent, now, rto time.Duration) time.Duration {
	at := sent + rto
	for at < now {
		rto = min(2*rto, MaxRTO)
		at += rto
	}
	return at
}

// align returns the first instant at or after t with the sub-grain remainder of ref.
func align(t, ref time.Duration) time.Duration {
	d := (ref - t) % Grain
	if d < 0 {
		d += Grain
	}
	return t + d
}

// roundUp returns d rounded up to a multiple of Grain.
func roundUp(d time.Duration) time.Duration { return align(d, 0) }

// hop returns when what left at sent, and needs until t, arrives: next to t, in the lane of sent, but on
// another of its nanoseconds. A timer that was set when a request left has the nanosecond of its start, so
// it does not fire together with the answer, not even where the delays add up to the time-out.
func hop(t, sent time.Duration) time.Duration {
	if t == sent {
		return t
	}
	r := sent % Grain
	k := r % Lane
	return align(t-Lane+1, r-k+(k+1)%Lane)
}
