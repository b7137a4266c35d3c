package simnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

const (
	a, b   = "users", "us-east-1"
	server = "api.example:80"
	oneWay = 30 * time.Millisecond
)

// inNet runs f in a bubble with a network whose two zones are oneWay apart.
func inNet(t *testing.T, f func(t *testing.T, n *simnet.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{Seed: 1})
		n.SetLinks(a, b, simnet.Shape{Latency: oneWay})
		defer func() { _ = n.Close() }()
		f(t, n)
	})
}

func listen(t *testing.T, n *simnet.Net) *simnet.Listener {
	t.Helper()
	l, err := n.Listen(b, server)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pair returns both ends of a new connection from a to b.
func pair(t *testing.T, n *simnet.Net) (client, serverEnd net.Conn) {
	t.Helper()
	l := listen(t, n)
	client, err := n.Dialer(a)(t.Context(), "tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	serverEnd, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, serverEnd
}

func mode(m simnet.Mode) func(*simnet.Shape) { return func(s *simnet.Shape) { s.Mode = m } }

// cut puts a mode on both directions.
func cut(n *simnet.Net, m simnet.Mode) (heal func()) {
	there, back := n.Overlay(a, b, mode(m)), n.Overlay(b, a, mode(m))
	return func() { there(); back() }
}

// took checks a duration, to the grain the network adds.
func took(t *testing.T, what string, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got <= want-simnet.Lane || got >= want+simnet.Grain {
		t.Errorf("%s took %v, want %v", what, got, want)
	}
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := io.WriteString(c, s); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != want {
		t.Fatalf("Read = %q, %v, want %q", buf, err, want)
	}
}

func readFails(t *testing.T, c net.Conn, want error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
		t.Errorf("Read = %d, %v, want %v", n, err, want)
	}
}

func TestBytesTakeTheLatency(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		start := time.Now()
		c, s := pair(t, n)
		took(t, "dial", start, 2*oneWay)
		start = time.Now()
		send(t, c, "hello ")
		send(t, c, "world")
		receive(t, s, "hello world")
		took(t, "one way", start, oneWay)
		send(t, s, "ok")
		receive(t, c, "ok")
		took(t, "round trip", start, 2*oneWay)
	})
}

func TestHalfClose(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		send(t, c, "request")
		if err := c.(*simnet.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write after CloseWrite = %v, want EPIPE", err)
		}
		if got, err := io.ReadAll(s); string(got) != "request" || err != nil {
			t.Fatalf("ReadAll = %q, %v", got, err)
		}
		send(t, s, "response")
		receive(t, c, "response")
	})
}

func TestClose(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		go func() {
			time.Sleep(time.Second)
			_ = c.Close()
		}()
		start := time.Now()
		readFails(t, c, net.ErrClosed)
		took(t, "Read until Close", start, time.Second)
		readFails(t, s, io.EOF)
		send(t, s, "late") // the kernel takes it, and the peer answers with a reset
		readFails(t, s, io.EOF)
		time.Sleep(2*oneWay + simnet.Grain)
		if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Write to a closed peer = %v, want ECONNRESET", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close = %v, want ErrClosed", err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close = %v, want ErrClosed", err)
		}
		if err := c.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline after Close = %v, want ErrClosed", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		start := time.Now()
		_ = c.SetDeadline(start.Add(time.Second))
		readFails(t, c, os.ErrDeadlineExceeded)
		took(t, "Read", start, time.Second)
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write after the deadline = %v", err)
		}
		_ = c.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			_ = c.SetReadDeadline(time.Now().Add(-time.Hour)) // as net/http aborts a read in progress
		}()
		start = time.Now()
		readFails(t, c, os.ErrDeadlineExceeded)
		took(t, "aborted Read", start, time.Second)
		_ = c.SetReadDeadline(time.Time{})
		send(t, s, "still there")
		receive(t, c, "still there")
	})
}

