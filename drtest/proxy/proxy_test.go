package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/proxy"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A rig is a real echo server in a zone, reached from another through a front.
type rig struct {
	t     *testing.T
	n     *simnet.Net
	front *proxy.Front
	ends  chan net.Conn // the server's connections
}

func newRig(t *testing.T, shape simnet.Shape) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, n: simnet.New(simnet.Config{}), ends: make(chan net.Conn, 100)}
	r.n.SetLinks("users", "east", shape)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.ends <- c
			go func() { _, _ = io.Copy(c, c); _ = c.(*net.TCPConn).CloseWrite() }()
		}
	}()
	server, err := proxy.Attach(r.n, "east", "echo:7", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.front, err = proxy.Expose(r.n, "users", "echo:7", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{r.front.Close(), server.Close(), r.n.Close(), l.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
		<-served
		if left := left(); left != "" {
			t.Errorf("goroutines left:\n%s", left)
		}
	})
	return r
}

// left returns the goroutines of the package that have not ended within 10 s.
func left() string {
	var out string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		out = ""
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "drtest/proxy.(") || strings.Contains(g, "simnet.(") {
				out += g + "\n\n"
			}
		}
		if out == "" {
			return ""
		}
	}
	return out
}

func (r *rig) dial(timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", r.front.Addr(), timeout)
	if err == nil {
		r.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func (r *rig) mustDial() net.Conn {
	r.t.Helper()
	c, err := r.dial(5 * time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// set changes the links for the time of a fault.
func (r *rig) set(change func(*simnet.Shape)) (heal func()) {
	a, b := r.n.Overlay("users", "east", change), r.n.Overlay("east", "users", change)
	return func() { a(); b() }
}

func mode(m simnet.Mode) func(*simnet.Shape) { return func(s *simnet.Shape) { s.Mode = m } }

// echo sends a line and returns how long it took to come back.
func echo(c net.Conn, timeout time.Duration) (time.Duration, error) {
	start := time.Now()
	_ = c.SetDeadline(start.Add(timeout))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return time.Since(start), err
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return time.Since(start), err
}

const patience = 20 * time.Second

func mustEcho(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	took, err := echo(c, patience)
	if err != nil {
		t.Fatalf("echo: %v", err)
	}
	return took
}

func TestLatency(t *testing.T) {
	r := newRig(t, simnet.Shape{Latency: 60 * time.Millisecond})
	c := r.mustDial()
	if took := mustEcho(t, c); took < 240*time.Millisecond { // the handshake's round trip, and the line's
		t.Errorf("first line took %v, want at least 240ms", took)
	}
	if took := mustEcho(t, c); took < 120*time.Millisecond || took > 10*time.Second {
		t.Errorf("second line took %v, want 120ms and a little", took)
	}
}

func TestBandwidth(t *testing.T) {
	r := newRig(t, simnet.Shape{BytesPerSecond: 1 << 20})
	c := r.mustDial()
	mustEcho(t, c)
	start := time.Now()
	go func() { _, _ = c.Write(make([]byte, 512<<10)) }()
	_ = c.SetDeadline(start.Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 512<<10)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("512 KiB at 1 MiB/s took %v, want at least 500ms", took)
	}
}

// A sender into a black hole is held up, as by a kernel: the proxy does not buffer without end.
func TestBlackHoleHoldsTheSenderUp(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	c := r.mustDial()
	mustEcho(t, c)
	heal := r.set(mode(simnet.ModeBlackhole))
	defer heal()
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := c.Write(make([]byte, 256<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > 64<<20 {
		t.Errorf("Write into a black hole = %d, %v, want to be held up", n, err)
	}
}

// A client that hangs up without reading does not leave the proxy waiting for room.
func TestClientThatDoesNotRead(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	sim, err := r.n.Dialer("users")(t.Context(), "tcp", "echo:7")
	if err != nil {
		t.Fatal(err)
	}
	end := <-r.ends
	if _, err := sim.Write(make([]byte, 8<<20)); err != nil { // comes back, more than the window
		t.Fatal(err)
	}
	for sim.(*simnet.Conn).Unread() > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	_ = sim.Close()
	_ = end.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, end); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server's connection lives on")
	}
}

func TestBlackHoleKeepsBytes(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	c := r.mustDial()
	mustEcho(t, c)
	heal := r.set(mode(simnet.ModeBlackhole))
	if _, err := echo(c, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("echo in a black hole: %v", err)
	}
	if _, err := r.dial(300 * time.Millisecond); runtime.GOOS == "linux" && !errors.Is(err, os.ErrDeadlineExceeded) {
		if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
			t.Errorf("dial into a black hole: %v, want a time-out", err)
		}
	}
	heal()
	_ = c.SetReadDeadline(time.Now().Add(patience)) // arrives at the next retransmission
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
		t.Errorf("after the heal: %q, %v, want what was sent before", line, err)
	}
	mustEcho(t, r.mustDial())
}

// A dial that began in a black hole succeeds at a retransmission after it healed.
func TestDialOverABlackHole(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	heal := r.set(mode(simnet.ModeBlackhole))
	time.AfterFunc(300*time.Millisecond, heal)
	time.Sleep(100 * time.Millisecond) // the front needs a moment
	start := time.Now()
	c := r.mustDial()
	took := time.Since(start)
	if runtime.GOOS == "linux" && took < 150*time.Millisecond {
		t.Errorf("dial took %v, want it to last beyond the heal", took)
	}
	mustEcho(t, c)
}

func TestRefuse(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	c := r.mustDial()
	mustEcho(t, c)
	for range 3 {
		heal := r.set(mode(simnet.ModeRefuse))
		if _, err := echo(c, patience); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.EOF) {
			t.Errorf("connection there was: %v, want a reset", err)
		}
		refused := eventually(func() bool { _, err := r.dial(time.Second); return errors.Is(err, syscall.ECONNREFUSED) })
		if runtime.GOOS == "linux" && !refused {
			t.Error("a new connection is not refused")
		}
		heal()
		if !eventually(func() bool {
			d, err := r.dial(time.Second)
			if err != nil {
				return false
			}
			c = d
			_, err = echo(c, patience)
			return err == nil
		}) {
			t.Fatal("no connection after the heal")
		}
	}
}

