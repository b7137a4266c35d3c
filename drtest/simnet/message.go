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

// Carry takes one message of size bytes from a zone to another, on a connection that is thought to exist
// already: it returns when the message arrives. It is the cheap way to simulate a call; faults act on it
// as on the bytes of a [Conn]. The error wraps ECONNREFUSED, ECONNRESET, ETIMEDOUT or the error of ctx.
// When ctx ends the message may still be on its way: nobody is told.
func (n *Net) Carry(ctx context.Context, from, to string, size int) error {
	m := message{n: n, link: n.link(from, to), back: n.link(to, from), sent: n.now()}
	if err := m.carry(ctx, size); err != nil {
		return &net.OpError{Op: "write", Net: "tcp", Addr: textAddr(to), Err: err}
	}
	return nil
}

// errRefusing and the like are how a message in flight ends; nil is arrival.
var (
	errRefusing = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	errReset    = os.NewSyscallError("write", syscall.ECONNRESET)
	errTimeout  = os.NewSyscallError("write", syscall.ETIMEDOUT)
	errChanged  = errors.New("link changed")
)

type message struct {
	n          *Net
	link, back *link
	sent       time.Duration
}

func (m *message) carry(ctx context.Context, size int) error {
	state := m.link.state.Load()
	leaves := m.link.transmit(&state.Shape, m.sent, size)
	lost := false // the network dropped it once
	for {
		err := m.attempt(ctx, state, leaves)
		if err != errChanged {
			return err
		}
		now := m.n.now()
		lost = lost || state.Mode == ModeBlackhole
		was := state.Mode
		state = m.link.state.Load()
		switch {
		case was == ModeUp && state.Mode == ModeBlackhole:
			lost = true
		case was == ModeUp && (state.Mode == ModeRefuse || state.Mode == ModeReset):
			return cmpOr(m.n.sleepUntil(ctx, align(now, m.sent)), errReset)
		case was != ModeUp && lost:
			leaves = retransmission(m.sent, now, MinRTO)
		case was != ModeUp:
			leaves = align(now, m.sent)
		}
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
func (m *message) attempt(ctx context.Context, state *linkState, leaves time.Duration) error {
	var at time.Duration
	var outcome error
	switch state.Mode {
	case ModeUp:
		at = align(leaves+state.delay(m.stream(&state.Shape)), m.sent)
	case ModeRefuse:
		at, outcome = leaves+m.roundTrip(), errRefusing
	case ModeReset:
		at, outcome = leaves+m.roundTrip(), errReset
	case ModeBlackhole:
		at, outcome = m.sent+DataGiveUp, errTimeout
	default:
		at = never
	}
	return m.wait(ctx, state, at, outcome)
}

func (m *message) roundTrip() time.Duration { return rtt(m.link, m.back) }

// stream returns the random stream of this message, named by link and instant; nil if none is needed.
func (m *message) stream(s *Shape) *rand.Rand {
	if s.Jitter == 0 {
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
