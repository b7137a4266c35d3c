package simnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"
)

// Dialer returns a function like [net.Dialer.DialContext] for a caller in a zone. It takes an address
// "host:port" with the name or the IP address of a host that listens, and takes the round trips that TCP
// takes. Its errors are [*net.OpError] values that wrap ECONNREFUSED, ETIMEDOUT, the context's error, or
// a [*net.DNSError] for an unknown host.
func (n *Net) Dialer(zone string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := n.dial(ctx, zone, address)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: textAddr(address), Err: err}
		}
		return c, nil
	}
}

// A textAddr is the address of a failed dial.
type textAddr string

func (a textAddr) Network() string { return "tcp" }
func (a textAddr) String() string  { return string(a) }

func (n *Net) dial(ctx context.Context, from, address string) (*Conn, error) {
	address, err := n.resolve(ctx, from, address)
	if err != nil {
		return nil, err
	}
	_, to, err := n.find(address)
	if err != nil {
		return nil, err
	}
	there, back := n.link(from, to), n.link(to, from)
	rng := Stream(n.config.Seed, fmt.Sprintf("dial/%s/%s@%d", there.name, address, n.now()))
	mode, err := n.handshake(ctx, there, back, rng)
	if err != nil {
		return nil, err
	}
	l, _, err := n.find(address)
	if err != nil {
		return nil, err
	}
	if l == nil || mode == ModeRefuse || n.downAddress(address) {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	client, server := n.connect(from, to, ephemeral(rng), l.addr, address)
	if mode == ModeReset {
		now := n.now()
		client.resetAt(now + rtt(there, back))
		server.resetAt(now)
	}
	select {
	case l.backlog <- server:
		return client, nil
	default:
		server.crash()
		client.abort()
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
}

func rtt(there, back *link) time.Duration {
	return roundUp(there.state.Load().Latency) + roundUp(back.state.Load().Latency)
}

// handshake waits until a SYN is answered, and returns the mode of the link at that instant.
func (n *Net) handshake(ctx context.Context, there, back *link, rng *rand.Rand) (Mode, error) {
	start := n.now()
	next := start // when the next SYN leaves
	for {
		if err := n.sleepUntil(ctx, next); err != nil {
			return 0, err
		}
		t, b := there.state.Load(), back.state.Load()
		if t.Mode != ModeBlackhole && b.Mode != ModeBlackhole {
			arrived := hop(next+t.delay(rng, InitialRTO), next)
			answered := hop(arrived+b.delay(rng, InitialRTO), arrived)
			if err := n.sleepUntil(ctx, answered); err != nil {
				return 0, err
			}
			if t, b = there.state.Load(), back.state.Load(); t.Mode != ModeBlackhole && b.Mode != ModeBlackhole {
				return worst(t.Mode, b.Mode), nil
			}
		}
		healed, err := n.untilHealed(ctx, t, b, start+SYNGiveUp)
		if err != nil {
			return 0, err
		}
		if next = retransmission(start, healed, InitialRTO); next >= start+SYNGiveUp {
			return 0, cmpOr(n.sleepUntil(ctx, start+SYNGiveUp), os.NewSyscallError("connect", syscall.ETIMEDOUT))
		}
	}
}

// worst orders what a dial meets first: refusal, reset, silence after the handshake.
func worst(a, b Mode) Mode {
	for _, m := range []Mode{ModeRefuse, ModeReset, ModeHang} {
		if a == m || b == m {
			return m
		}
	}
	return ModeUp
}

// untilHealed waits for a change of either state and returns its instant. At the limit it returns ETIMEDOUT.
func (n *Net) untilHealed(ctx context.Context, there, back *linkState, limit time.Duration) (time.Duration, error) {
	timer := time.NewTimer(limit - n.now())
	defer timer.Stop()
	select {
	case <-there.changed:
	case <-back.changed:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-timer.C:
		return 0, os.NewSyscallError("connect", syscall.ETIMEDOUT)
	}
	return n.now(), nil
}

// sleepUntil waits for an instant or the end of ctx.
func (n *Net) sleepUntil(ctx context.Context, at time.Duration) error {
	d := at - n.now()
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
