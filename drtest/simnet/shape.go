package simnet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Mode is what one direction of a link does with traffic.
type Mode uint8

// The modes. The package comment says what each does to dials and connections.
const (
	ModeUp Mode = iota
	ModeBlackhole
	ModeRefuse
	ModeReset
	ModeHang
)

var modeNames = [...]string{"up", "blackhole", "refuse", "reset", "hang"}

// String returns the name of the mode in lower case.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// MarshalText returns the name of the mode, or an error for a value that is none of the constants.
func (m Mode) MarshalText() ([]byte, error) {
	if int(m) >= len(modeNames) {
		return nil, fmt.Errorf("simnet: unknown mode %d", uint8(m))
	}
	return []byte(modeNames[m]), nil
}

// UnmarshalText reads the name of a mode.
func (m *Mode) UnmarshalText(text []byte) error {
	for i, name := range modeNames {
		if name == string(text) {
			*m = Mode(i)
			return nil
		}
	}
	return fmt.Errorf("simnet: unknown mode %q, want one of %q", text, modeNames)
}

// Dist is the distribution of the random part of a delay.
type Dist uint8

// The distributions, J being [Shape.Jitter].
const (
	DistUniform     Dist = iota // evenly between 0 and J
	DistNormal                  // the upper half of a normal distribution with standard deviation J
	DistExponential             // exponential with mean J: a long tail
	DistLogNormal               // log-normal with median J and sigma 1: a heavy tail
)

// A Shape is the behaviour of one direction between two zones. The zero value is a link that is up and
// takes no time.
type Shape struct {
	// Mode is what happens to traffic.
	Mode Mode

	// Latency is the one-way delay, without the random part. Rounded up to [Grain].
	Latency time.Duration

	// Jitter is the scale of the random part of the delay, drawn per write and added to Latency.
	// Bytes of one connection never overtake each other. Zero means none.
	Jitter time.Duration

	// Dist is the distribution of the random part. The zero value is uniform.
	Dist Dist

	// Loss is the share of packets that are dropped, below 1. TCP sends them again after 200 ms, then 400 ms
	// and so on, so that what a reader sees of it is delay; a handshake waits a second first. Zero means none.
	Loss float64

	// BytesPerSecond is the bandwidth all connections of the link share. Zero means unlimited.
	BytesPerSecond int64
}

// Validate returns an error that names the first field with an impossible value.
func (s Shape) Validate() error {
	switch {
	case int(s.Mode) >= len(modeNames):
		return fmt.Errorf("simnet: Shape.Mode: unknown mode %d", uint8(s.Mode))
	case s.Latency < 0:
		return fmt.Errorf("simnet: Shape.Latency: %v is negative", s.Latency)
	case s.Jitter < 0:
		return fmt.Errorf("simnet: Shape.Jitter: %v is negative", s.Jitter)
	case s.Dist > DistLogNormal:
		return fmt.Errorf("simnet: Shape.Dist: unknown distribution %d", s.Dist)
	case !(s.Loss >= 0 && s.Loss < 1):
		return fmt.Errorf("simnet: Shape.Loss: %v is not from 0 to below 1", s.Loss)
	case s.BytesPerSecond < 0:
		return fmt.Errorf("simnet: Shape.BytesPerSecond: %d is negative", s.BytesPerSecond)
	}
	return nil
}

// delay draws the time one write takes on the way, a multiple of Grain, when what is lost is sent again after rto,
// twice rto and so on.
func (s *Shape) delay(rng *rand.Rand, rto time.Duration) time.Duration {
	d := s.Latency
	if s.Jitter > 0 {
		d += time.Duration(s.Dist.draw(rng) * float64(s.Jitter))
	}
	if s.Loss > 0 {
		d += s.resent(rng, rto)
	}
	return roundUp(d)
}

// mostResent bounds how often one packet is lost, at 200 ms and more than a minute in all.
const mostResent = 9

// resent draws how long the losses of one packet take.
func (s *Shape) resent(rng *rand.Rand, rto time.Duration) (d time.Duration) {
	for range mostResent {
		if rng.Float64() >= s.Loss {
			break
		}
		d += rto
		rto *= 2
	}
	return d
}

// random reports whether delays are drawn.
func (s *Shape) random() bool { return s.Jitter > 0 || s.Loss > 0 }

// draw returns a random number of the distribution with scale 1, never negative and never above 100.
func (d Dist) draw(rng *rand.Rand) float64 {
	var x float64
	switch d {
	case DistNormal:
		x = math.Abs(rng.NormFloat64())
	case DistExponential:
		x = rng.ExpFloat64()
	case DistLogNormal:
		x = math.Exp(rng.NormFloat64())
	default:
		x = rng.Float64()
	}
	return min(x, 100)
}
