//go:build unix

package failover

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A Region that hangs holds many writes, each with an end of its own. What it takes to end one must not grow with how many there are: they begin and land
// under the same lock.
func TestManyFlightsEndOneByOne(t *testing.T) {
	took := func(n int) (each time.Duration) {
		best := time.Hour
		for range 3 {
			synctest.Test(t, func(t *testing.T) {
				var fs flights
				all := make([]*flight, n)
				first := time.Now().Add(time.Second)
				for i := range all {
					all[i] = fs.begin(context.Background(), first.Add(time.Duration(i)*time.Millisecond))
				}
				began := cpuTime(t)
				time.Sleep(time.Second + time.Duration(n)*time.Millisecond)
				synctest.Wait()
				best = min(best, cpuTime(t)-began)
				for i, f := range all {
					if context.Cause(f) != errFlightOver {
						t.Fatalf("flight %d of %d has not ended", i, n)
					}
					fs.land(f)
				}
			})
		}
		return best / time.Duration(n)
	}
	few, many := took(500), took(8_000)
	t.Logf("a flight takes %v of processor time to end among 500, %v among 8,000", few, many)
	if many > 4*few {
		t.Errorf("a flight takes %v to end among 8,000 and %v among 500", many, few)
	}
}

// cpuTime is what the process has used so far: time itself is virtual.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
