package simnet_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// After the sixth SYN, at 63 s, nothing more is sent: a link that heals then brings no connection.
func TestHealAfterTheLastSYNIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		defer func() { _ = n.Close() }()
		if _, err := n.Listen(b, "server:1"); err != nil {
			t.Fatal(err)
		}
		heal := cut(n, simnet.ModeBlackhole)
		time.AfterFunc(100*time.Second, heal)
		start := time.Now()
		_, err := n.Dialer(a)(context.Background(), "tcp", "server:1")
		if took := time.Since(start); !errors.Is(err, syscall.ETIMEDOUT) || took != simnet.SYNGiveUp {
			t.Errorf("Dial = %v after %v, want ETIMEDOUT after %v", err, took, simnet.SYNGiveUp)
		}
	})
}

// The fifteenth and last retransmission of data leaves after 804.6 s: a link that heals later does not save it.
func TestHealAfterTheLastRetransmissionIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		defer func() { _ = n.Close() }()
		l, err := n.Listen(b, "server:1")
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.Dialer(a)(context.Background(), "tcp", "server:1")
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		heal := cut(n, simnet.ModeBlackhole)
		start := time.Now()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(850*time.Second, heal)
		got := make(chan int, 1)
		go func() {
			k, _ := server.Read(make([]byte, 1))
			got <- k
		}()
		_, err = c.Read(make([]byte, 1))
		if took := time.Since(start); !errors.Is(err, syscall.ETIMEDOUT) || took != simnet.DataGiveUp {
			t.Errorf("Read = %v after %v, want ETIMEDOUT after %v", err, took, simnet.DataGiveUp)
		}
		if _, err := c.Write([]byte("y")); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Write = %v", err)
		}
		time.Sleep(time.Hour)
		_ = n.Close()
		if k := <-got; k != 0 {
			t.Error("the bytes arrived")
		}
	})
}

func TestHealAfterTheLastRetransmissionIsTooLateForMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		heal := cut(n, simnet.ModeBlackhole)
		time.AfterFunc(850*time.Second, heal)
		start := time.Now()
		err := n.Carry(context.Background(), a, b, 1)
		if took := time.Since(start); !errors.Is(err, syscall.ETIMEDOUT) || took != simnet.DataGiveUp {
			t.Errorf("Carry = %v after %v, want ETIMEDOUT after %v", err, took, simnet.DataGiveUp)
		}
	})
}

// An answer that a Region refuses was on a connection: that breaks, and nobody may conclude that nothing was done.
func TestRefusedAnswerIsAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		cut(n, simnet.ModeRefuse)
		err := n.Route(a, b).Back(a).Carry(context.Background(), 1)
		if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op == "dial" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Carry = %v, want a reset", err)
		}
	})
}
