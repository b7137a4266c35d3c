package simnet_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// serve starts the real net/http server on the network.
func serve(t *testing.T, n *simnet.Net) *http.Server {
	t.Helper()
	l := listen(t, n)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
	go func() { _ = srv.Serve(l) }()
	return srv
}

func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestHTTPThroughAnHourOfOutage(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		srv := serve(t, n)
		defer func() { _ = srv.Close() }()
		tr := &http.Transport{DialContext: n.Dialer(a)}
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr, Timeout: time.Second}
		step := func(name string, wantErr error, want time.Duration) {
			t.Helper()
			start := time.Now()
			if _, err := get(client, "http://"+server); !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
				t.Errorf("%s: Get = %v, want %v", name, err, wantErr)
			}
			took(t, name, start, want)
		}
		step("cold", nil, 4*oneWay)
		step("warm", nil, 2*oneWay)
		heal := cut(n, simnet.ModeBlackhole)
		step("black", context.DeadlineExceeded, time.Second)
		step("still black", context.DeadlineExceeded, time.Second)
		time.Sleep(time.Hour)
		heal()
		step("healed", nil, 4*oneWay)
		cut(n, simnet.ModeRefuse)
		time.Sleep(time.Second) // the pool meets the reset while idle
		step("refused", syscall.ECONNREFUSED, 2*oneWay)
	})
}

// After a power cut the pool holds a connection that looks alive. net/http repeats the GET on a new one.
func TestHTTPStalePool(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		srv := serve(t, n)
		defer func() { _ = srv.Close() }()
		tr := &http.Transport{DialContext: n.Dialer(a)}
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr}
		if _, err := get(client, "http://"+server); err != nil {
			t.Fatal(err)
		}
		heal := cut(n, simnet.ModeBlackhole)
		n.Crash(b)
		time.Sleep(time.Minute)
		heal()
		start := time.Now()
		if _, err := get(client, "http://"+server); err != nil {
			t.Fatal(err)
		}
		took(t, "reset, dial and request", start, 6*oneWay)
	})
}

func TestTLSCertificateExpires(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		ca, err := simnet.NewCA()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.Issue(time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), "api.example", "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		l := listen(t, n)
		srv := &http.Server{TLSConfig: simnet.ServerTLS(cert), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
		srv.ErrorLog = discard
		go func() { _ = srv.ServeTLS(l, "", "") }()
		defer func() { _ = srv.Close() }()
		tr := &http.Transport{DialContext: n.Dialer(a), TLSClientConfig: ca.ClientTLS(), ForceAttemptHTTP2: true}
		client := &http.Client{Transport: tr, Timeout: time.Minute}
		start := time.Now()
		if proto, err := get(client, "https://"+server); proto != "HTTP/2.0" || err != nil {
			t.Fatalf("Get = %q, %v", proto, err)
		}
		took(t, "dial, TLS 1.3 and request", start, 6*oneWay)
		tr.CloseIdleConnections()
		time.Sleep(48 * time.Hour)
		_, err = get(client, "https://"+server)
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); !ok || invalid.Reason != x509.Expired {
			t.Errorf("Get after two days = %v, want an expired certificate", err)
		}
		tr.CloseIdleConnections()
		time.Sleep(time.Minute)
	})
}

func TestDNS(t *testing.T) {
	warmResolver()
	inNet(t, func(t *testing.T, n *simnet.Net) {
		if err := n.ServeDNS(b, "dns"); err != nil {
			t.Fatal(err)
		}
		r := n.Resolver(a, "dns")
		east, west := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1")
		n.SetRecord("Api.Example.com.", time.Minute, east)
		lookup := func(want netip.Addr) {
			t.Helper()
			start := time.Now()
			got, err := r.LookupNetIP(t.Context(), "ip4", "api.example.com")
			if err != nil || len(got) != 1 || got[0] != want {
				t.Errorf("lookup = %v, %v, want %v", got, err, want)
			}
			took(t, "lookup", start, 4*oneWay)
		}
		lookup(east)
		n.SetRecord("api.example.com", time.Minute, west)
		lookup(west)
		if _, err := r.LookupHost(t.Context(), "nobody.example.com"); !isNotFound(err) {
			t.Errorf("lookup of an unknown name = %v", err)
		}
		cut(n, simnet.ModeBlackhole)
		if _, err := r.LookupHost(t.Context(), "api.example.com"); !isTimeout(err) {
			t.Errorf("lookup in a blackhole = %v", err)
		}
	})
}

func isNotFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

func isTimeout(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsTimeout
}

func TestTwoBubblesInARow(t *testing.T) {
	warmResolver()
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(simnet.Config{Default: simnet.Shape{Latency: time.Millisecond}})
			defer func() { _ = n.Close() }()
			srv := serve(t, n)
			defer func() { _ = srv.Close() }()
			if err := n.ServeDNS(b, "dns"); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Resolver(a, "dns").LookupHost(t.Context(), "api.example"); err != nil {
				t.Error(err)
			}
			tr := &http.Transport{DialContext: n.Dialer(a)}
			defer tr.CloseIdleConnections()
			if _, err := get(&http.Client{Transport: tr}, "http://"+server); err != nil {
				t.Error(err)
			}
		})
	}
}
