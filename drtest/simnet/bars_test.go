//go:build unix && !race

package simnet_test

import (
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// cpuTime is the processor time this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// An echo costs no more than over net.Pipe.
func TestBarEcho(t *testing.T) {
	if testing.Short() {
		t.Skip("bars are not measured with -short")
	}
	cost := func(connect func() (client, server net.Conn)) time.Duration {
		best := time.Hour
		for range 7 {
			synctest.Test(t, func(*testing.T) {
				start := cpuTime()
				echoes(20000, connect)
				best = min(best, (cpuTime()-start)/20000)
			})
		}
		return best
	}
	pipe, sim := cost(net.Pipe), cost(simPair(0))
	t.Logf("an echo takes %v of processor time over net.Pipe, %v over simnet", pipe, sim)
	if sim > pipe {
		t.Errorf("an echo over simnet takes %v of processor time, over net.Pipe %v", sim, pipe)
	}
}
