package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A Front is a real address that leads to a host of a simulated network. [Expose] makes it.
type Front struct {
	n       *simnet.Net
	zone    string // where its clients are
	host    string // the zone of the host
	address string
	l       *net.TCPListener
	door    door
	pairs   pairs
}

// Expose listens on a real address, such as "127.0.0.1:0", and carries every connection from a zone to the host at
// address, "name:port". The host must be known to the network. [Front.Close] ends it and waits.
func Expose(n *simnet.Net, zone, address, listen string) (*Front, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("proxy: Expose(%q): %w", address, err)
	}
	host, ok := n.Zone(name)
	if !ok {
		return nil, fmt.Errorf("proxy: Expose(%q): the network has no such host", address)
	}
	l, err := listenOn(listen)
	if err != nil {
		return nil, fmt.Errorf("proxy: Expose(%q): %w", address, err)
	}
	f := &Front{n: n, zone: zone, host: host, address: address, l: l}
	f.door.l = f.l
	f.pairs.init()
	f.pairs.tasks.Go(f.run)
	return f, nil
}

// portTries is how often a free port may be taken by somebody else.
const portTries = 10

// listenOn listens on a port that is named: a socket loses one that the kernel chose when it stops listening.
func listenOn(address string) (*net.TCPListener, error) {
	var failed error
	for range portTries {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		if _, port, _ := net.SplitHostPort(address); port != "0" {
			return l.(*net.TCPListener), nil
		}
		named := l.Addr().String()
		_ = l.Close()
		if l, failed = net.Listen("tcp", named); failed == nil {
			return l.(*net.TCPListener), nil
		}
	}
	return nil, failed
}

// Addr returns the real address, "ip:port".
func (f *Front) Addr() string { return f.l.Addr().String() }

// run opens and shuts the door as the links ask for, until the front is closed.
func (f *Front) run() {
	defer f.door.letGo()
	for f.pairs.ctx.Err() == nil {
		there, changed := f.n.Changes(f.zone, f.host)
		back, changedBack := f.n.Changes(f.host, f.zone)
		changes := func() {
			select {
			case <-changed:
			case <-changedBack:
			case <-f.pairs.ctx.Done():
			}
		}
		switch {
		case there.Mode == simnet.ModeBlackhole || back.Mode == simnet.ModeBlackhole:
			if f.door.silence() {
				changes()
				continue
			}
		case there.Mode == simnet.ModeRefuse || back.Mode == simnet.ModeRefuse:
			if f.door.refuse() {
				changes()
				continue
			}
		}
		f.door.open()
		f.acceptUntil(changes)
	}
}

// acceptUntil accepts connections until changes returns.
func (f *Front) acceptUntil(changes func()) {
	_ = f.l.SetDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.accept()
	}()
	changes()
	_ = f.l.SetDeadline(time.Unix(1, 0)) // wakes Accept
	<-done
}

// acceptPause is how long accepting rests after an error of the system, as one about too many open files.
const acceptPause = 10 * time.Millisecond

func (f *Front) accept() {
	for {
		c, err := f.l.AcceptTCP()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) || f.pairs.ctx.Err() != nil:
			if c != nil {
				_ = c.Close()
			}
			return
		case err != nil:
			time.Sleep(acceptPause)
			continue
		}
		if f.door.fillers(c) {
			_ = c.Close()
			continue
		}
		f.pairs.tasks.Go(func() { f.serve(c) })
	}
}

// serve carries one connection to the host.
func (f *Front) serve(c *net.TCPConn) {
	ctx, cancel := context.WithCancel(f.pairs.ctx)
	defer cancel()
	sim, err := f.n.Dialer(f.zone)(ctx, "tcp", f.address)
	if err != nil {
		_ = c.SetLinger(0)
		_ = c.Close()
		return
	}
	f.pairs.carry(sim.(*simnet.Conn), c)
}

// Close stops listening, resets every connection and waits for the goroutines.
func (f *Front) Close() error {
	f.pairs.cancel()
	f.pairs.close()
	return f.l.Close()
}
