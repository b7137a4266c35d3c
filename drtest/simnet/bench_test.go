package simnet_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// inBubble runs f in a bubble of its own: testing.B has none.
func inBubble(b *testing.B, f func()) {
	b.Helper()
	b.ReportAllocs()
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: b.Name(),
		F:    func(t *testing.T) { synctest.Test(t, func(*testing.T) { f() }) },
	}})
	if !ok {
		b.Fatal("bubble failed")
	}
}

func echo(b *testing.B, connect func() (client, server net.Conn)) {
	inBubble(b, func() { echoes(b.N, connect) })
}

// echoes sends n messages there and back.
func echoes(n int, connect func() (client, server net.Conn)) {
	c, s := connect()
	go func() {
		buf := make([]byte, 256)
		for {
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			_, _ = s.Write(buf[:n])
		}
	}()
	buf := make([]byte, 100)
	for range n {
		_, _ = c.Write(buf)
		_, _ = io.ReadFull(c, buf)
	}
	_ = c.Close()
	_ = s.Close()
}

func simPair(latency time.Duration) func() (client, server net.Conn) {
	return func() (net.Conn, net.Conn) {
		n := simnet.New(simnet.Config{Default: simnet.Shape{Latency: latency}})
		l, err := n.Listen("b", "h:1")
		if err != nil {
			panic(err)
		}
		c, err := n.Dialer("a")(context.Background(), "tcp", "h:1")
		if err != nil {
			panic(err)
		}
		s, err := l.Accept()
		if err != nil {
			panic(err)
		}
		return c, s
	}
}

// The floor for an echo: what the standard library offers in memory.
func BenchmarkEchoPipe(b *testing.B)    { echo(b, net.Pipe) }
func BenchmarkEcho(b *testing.B)        { echo(b, simPair(0)) }
func BenchmarkEchoLatency(b *testing.B) { echo(b, simPair(10*time.Millisecond)) }

func BenchmarkHTTP(b *testing.B) {
	inBubble(b, func() {
		n := simnet.New(simnet.Config{Default: simnet.Shape{Latency: 10 * time.Millisecond}})
		l, err := n.Listen("b", "h:80")
		if err != nil {
			panic(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
		go func() { _ = srv.Serve(l) }()
		tr := &http.Transport{DialContext: n.Dialer("a")}
		client := &http.Client{Transport: tr}
		for range b.N {
			resp, err := client.Get("http://h/")
			if err != nil {
				panic(err)
			}
			_ = resp.Body.Close()
		}
		tr.CloseIdleConnections()
		_ = srv.Close()
	})
}

func BenchmarkCarry(b *testing.B) {
	inBubble(b, func() {
		n := simnet.New(simnet.Config{Default: simnet.Shape{Latency: 10 * time.Millisecond}})
		for range b.N {
			_ = n.Carry(context.Background(), "a", "b", 100)
		}
	})
}
