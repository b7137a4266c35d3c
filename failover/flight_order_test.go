package failover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A Region that hangs holds many writes, each with an end of its own. They are listed by their ends, so that the timer looks at those that are over and one more, and each ends at
// its instant.
func TestFlightsEndInTheOrderOfTheirEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 500
		var fs flights
		start := time.Now()
		all := make([]*flight, n)
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
			all[i] = fs.begin(context.Background(), start.Add(time.Duration(i+1)*time.Millisecond))
		}
		for i, f := range all {
			var listed []*flight
			fs.mu.Lock()
			for x := fs.all.First(); x != nil; x = x.link.Next() {
				listed = append(listed, x)
			}
			fs.mu.Unlock()
			if !slices.Equal(listed, all[i:]) {
				t.Fatalf("after %v %d flights are listed, want the %d that are left by their ends", time.Since(start), len(listed), n-i)
			}
			time.Sleep(time.Until(f.end))
			synctest.Wait()
			if cause := context.Cause(f); cause != errFlightOver {
				t.Fatalf("flight %d has the cause %v at its end", i, cause)
			}
			fs.land(f)
		}
	})
}

// BenchmarkManyFlights ends many writes, each by its own end. What one costs must not grow with how many there are.
func BenchmarkManyFlights(b *testing.B) {
	for _, n := range []int{500, 8_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var fs flights
			all := make([]*flight, n)
			for b.Loop() {
				now := time.Now()
				for i := range all {
					all[i] = fs.begin(context.Background(), now.Add(time.Duration(i-n)*time.Microsecond)) // over as it begins
				}
				for _, f := range all {
					<-f.Done()
					fs.land(f)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/flight")
		})
	}
}
