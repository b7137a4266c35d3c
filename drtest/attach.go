package drtest

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"

	"github.com/holdfast-go/holdfast/drtest/proxy"
)

// ErrTarget is wrapped by the error of an Attach to a server that is not an allowed target.
var ErrTarget = errors.New("drtest: not an allowed target")

// Attach makes a real TCP server a host of the Region under an address "name:port": what reaches it over the World's
// network meets the World's faults. Clients in this process dial the name with [Region.DialContext] or
// [Region.HTTPClient]; for others see [Region.Expose]. Package proxy says what faults look like.
//
// Gray and Throttle cannot change what passes as bytes: for an HTTP server, Serve a reverse proxy to it instead. A
// fault that takes the Region away cuts connections and leaves the server's process alone; [World.OnFault] can do more.
//
// It returns an error that wraps [ErrTarget] for a server that Config.Targets does not allow, and others for an address
// in use and for a World of Run or with FidelityMessages, where there are no connections.
func (r *Region) Attach(address, target string) error {
	switch {
	case !r.w.host.real():
		return fmt.Errorf("drtest: Attach(%q): a bubble cannot reach a real server; use NewReal", address)
	case r.w.config.Fidelity == FidelityMessages:
		return fmt.Errorf("drtest: Attach(%q): FidelityMessages has no connections", address)
	}
	if err := allowed(r.w.config.Targets, target); err != nil {
		return fmt.Errorf("drtest: Attach(%q): %w", address, err)
	}
	s, err := proxy.Attach(r.w.net, r.name, address, target)
	if err != nil {
		return fmt.Errorf("drtest: %w", err)
	}
	r.OnClose(func() { _ = s.Close() })
	host, _, _ := net.SplitHostPort(address) // the network has accepted it
	r.w.addEndpoint(address, &endpoint{region: r, host: host})
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.attached[host] = target
	return nil
}

// Expose opens an address on the loopback interface through which programs that know nothing of the World reach one
// of its hosts, "name:port", as if they were in this Region. It lasts until the World ends.
func (r *Region) Expose(address string) (real string, err error) {
	if !r.w.host.real() {
		return "", fmt.Errorf("drtest: Expose(%q): a bubble cannot be reached; use NewReal", address)
	}
	f, err := proxy.Expose(r.w.net, r.name, address, "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("drtest: %w", err)
	}
	r.OnClose(func() { _ = f.Close() })
	return f.Addr(), nil
}

// Attached returns the real servers of the World: host → target.
func (w *World) Attached() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.attached)
}

// allowed checks a target against a list.
func allowed(list []string, target string) error {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
			return nil
		}
		return fmt.Errorf("%w: %s is not on the loopback interface, and Config.Targets is empty", ErrTarget, target)
	}
	for _, one := range list {
		if one == target || strings.HasSuffix(one, ":*") && strings.TrimSuffix(one, ":*") == host {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is not in Config.Targets %q", ErrTarget, target, list)
}