func TestDialMeetsTheMode(t *testing.T) {
	for _, tt := range []struct {
		mode simnet.Mode
		want error
		took time.Duration
	}{
		{simnet.ModeUp, nil, 2 * oneWay},
		{simnet.ModeHang, nil, 2 * oneWay},
		{simnet.ModeReset, nil, 2 * oneWay},
		{simnet.ModeRefuse, syscall.ECONNREFUSED, 2 * oneWay},
		{simnet.ModeBlackhole, syscall.ETIMEDOUT, simnet.SYNGiveUp},
	} {
		t.Run(tt.mode.String(), func(t *testing.T) {
			inNet(t, func(t *testing.T, n *simnet.Net) {
				listen(t, n)
				cut(n, tt.mode)
				start := time.Now()
				c, err := n.Dialer(a)(t.Context(), "tcp", server)
				if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
					t.Fatalf("dial = %v, want %v", err, tt.want)
				}
				took(t, "dial", start, tt.took)
				if tt.mode == simnet.ModeReset {
					send(t, c, "x")
					readFails(t, c, syscall.ECONNRESET)
				}
			})
		})
	}
}

func TestDialErrors(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		dial := n.Dialer(a)
		_, err := dial(t.Context(), "tcp", "nowhere:80")
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
			t.Errorf("dial of an unknown host = %v", err)
		}
		l := listen(t, n)
		if _, err := dial(t.Context(), "tcp", "api.example:81"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial of a closed port = %v", err)
		}
		if _, err := dial(t.Context(), "tcp", "no port"); err == nil {
			t.Error("dial without a port succeeded")
		}
		cut(n, simnet.ModeBlackhole)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := dial(ctx, "tcp", server); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial with a deadline = %v", err)
		}
		took(t, "dial", start, time.Second)
		_ = l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close = %v", err)
		}
	})
}

func TestDialByAddress(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		listen(t, n)
		addr, _ := n.Addr("api.example")
		c, err := n.Dialer(a)(t.Context(), "tcp", net.JoinHostPort(addr.String(), "80"))
		if err != nil || c.RemoteAddr().String() != addr.String()+":80" {
			t.Errorf("dial = %v, %v", c, err)
		}
	})
}

func TestListenRefusesBadAddresses(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		listen(t, n)
		for _, tt := range []struct{ zone, address string }{
			{b, server}, {a, "api.example:81"}, {b, "host"}, {b, "host:0"}, {b, ":80"}, {b, "host:70000"},
		} {
			if _, err := n.Listen(tt.zone, tt.address); err == nil {
				t.Errorf("Listen(%q, %q) succeeded", tt.zone, tt.address)
			}
		}
	})
}

// A SYN is repeated 1, 3, 7, 15 … seconds after the first.
func TestDialDuringBlackholeSucceedsAtTheNextSYN(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		listen(t, n)
		heal := cut(n, simnet.ModeBlackhole)
		time.AfterFunc(4*time.Second, heal)
		start := time.Now()
		if _, err := n.Dialer(a)(t.Context(), "tcp", server); err != nil {
			t.Fatal(err)
		}
		took(t, "dial", start, 7*time.Second+2*oneWay)
	})
}

// Data is repeated 200 ms, 600 ms, 1.4 s … after the first transmission, then every 120 s.
func TestBlackholeKeepsBytesUntilTheNextRetransmission(t *testing.T) {
	for _, tt := range []struct{ heal, arrives time.Duration }{
		{100 * time.Millisecond, 200 * time.Millisecond},
		{time.Second, 1400 * time.Millisecond},
		{10 * time.Minute, 684600 * time.Millisecond}, // 0.2 s · (2^10 − 1) and then 120 s apart
	} {
		inNet(t, func(t *testing.T, n *simnet.Net) {
			c, s := pair(t, n)
			heal := cut(n, simnet.ModeBlackhole)
			start := time.Now()
			send(t, c, "kept ")
			send(t, c, "in order")
			time.AfterFunc(tt.heal, heal)
			receive(t, s, "kept in order")
			took(t, "blackhole", start, tt.arrives+oneWay)
			send(t, s, "alive")
			receive(t, c, "alive")
		})
	}
}

