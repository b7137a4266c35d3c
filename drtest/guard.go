package drtest

import (
	"fmt"
	"net/http"
	"sync"
)

// liveWorlds maps the number of a bubble to its run. The standard library's default transport is one for
// the whole process, so the guard has to find out whose request it sees.
var liveWorlds sync.Map

// guardDefaultTransport makes [http.DefaultTransport] refuse http requests from inside a World: a real
// socket would stop virtual time. Requests from elsewhere are as before. An https request is found by the
// watchdog; a guard for it would turn off HTTP/2 for the whole process.
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
	own := ownGoroutine()
	if own.bubble == 0 {
		return nil, http.ErrSkipAltProtocol
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	gs := inBubble(allGoroutines(), own.bubble)
	for _, g := range gs {
		if g.id == own.id {
			own = g
		}
	}
	err := fmt.Errorf("drtest: real connection to %s from inside a World, at %v; use Region.HTTPClient, Region.Transport or Region.DialContext", req.URL.Host, own.place(gs))
	if r, ok := liveWorlds.Load(own.bubble); ok {
		r.(*run).fail("%v", err)
	}
	return nil, err
}
