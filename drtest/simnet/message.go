package simnet

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"
)

// A Route is the way from one zone to another, for messages. It is a value and safe for concurrent use.
type Route struct {
	n          *Net
	link, back *link
	to         string
	answer     bool // the way back, on a connection that is known to exist
}

// Route returns the way from a zone to another.
func (n *Net) Route(from, to string) Route {
	return Route{n: n, link: n.link(from, to), back: n.link(to, from), to: to}
}

// Up reports whether the way is up now.
func (r Route) Up() bool { return r.link.state.Load().Mode == ModeUp }

// Back returns the way of an answer, in the other direction; from is the zone it leads to. Where a request would
// be refused, an answer is cut off: its connection was there, so nobody may conclude that nothing was done.
func (r Route) Back(from string) Route {
	return Route{n: r.n, link: r.back, back: r.link, to: from, answer: true}
}

// Carry takes one message of size bytes along the route, on a connection that is thought to exist already: it
// returns when the message arrives. It is the cheap way to simulate a call; faults act on it as on the
// bytes of a [Conn]. The error wraps ECONNREFUSED, ECONNRESET, ETIMEDOUT or the error of ctx. When ctx
// ends the message may still be on its way: nobody is told.
func (r Route) Carry(ctx context.Context, size int) error {
	m := message{n: r.n, link: r.link, back: r.back, sent: r.n.now()}
	err := m.carry(ctx, size)
	if err == nil {
		return nil
	}
	op := "write"
	switch {
	case err == errRefusing && r.answer:
		op, err = "read", errCut
	case err == errRefusing:
		op = "dial" // there was no connection: callers may conclude that nothing was done
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: textAddr(r.to), Err: err}
}

// Refuse takes a round trip and returns the error of a dial that a host refuses.
func (r Route) Refuse(ctx context.Context) error {
	sent := r.n.now()
	err := cmpOr(r.n.sleepUntil(ctx, hop(sent+rtt(r.link, r.back), sent)), errRefusing)
	return &net.OpError{Op: "dial", Net: "tcp", Addr: textAddr(r.to), Err: err}
}

// Carry is shorthand for [Net.Route] and [Route.Carry].
func (n *Net) Carry(ctx context.Context, from, to string, size int) error {
	return n.Route(from, to).Carry(ctx, size)
}

// errRefusing and the like are how a message in flight ends; nil is arrival.
var (
	errRefusing = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	errReset    = os.NewSyscallError("write", syscall.ECONNRESET)
	errCut      = os.NewSyscallError("read", syscall.ECONNRESET)
	errTimeout  = os.NewSyscallError("write", syscall.ETIMEDOUT)
	errChanged  = errors.New("link changed")
)

type message struct {
	n          *Net
	link, back *link
	sent       time.Duration
	leaves     time.Duration // when it left, or will, once the link is up
	at         time.Duration // when it arrives, once it is on a link that is up
	lost       bool          // the network dropped it: it arrives after a retransmission
}

func (m *message) carry(ctx context.Context, size int) error {
	state := m.link.state.Load()
	m.depart(state, m.link.transmit(&state.Shape, m.sent, size))
	for {
		err := m.attempt(ctx, state)
		if err != errChanged {
			return err
		}
		was := state.Mode
		state = m.link.state.Load()
		now := m.n.now()
		switch {
		case was == ModeUp && (state.Mode == ModeRefuse || state.Mode == ModeReset):
			return cmpOr(m.n.sleepUntil(ctx, hop(now+Lane, m.sent)), errReset)
		case was == ModeUp && state.Mode == ModeUp:
			// What is on its way is not touched. What has not left yet meets the link as it is then: two changes of one instant, as the heal
			// of a zone and the first symptom of its recovery, are one, whether this goroutine has looked between them or not.
			if m.leaves >= now {
				m.depart(state, m.leaves)
			}
		case was == ModeUp:
			m.lost = m.lost || state.Mode == ModeBlackhole
		case m.lost:
			again := retransmission(m.sent, now, MinRTO)
			if again >= m.sent+DataGiveUp {
				return cmpOr(m.n.sleepUntil(ctx, m.sent+DataGiveUp), errTimeout)
			}
			m.depart(state, again)
		default:
			m.depart(state, align(now, m.sent))
		}
	}
}

// depart puts the message on the link, or lets it wait, from an instant on.
func (m *message) depart(state *linkState, leaves time.Duration) {
	m.leaves = leaves
	switch state.Mode {
	case ModeUp:
		m.at = hop(leaves+state.delay(m.stream(&state.Shape), MinRTO), m.sent)
	case ModeRefuse, ModeReset:
		m.at = hop(leaves+rtt(m.link, m.back), m.sent)
	case ModeBlackhole:
		m.lost = true
	}
}

// cmpOr returns the first error that is not nil.
func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// attempt waits for what happens to the message while the link stays in a state; errChanged if it does not.
func (m *message) attempt(ctx context.Context, state *linkState) error {
	switch state.Mode {
	case ModeUp:
		return m.wait(ctx, state, m.at, nil)
	case ModeRefuse:
		return m.wait(ctx, state, m.at, errRefusing)
	case ModeReset:
		return m.wait(ctx, state, m.at, errReset)
	case ModeBlackhole:
		return m.wait(ctx, state, m.sent+DataGiveUp, errTimeout)
	default:
		return m.wait(ctx, state, never, nil)
	}
}

// stream returns the random stream of this message, named by link and instant; nil if none is needed.
func (m *message) stream(s *Shape) *rand.Rand {
	if !s.random() {
		return nil
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, m.link.name) // never fails
	return rand.New(rand.NewPCG(m.n.config.Seed^h.Sum64(), uint64(m.sent)))
}

func (m *message) wait(ctx context.Context, state *linkState, at time.Duration, outcome error) error {
	now := m.n.now()
	if at <= now {
		return cmpOr(ctx.Err(), outcome)
	}
	var due <-chan time.Time
	if at != never {
		timer := time.NewTimer(at - now)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
		return outcome
	case <-state.changed:
		return errChanged
	case <-ctx.Done():
		return ctx.Err()
	}
}