func TestBytesThatArrivedBeforeTheBlackholeAreReadable(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		send(t, c, "early")
		time.Sleep(oneWay)
		send(t, c, "in flight")
		time.Sleep(oneWay / 2)
		cut(n, simnet.ModeBlackhole)
		receive(t, s, "early")
		_ = s.SetReadDeadline(time.Now().Add(time.Minute))
		readFails(t, s, os.ErrDeadlineExceeded)
	})
}

func TestSenderGivesUp(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		heal := cut(n, simnet.ModeBlackhole)
		start := time.Now()
		send(t, c, "lost")
		readFails(t, c, syscall.ETIMEDOUT)
		took(t, "Read", start, simnet.DataGiveUp)
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Write after giving up = %v", err)
		}
		heal()
		_ = s.SetReadDeadline(time.Now().Add(time.Hour))
		readFails(t, s, os.ErrDeadlineExceeded) // half open: nobody told this end
		_ = s.SetReadDeadline(time.Time{})
		send(t, s, "anyone there?")
		readFails(t, s, syscall.ECONNRESET)
	})
}

func TestOneWayPartition(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		heal := n.Overlay(b, a, mode(simnet.ModeBlackhole))
		send(t, c, "arrives")
		receive(t, s, "arrives")
		send(t, s, "does not")
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		readFails(t, c, os.ErrDeadlineExceeded)
		_ = c.SetReadDeadline(time.Time{})
		heal()
		receive(t, c, "does not")
	})
}

func TestHangDeliversAtOnceWhenItEnds(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		heal := cut(n, simnet.ModeHang)
		send(t, c, "taken")
		start := time.Now()
		time.AfterFunc(2*simnet.DataGiveUp, heal)
		receive(t, s, "taken")
		took(t, "hang", start, 2*simnet.DataGiveUp+oneWay)
	})
}

func TestRefuseAndResetEndConnections(t *testing.T) {
	for _, m := range []simnet.Mode{simnet.ModeRefuse, simnet.ModeReset} {
		inNet(t, func(t *testing.T, n *simnet.Net) {
			c, s := pair(t, n)
			start := time.Now()
			time.AfterFunc(time.Second, func() { cut(n, m) })
			readFails(t, c, syscall.ECONNRESET)
			took(t, "Read", start, time.Second+oneWay)
			readFails(t, s, syscall.ECONNRESET)
		})
	}
}

func TestCrashInBlackholeLeavesHalfOpenConnections(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		heal := cut(n, simnet.ModeBlackhole)
		n.Crash(b)
		readFails(t, s, syscall.ECONNRESET)
		time.Sleep(time.Hour)
		heal()
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		readFails(t, c, os.ErrDeadlineExceeded) // an idle pool connection looks alive
		_ = c.SetReadDeadline(time.Time{})
		start := time.Now()
		send(t, c, "GET /")
		readFails(t, c, syscall.ECONNRESET)
		took(t, "reset", start, 2*oneWay)
	})
}

func TestCrashOnALiveLinkResetsThePeer(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, _ := pair(t, n)
		start := time.Now()
		n.Crash(b)
		readFails(t, c, syscall.ECONNRESET)
		took(t, "reset", start, oneWay)
	})
}

func TestBytesLostInTheBlackholeOfACrashMeetAReset(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, _ := pair(t, n)
		heal := cut(n, simnet.ModeBlackhole)
		n.Crash(b)
		start := time.Now()
		send(t, c, "GET /")
		time.AfterFunc(time.Second, heal)
		readFails(t, c, syscall.ECONNRESET)
		took(t, "reset", start, 1400*time.Millisecond+2*oneWay)
	})
}

