package drtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Region is a zone of the World: hosts, stores and processes that share a fate. [World.Region] makes it.
// It is safe for concurrent use.
type Region struct {
	w        *World
	name     string
	parent   *Region // of an Availability Zone
	resolver func() *net.Resolver

	mu       sync.Mutex // guards all below; never held while waiting
	hosts    map[string]*endpoint
	servers  []*http.Server
	closers  []func()
	serving  sync.WaitGroup
	skew     time.Duration
	procs    []*Process
	zones    []*Region
	machines int
	downs    int
	life     context.Context // ends when the Region goes down, or the World ends
	dead     context.CancelCauseFunc
}

func newRegion(w *World, name string, parent *Region) *Region {
	r := &Region{w: w, name: name, parent: parent, hosts: map[string]*endpoint{}}
	r.life, r.dead = context.WithCancelCause(w.ctx)
	r.resolver = sync.OnceValue(func() *net.Resolver {
		host := "dns." + r.HostPart() + ".internal"
		if err := w.net.ServeDNS(name, host); err != nil {
			panic(err) // only after the end of the World
		}
		return w.net.Resolver(name, host)
	})
	return r
}

// Name returns the name of the Region.
func (r *Region) Name() string { return r.name }

// HostPart returns the name as a part of a host name: a slash becomes a dot.
func (r *Region) HostPart() string { return strings.ReplaceAll(r.name, "/", ".") }

// Zone returns an Availability Zone of the Region and makes it if it is new. It is used like a Region and named
// "region/zone". What happens to the Region happens to its zones; an AZDown fault takes one of them away. Between
// zones of a Region a message takes half a millisecond, to other Regions what the Region takes. A zone has none itself.
func (r *Region) Zone(name string) *Region { return r.w.Region(r.name + "/" + name) }

// adopt makes the fate of the Region that of a new zone, which nobody else knows yet.
func (r *Region) adopt(zone *Region) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.zones = append(r.zones, zone)
	if zone.downs = r.downs; zone.downs > 0 {
		zone.dead(ErrCrashed)
	}
}

// within reports whether the Region is another, or a zone of it.
func (r *Region) within(name string) bool {
	return r.name == name || r.parent != nil && r.parent.name == name
}

// World returns the World of the Region.
func (r *Region) World() *World { return r.w }

// skewBy sets the clocks of the Region ahead.
func (r *Region) skewBy(d time.Duration) (undo func()) {
	add := func(d time.Duration) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.skew += d
	}
	add(d)
	return func() { add(-d) }
}

func (r *Region) skewed() time.Duration {
	r.mu.Lock()
	skew := r.skew
	r.mu.Unlock()
	if r.parent != nil {
		skew += r.parent.skewed()
	}
	return skew
}

// die kills what runs in the Region.
func (r *Region) die() {
	r.mu.Lock()
	r.downs++
	procs, zones, dead := r.procs, r.zones, r.dead
	r.mu.Unlock()
	dead(ErrCrashed)
	for _, p := range procs {
		p.down()
	}
	for _, z := range zones {
		z.die()
	}
}

// revive lets it start again.
func (r *Region) revive() {
	r.mu.Lock()
	r.downs--
	if r.downs == 0 {
		r.life, r.dead = context.WithCancelCause(r.w.ctx)
	}
	procs, zones := r.procs, r.zones
	r.mu.Unlock()
	for _, p := range procs {
		p.release()
	}
	for _, z := range zones {
		z.revive()
	}
}

// Now returns the time as the clocks of the Region show it: time.Now plus the skew of a ClockSkew fault.
// package time has one clock per bubble, so code that is to feel a skew must ask here.
func (r *Region) Now() time.Time {
	return time.Now().Add(r.skewed())
}

// Serve runs an HTTP server in the Region under a host name, on port 80, until the World ends. Requests
// reach it over the network, in the World's fidelity. It panics if the name has a server already, as
// [http.Handle] does.
func (r *Region) Serve(host string, handler http.Handler) { r.serve(host, "80", handler, nil) }

// ServeTLS is [Region.Serve] on port 443 with TLS 1.3 and a certificate valid between two instants, which
// may lie in the past or in the future. Clients made by [Region.Transport] trust its authority.
func (r *Region) ServeTLS(host string, handler http.Handler, notBefore, notAfter time.Time) {
	cert, err := authority().Issue(notBefore, notAfter, host)
	if err != nil {
		panic(err)
	}
	r.serve(host, "443", handler, &tlsHost{name: host, cert: cert})
}

func (r *Region) serve(host, port string, handler http.Handler, secure *tlsHost) {
	e := &endpoint{region: r, host: host, handler: handler, tls: secure}
	l, err := r.w.net.Listen(r.name, net.JoinHostPort(host, port))
	if err != nil {
		panic(fmt.Sprintf("drtest: Region %q: Serve(%q): %v", r.name, host, err))
	}
	server := &http.Server{Handler: e, ErrorLog: discardLog}
	if secure != nil {
		server.TLSConfig = secure.config(r.w.ctx)
	}
	r.w.addEndpoint(net.JoinHostPort(host, port), e)
	if r.w.host.real() {
		server.ConnState = r.track()
	}
	r.mu.Lock()
	r.servers = append(r.servers, server)
	r.mu.Unlock()
	r.serving.Go(func() {
		if secure != nil {
			_ = server.ServeTLS(l, "", "")
			return
		}
		_ = server.Serve(l)
	})
}

// track returns a hook that lets the Region wait for a server's connections. In a bubble the goroutines of those
// that stay are found anyway.
func (r *Region) track() func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			r.serving.Add(1)
		case http.StateClosed, http.StateHijacked:
			r.serving.Done()
		}
	}
}

// Listen accepts connections in the Region on an address "host:port", for servers that do not speak HTTP.
// The World closes the listener at its end. Faults can name the host; a server that is to heed Gray and Throttle
// asks [Region.Disturbed].
func (r *Region) Listen(address string) (net.Listener, error) {
	l, err := r.w.net.Listen(r.name, address)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(address) // the network has accepted it
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.hosts[host] = true
	return l, nil
}

// DialContext connects from the Region to a host of any Region, as [net.Dialer.DialContext] does.
func (r *Region) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return r.w.net.Dialer(r.name)(ctx, network, address)
}

// Resolver returns the Go resolver, asking a DNS server in the Region that knows every host of the World and
// the records set with [simnet.Net.SetRecord].
func (r *Region) Resolver() *net.Resolver { return r.resolver() }

// OnClose registers a function to run when the World is swept, before its network is closed; in reverse
// order. It may wait.
func (r *Region) OnClose(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closers = append(r.closers, f)
}

// lifetime returns a context that ends when the Region goes down.
func (r *Region) lifetime() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life
}

// close ends what runs in the Region.
func (r *Region) close() {
	r.mu.Lock()
	servers, closers := r.servers, r.closers
	r.servers, r.closers = nil, nil
	r.mu.Unlock()
	for i := len(closers) - 1; i >= 0; i-- {
		closers[i]()
	}
	for _, s := range servers {
		_ = s.Close()
	}
}

// wait waits for the goroutines of the Region.
func (r *Region) wait() { r.serving.Wait() }
