package failover

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Each write ends at its own time, though one timer serves all, and so do the contexts made from it.
func TestFlightsEndAtTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs flights
		start := time.Now()
		ends := []time.Duration{5 * time.Second, 3 * time.Second, 8 * time.Second, 8 * time.Second, 20 * time.Second}
		var all []*flight
		var waiting sync.WaitGroup
		for _, end := range ends {
			all = append(all, fs.begin(t.Context(), start.Add(end)))
		}
		fs.land(all[3])
		for i, f := range all {
			if deadline, ok := f.Deadline(); !ok || !deadline.Equal(start.Add(ends[i])) {
				t.Errorf("flight %d: Deadline = %v, %v, want %v", i, deadline, ok, start.Add(ends[i]))
			}
			child, cancel := context.WithCancel(f)
			defer cancel()
			if i == 3 {
				if f.Err() != context.Canceled {
					t.Errorf("a flight that landed: Err = %v", f.Err())
				}
				continue
			}
			waiting.Go(func() {
				<-child.Done()
				if took := time.Since(start); took != ends[i] {
					t.Errorf("flight %d ended after %v, want %v", i, took, ends[i])
				}
				if cause := context.Cause(child); f.Err() != context.DeadlineExceeded || cause != errFlightOver || !errors.Is(cause, context.DeadlineExceeded) {
					t.Errorf("flight %d: Err = %v, cause %v, want a deadline that is errFlightOver", i, f.Err(), cause)
				}
			})
		}
		time.Sleep(10 * time.Second)
		late := fs.begin(t.Context(), time.Now().Add(time.Second))
		time.Sleep(time.Second)
		synctest.Wait()
		if late.Err() != context.DeadlineExceeded {
			t.Errorf("a flight begun after the timer had fired: Err = %v", late.Err())
		}
		waiting.Wait()
	})
}

// A flight ends with its caller too, in the caller's way, and its Region's drain ends all.
func TestFlightsEndWithCallerAndDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs flights
		end := time.Now().Add(time.Minute)
		timed, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, second := fs.begin(timed, end), fs.begin(t.Context(), end)
		if deadline, _ := first.Deadline(); !deadline.Equal(time.Now().Add(time.Second)) {
			t.Errorf("Deadline = %v, want the caller's", deadline)
		}
		time.Sleep(2 * time.Second)
		if first.Err() != context.DeadlineExceeded || second.Err() != nil {
			t.Errorf("after the first caller's deadline: %v and %v", first.Err(), second.Err())
		}
		fs.drain()
		if second.Err() != context.Canceled || context.Cause(second) != ErrRegionDrained {
			t.Errorf("after the drain: %v, cause %v, want ErrRegionDrained", second.Err(), context.Cause(second))
		}
		if third := fs.begin(t.Context(), end); third.Err() != nil {
			t.Errorf("a flight begun after the drain: %v", third.Err())
		}
		time.Sleep(2 * time.Minute)
	})
}

// A flight that begins while the timer runs, and whose time is over by then, ends all the same.
func TestFlightsThatBeginTooLateEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs flights
		first := fs.begin(t.Context(), time.Now().Add(time.Second))
		end := time.Now().Add(time.Second)
		var late *flight
		fs.mu.Lock()
		stop := first.cancel
		first.cancel = func(cause error) { // while the timer's function runs
			first.cancel = stop
			stop(cause)
			late = fs.begin(t.Context(), end)
		}
		fs.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if late == nil || late.Err() != context.DeadlineExceeded {
			t.Errorf("a flight that began as the timer ran, at its end: Err = %v", late.Err())
		}
	})
}
