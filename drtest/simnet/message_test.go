package simnet_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

func TestCarry(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mode  simnet.Mode
		from  time.Duration // when the mode starts, after the message left
		until time.Duration // when it ends; 0 = never
		want  error
		took  time.Duration
	}{
		{"up", simnet.ModeUp, 0, 0, nil, oneWay},
		{"refuse", simnet.ModeRefuse, 0, 0, syscall.ECONNREFUSED, 2 * oneWay},
		{"reset", simnet.ModeReset, 0, 0, syscall.ECONNRESET, 2 * oneWay},
		{"blackhole", simnet.ModeBlackhole, 0, 0, syscall.ETIMEDOUT, simnet.DataGiveUp},
		{"blackhole that heals", simnet.ModeBlackhole, 0, time.Second, nil, 1400*time.Millisecond + oneWay},
		{"hang", simnet.ModeHang, 0, time.Hour, nil, time.Hour + oneWay},
		{"lost in flight", simnet.ModeBlackhole, time.Millisecond, time.Second, nil, 1400*time.Millisecond + oneWay},
		{"reset in flight", simnet.ModeReset, time.Millisecond, 0, syscall.ECONNRESET, time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inNet(t, func(t *testing.T, n *simnet.Net) {
				if tt.from == 0 {
					heal := cut(n, tt.mode)
					if tt.until > 0 {
						time.AfterFunc(tt.until, heal)
					}
				} else {
					time.AfterFunc(tt.from, func() {
						heal := cut(n, tt.mode)
						if tt.until > 0 {
							time.AfterFunc(tt.until-tt.from, heal)
						}
					})
				}
				start := time.Now()
				if err := n.Carry(t.Context(), a, b, 100); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("Carry = %v, want %v", err, tt.want)
				}
				took(t, "Carry", start, tt.took)
			})
		})
	}
}

// The heal of a zone and the first symptom of its recovery are two changes of one instant: a message that waits for the heal meets both, also
// if it is woken by the first and looks before the second.
func TestChangesOfOneInstantAreOne(t *testing.T) {
	const more = 200 * time.Millisecond
	for _, tt := range []struct {
		mode simnet.Mode
		want time.Duration
	}{{simnet.ModeBlackhole, 1400*time.Millisecond + oneWay + more}, {simnet.ModeHang, time.Second + oneWay + more}} {
		for _, looks := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.mode, ", looks between: ", looks), func(t *testing.T) {
				inNet(t, func(t *testing.T, n *simnet.Net) {
					heal := cut(n, tt.mode)
					time.AfterFunc(time.Second, func() {
						heal()
						if looks {
							synctest.Wait()
						}
						n.Overlay(a, b, func(s *simnet.Shape) { s.Latency += more })
					})
					start := time.Now()
					if err := n.Carry(t.Context(), a, b, 100); err != nil {
						t.Error(err)
					}
					took(t, "Carry", start, tt.want)
				})
			})
		}
	}
}

func TestCarryEndsWithItsContext(t *testing.T) {
	for _, m := range []simnet.Mode{simnet.ModeBlackhole, simnet.ModeHang, simnet.ModeUp} {
		inNet(t, func(t *testing.T, n *simnet.Net) {
			cut(n, m)
			ctx, cancel := context.WithTimeout(t.Context(), oneWay/2)
			defer cancel()
			if err := n.Carry(ctx, a, b, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Carry in mode %v = %v", m, err)
			}
		})
	}
}

// What a fault wakes stays in the lane of the message, so chains of events never meet.
func TestFaultsKeepLanes(t *testing.T) {
	for _, m := range []simnet.Mode{simnet.ModeReset, simnet.ModeRefuse, simnet.ModeBlackhole, simnet.ModeHang} {
		inNet(t, func(t *testing.T, n *simnet.Net) {
			start := time.Now()
			ends := make(chan time.Duration, 3)
			for i := range 3 {
				go func() {
					time.Sleep(time.Duration(i) * simnet.Lane)
					_ = n.Carry(t.Context(), a, b, 1)
					ends <- time.Since(start)
				}()
			}
			time.Sleep(time.Millisecond + 33*time.Nanosecond)
			heal := cut(n, m)
			time.Sleep(time.Second)
			heal()
			seen := map[time.Duration]bool{}
			for range 3 {
				seen[<-ends%simnet.Grain/simnet.Lane] = true
			}
			if !seen[0] || !seen[1] || !seen[2] {
				t.Errorf("mode %v: lanes %v, want 0, 1 and 2", m, seen)
			}
		})
	}
}

func TestDistributions(t *testing.T) {
	for _, tt := range []struct {
		dist     simnet.Dist
		mean     float64 // of the random part, in units of the jitter
		farRange float64
	}{
		{simnet.DistUniform, 0.5, 1},
		{simnet.DistNormal, math.Sqrt(2 / math.Pi), 6},
		{simnet.DistExponential, 1, 100},
		{simnet.DistLogNormal, math.Exp(0.5), 100},
	} {
		inNet(t, func(t *testing.T, n *simnet.Net) {
			const jitter, draws = 10 * time.Millisecond, 4000
			n.SetLink(a, b, simnet.Shape{Latency: oneWay, Jitter: jitter, Dist: tt.dist})
			var sum float64
			for range draws {
				start := time.Now()
				if err := n.Carry(t.Context(), a, b, 1); err != nil {
					t.Fatal(err)
				}
				x := float64(time.Since(start)-oneWay) / float64(jitter)
				if x < -1e-6 || x > tt.farRange+0.02 {
					t.Fatalf("distribution %d: random part %.3f of the jitter", tt.dist, x)
				}
				sum += x
			}
			if got := sum / draws; math.Abs(got-tt.mean) > 0.1*tt.mean+0.01 {
				t.Errorf("distribution %d: mean %.3f, want %.3f", tt.dist, got, tt.mean)
			}
		})
	}
}
