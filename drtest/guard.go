package drtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// liveWorlds maps the number of a bubble to its run. The standard library's default transport is one for
// the whole process, so the guard has to find out whose request it sees.
var liveWorlds sync.Map

// init lets the dialer of [http.DefaultTransport], and so of its clones, refuse connections from inside a World. It
// is done here because no request is under way yet: the field must not change later.
func init() {
	tr, ok := http.DefaultTransport.(*http.Transport)
	if !ok || tr.DialContext == nil {
		return
	}
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := refuseReal(address); err != nil {
			return nil, err
		}
		return dial(ctx, network, address)
	}
}

// guardDefaultTransport makes [http.DefaultTransport] refuse http requests from inside a World even where it has an
// idle connection. For https the dialer alone must do: a protocol of ours would turn off HTTP/2 for the process.
func guardDefaultTransport() {
	tr, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return
	}
	defer func() { _ = recover() }() // another guard is registered already: leave it
	tr.RegisterProtocol("http", guard{})
}

type guard struct{}

// RoundTrip refuses requests of goroutines that live in a World and leaves the others to the transport.
func (guard) RoundTrip(req *http.Request) (*http.Response, error) {
	err := refuseReal(req.URL.Host)
	if err == nil {
		return nil, http.ErrSkipAltProtocol
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return nil, err
}

// refuseReal fails the World in which the calling goroutine lives, if any: a real socket would stop its time. A
// dialer of the user's own is found by the watchdog.
func refuseReal(address string) error {
	own := ownGoroutine()
	if own.bubble == 0 {
		return nil
	}
	r, ok := liveWorlds.Load(own.bubble)
	if !ok {
		return nil // a bubble of somebody else
	}
	gs := inBubble(allGoroutines(), own.bubble)
	for _, g := range gs {
		if g.id == own.id {
			own = g
		}
	}
	err := fmt.Errorf("drtest: real connection to %s from inside a World, at %v; use Region.HTTPClient, Region.Transport or Region.DialContext", address, own.place(gs))
	r.(*run).fail("%v", err)
	return err
}
