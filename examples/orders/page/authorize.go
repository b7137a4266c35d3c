package page

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Loopback authorizes whoever sits at this machine, for demonstrations: the connection must come from a loopback address
// and ask for a loopback host, so that another site's name that leads here is refused. The person is the one chosen on
// the page among people, the first if none was; without people everybody is "operator".
func Loopback(people ...string) func(*http.Request) (by string, err error) {
	if len(people) == 0 {
		people = []string{"operator"}
	}
	people = slices.Clone(people)
	return func(r *http.Request) (string, error) {
		if from, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
			return "", errors.New("page: only this machine may press buttons")
		}
		if !loopbackHost(r.Host) {
			return "", fmt.Errorf("page: the host %q is not this machine's own name", r.Host)
		}
		as := r.FormValue("as")
		switch {
		case as == "":
			return people[0], nil
		case slices.Contains(people, as):
			return as, nil
		}
		return "", fmt.Errorf("page: %q is nobody here", as)
	}
}

// loopbackHost reports whether a Host header names this machine.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}
