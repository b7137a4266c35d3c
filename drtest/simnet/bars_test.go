//go:build unix && !race

package simnet_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/internal/cputime"
)

// An echo costs no more than over net.Pipe.
func TestBarEcho(t *testing.T) {
	if testing.Short() {
		t.Skip("bars are not measured with -short")
	}
	cost := func(connect func() (client, server net.Conn)) time.Duration {
		best := time.Hour
		for range 7 {
			synctest.Test(t, func(*testing.T) {
				start := cputime.Used()
				echoes(20000, connect)
				best = min(best, (cputime.Used()-start)/20000)
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