func eventually(f func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return false
}

func TestResetAndHang(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	heal := r.set(mode(simnet.ModeReset))
	c, err := r.dial(patience) // the reset may be faster than connect
	if err == nil {
		_, err = echo(c, patience)
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("reset: %v", err)
	}
	heal()
	heal = r.set(mode(simnet.ModeHang))
	c = r.mustDial()
	if _, err := echo(c, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	heal()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
		t.Errorf("after the hang: %q, %v", line, err)
	}
}

// A crash leaves the client with half a connection, and the server with a reset.
func TestHalfOpen(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	c := r.mustDial()
	mustEcho(t, c)
	end := <-r.ends
	heal := r.set(mode(simnet.ModeBlackhole))
	r.n.Crash("east")
	if _, err := echo(c, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("half-open connection: %v, want silence", err)
	}
	heal()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("half-open connection after the heal: %v, want a reset", err)
	}
	_ = end.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(end); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server's end lives on")
	}
}

// The end of a stream takes its time on a slow link, and the other direction goes on.
func TestSlowClose(t *testing.T) {
	r := newRig(t, simnet.Shape{Latency: 100 * time.Millisecond})
	c := r.mustDial()
	mustEcho(t, c)
	start := time.Now()
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(start.Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after CloseWrite: %v, want the echo server's end of stream", err)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("the end came after %v, want a round trip of 200ms", took)
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	n := simnet.New(simnet.Config{})
	defer n.Close()
	s, err := proxy.Attach(n, "east", "gone:1", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := n.Dialer("users")(context.Background(), "tcp", "gone:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read = %v, want a reset", err)
	}
}

func TestBadAddresses(t *testing.T) {
	n := simnet.New(simnet.Config{})
	defer n.Close()
	if _, err := proxy.Attach(n, "east", "a:1", "no-port"); err == nil {
		t.Error("Attach to no port did not fail")
	}
	if _, err := proxy.Attach(n, "east", "a", "127.0.0.1:1"); err == nil {
		t.Error("Attach under no port did not fail")
	}
	if _, err := proxy.Expose(n, "users", "a:1", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("Expose of nobody = %v", err)
	}
	if _, err := proxy.Expose(n, "users", "a", "127.0.0.1:0"); err == nil {
		t.Error("Expose of no port did not fail")
	}
}

// A lossy link is a slow one: TCP sends again.
func TestLossIsAStall(t *testing.T) {
	r := newRig(t, simnet.Shape{})
	c := r.mustDial()
	mustEcho(t, c)
	defer r.set(func(s *simnet.Shape) { s.Loss = 0.2 })()
	var slow time.Duration
	for range 30 {
		took, err := echo(c, 6*patience)
		if err != nil {
			t.Fatal(err)
		}
		slow = max(slow, took)
	}
	if slow < 200*time.Millisecond {
		t.Errorf("the slowest of 30 lines over a link that loses a fifth took %v, want a retransmission", slow)
	}
}