func TestBandwidthIsShared(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		n.SetLinks(a, b, simnet.Shape{Latency: oneWay, BytesPerSecond: 1 << 20})
		c, s := pair(t, n)
		start := time.Now()
		send(t, c, string(make([]byte, 1<<20)))
		send(t, c, string(make([]byte, 1<<20)))
		if _, err := io.CopyN(io.Discard, s, 2<<20); err != nil {
			t.Fatal(err)
		}
		took(t, "2 MiB", start, 2*time.Second+oneWay)
	})
}

func TestOverlaysEndInAnyOrder(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		slow := n.Overlay(a, simnet.Any, func(s *simnet.Shape) { s.Latency += time.Second })
		black := n.Overlay(simnet.Any, b, mode(simnet.ModeBlackhole))
		slow()
		slow()
		if got, want := n.Shape(a, b), (simnet.Shape{Mode: simnet.ModeBlackhole, Latency: oneWay}); got != want {
			t.Errorf("Shape = %+v, want %+v", got, want)
		}
		if got := n.Shape(b, b); got != (simnet.Shape{}) {
			t.Errorf("Any reached the inside of a zone: %+v", got)
		}
		if got := n.Shape("made later", b).Mode; got != simnet.ModeBlackhole {
			t.Errorf("mode of a later zone = %v", got)
		}
		black()
		if got, want := n.Shape(a, b), (simnet.Shape{Latency: oneWay}); got != want {
			t.Errorf("Shape = %+v, want %+v", got, want)
		}
	})
}

func TestWatchRunsBeforeTheChange(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		var seen []simnet.Mode
		n.Watch(func() { seen = append(seen, n.Shape(a, b).Mode) })
		cut(n, simnet.ModeHang)()
		if len(seen) != 4 || seen[0] != simnet.ModeUp || seen[2] != simnet.ModeHang {
			t.Errorf("modes seen by the watcher = %v", seen)
		}
	})
}

func TestCloseFreesEverybody(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, _ := pair(t, n)
		cut(n, simnet.ModeBlackhole)
		failed := make(chan error, 3)
		go func() { _, err := c.Read(make([]byte, 1)); failed <- err }()
		go func() { _, err := n.Dialer(a)(t.Context(), "tcp", server); failed <- err }()
		go func() { failed <- n.Carry(t.Context(), a, b, 1) }()
		synctest.Wait()
		_ = n.Close()
		time.Sleep(2 * time.Second)
		if len(failed) != 3 {
			t.Errorf("%d of 3 calls ended", len(failed))
		}
		if _, err := n.Dialer(a)(t.Context(), "tcp", server); err == nil {
			t.Error("dial after Close succeeded")
		}
		if _, err := n.Listen(b, "x:1"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Close = %v", err)
		}
	})
}

func TestManyReadersOfOneConnection(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		got := make(chan int, 10)
		for range 10 {
			go func() {
				n, _ := s.Read(make([]byte, 1))
				got <- n
			}()
		}
		send(t, c, "0123456789")
		for range 10 {
			if n := <-got; n != 1 {
				t.Errorf("Read = %d", n)
			}
		}
	})
}

func TestLargeTransferInterleaved(t *testing.T) {
	inNet(t, func(t *testing.T, n *simnet.Net) {
		c, s := pair(t, n)
		const size = 10 << 20
		go func() {
			chunk := make([]byte, 10000)
			for sent := 0; sent < size; {
				for i := range chunk {
					chunk[i] = byte((sent + i) % 251)
				}
				k, _ := c.Write(chunk[:min(len(chunk), size-sent)])
				sent += k
				time.Sleep(time.Millisecond)
			}
			_ = c.Close()
		}()
		total, buf := 0, make([]byte, 3333)
		for {
			k, err := s.Read(buf)
			for i := range k {
				if buf[i] != byte((total+i)%251) {
					t.Fatalf("byte %d is %d", total+i, buf[i])
				}
			}
			total += k
			if err != nil {
				break
			}
		}
		if total != size {
			t.Errorf("read %d bytes, want %d", total, size)
		}
	})
}
