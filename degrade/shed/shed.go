package shed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// None, as MinAdmit, spares nobody.
const None = -1

// Config configures a [Shedder].
type Config struct {
	// Name names the shedder in errors and metrics; "" = "shed".
	Name string

	// MaxInFlight is how many requests may be in flight. Required, at least 1.
	MaxInFlight int

	// Shares is the share of MaxInFlight up to which each class is admitted, in the order Sheddable, SheddablePlus, Critical,
	// CriticalPlus; it may not fall, nor end below 1. All zero = 0.5, 0.7, 0.9, 1. Every class may use at least one place.
	Shares [4]float64

	// MinAdmit is the share of refused requests that is admitted all the same, of every class, while no more than a tenth above
	// MaxInFlight (at least one) is in flight. 0 = 0.01; [None].
	MinAdmit float64

	// MaxClass is the best class a request may claim; 0 = CriticalPlus. At the public edge set it to Critical or less.
	MaxClass Class

	// Default is the class of requests that claim none; 0 = Critical, or MaxClass if that is less.
	Default Class

	// MinTime is how long a request takes at least; one with less time left is refused. 0 = learned: the shortest of
	// the last samples, one request in 64 being timed.
	MinTime time.Duration

	// RetryAfter is what refusals ask for, with up to half as much again; 0 = 1 s.
	RetryAfter time.Duration

	MeterProvider metric.MeterProvider // nil = the global one
}

// A Shedder admits and refuses requests. All methods are safe for concurrent use.
type Shedder struct {
	// word is the number of requests in flight in its low half, and of those that have ended, modulo 2^32, above: one
	// atomic operation for each of Admit and Done.
	word   atomic.Uint64
	limits [8]uint32 // by class; the count up to which it is admitted; 0 for what is no class
	spared uint32    // the count up to which anybody may be spared
	every  uint64    // one of how many refused is spared; 0 = none
	cfg    Config
	refuse [5]counts // by class
	errors [spread]*degrade.RefusedError
	times  times
	sets   [5][3]telemetry.Set
	set    telemetry.Set
}

// spread is how many waits the refusals go through.
const spread = 64

// counts are kept so that a refusal is one atomic add, and so that no reader sees a count fall.
type counts struct {
	over                 atomic.Uint64 // requests above the class's share
	late, spared, missed atomic.Int64  // missed could be spared, had there been room
}

// shed returns how many were refused: all above the share except for one of every, and that one too if it missed.
func (c *counts) shed(every uint64) int64 {
	missed := c.missed.Load() // before over, which was counted first
	over := c.over.Load()
	if every > 0 {
		over -= over / every
	}
	return int64(over) + missed
}

const (
	inFlight = 1<<32 - 1  // the mask
	ended    = 1<<32 - 1  // one less in flight, one more ended
	minusOne = ^uint64(0) // one less in flight
)

// New returns a Shedder. Errors name the field.
func New(cfg Config) (*Shedder, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Shedder{cfg: cfg, spared: uint32(cfg.MaxInFlight + max(1, cfg.MaxInFlight/10))}
	for i, share := range cfg.Shares {
		s.limits[int(Sheddable)+i] = uint32(max(1, int(share*float64(cfg.MaxInFlight))))
	}
	if cfg.MinAdmit > 0 {
		s.every = uint64(1/cfg.MinAdmit + 0.5)
	}
	s.errors = refusals(cfg)
	name := attribute.String("name", cfg.Name)
	s.set = telemetry.NewSet(name)
	for c := Sheddable; c <= CriticalPlus; c++ {
		for i, outcome := range [...]string{"shed", "late", "spared"} {
			s.sets[c][i] = telemetry.NewSet(name, attribute.String("class", c.String()), attribute.String("outcome", outcome))
		}
	}
	telemetry.Attach(cfg.MeterProvider, telemetry.DegradeShed, s, (*Shedder).collect)
	return s, nil
}

func (cfg *Config) fill() error {
	if cfg.Name == "" {
		cfg.Name = "shed"
	}
	if cfg.Shares == [4]float64{} {
		cfg.Shares = [4]float64{0.5, 0.7, 0.9, 1}
	}
	if cfg.MinAdmit == 0 {
		cfg.MinAdmit = 0.01
	}
	if cfg.MaxClass == classUnset {
		cfg.MaxClass = CriticalPlus
	}
	if cfg.Default == classUnset {
		cfg.Default = min(Critical, cfg.MaxClass)
	}
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = time.Second
	}
	last := 0.0
	for _, share := range cfg.Shares {
		if !(share >= last && share <= 1) {
			return fmt.Errorf("shed: Config.Shares: %v: want four shares that do not fall, between 0 and 1", cfg.Shares)
		}
		last = share
	}
	switch {
	case cfg.MaxInFlight < 1 || cfg.MaxInFlight > 1<<30:
		return fmt.Errorf("shed: Config.MaxInFlight: %d is not between 1 and 2^30", cfg.MaxInFlight)
	case last != 1:
		return errors.New("shed: Config.Shares: the last is below 1: lower MaxInFlight")
	case cfg.MinAdmit != None && !(cfg.MinAdmit > 0 && cfg.MinAdmit <= 1):
		return fmt.Errorf("shed: Config.MinAdmit: %v is not a share between 0 and 1", cfg.MinAdmit)
	case cfg.MaxClass > CriticalPlus || cfg.Default > cfg.MaxClass:
		return fmt.Errorf("shed: Config.Default: %v is above MaxClass %v", cfg.Default, cfg.MaxClass)
	case cfg.MinTime < 0 || cfg.RetryAfter < 0:
		return errors.New("shed: Config.MinTime or RetryAfter is negative")
	}
	return nil
}

// Allows reports whether a request of the class would be admitted now: the decision alone, one atomic load, for work that is
// dropped and not counted, such as a prefetch. Somebody else may take the place before it is used.
func (s *Shedder) Allows(class Class) bool {
	return uint32(s.word.Load()) < s.limits[class&7]
}

// Admit admits a request of the class and with the deadline of ctx, or returns a [*degrade.RefusedError] that matches
// degrade.ErrShed. Refusals share their error values: do not change them. After nil the caller calls [Shedder.Done] exactly once. A request
// without a class is of Config.Default. It reads the clock only if ctx has a deadline.
func (s *Shedder) Admit(ctx context.Context) error {
	class, ok := From(ctx)
	if !ok {
		class = s.cfg.Default
	}
	return s.AdmitClass(ctx, class)
}

// AdmitClass is [Shedder.Admit] for a class known to the caller. It is not compared with Config.MaxClass.
func (s *Shedder) AdmitClass(ctx context.Context, class Class) error {
	if class == classUnset || class > CriticalPlus {
		class = s.cfg.Default
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= s.times.least(s.cfg.MinTime) {
		return s.refusal(uint64(s.refuse[class].late.Add(1)))
	}
	// Look before counting: those who are refused must not take, even for a moment, the places of those who are not.
	if limit := s.limits[class&7]; uint32(s.word.Load()) < limit {
		if uint32(s.word.Add(1)) <= limit { // enter, inlined
			return nil
		}
		s.word.Add(minusOne)
	}
	return s.over(class)
}

// enter counts a request in, unless that passes limit.
func (s *Shedder) enter(limit uint32) bool {
	if uint32(s.word.Add(1)) <= limit {
		return true
	}
	s.word.Add(minusOne)
	return false
}

// over decides on a request above its class's share.
func (s *Shedder) over(class Class) error {
	c := &s.refuse[class]
	n := c.over.Add(1)
	if s.every > 0 && n%s.every == 0 {
		if uint32(s.word.Load()) < s.spared && s.enter(s.spared) {
			c.spared.Add(1)
			return nil
		}
		c.missed.Add(1)
	}
	return s.refusal(n)
}

// Done ends an admitted request. Calling it more often than Admit admitted panics.
func (s *Shedder) Done() {
	if s.word.Add(ended)&inFlight == inFlight {
		panic("shed: Done without Admit")
	}
}

// Do runs call if it is admitted.
func (s *Shedder) Do(ctx context.Context, call func(context.Context) error) error {
	if err := s.Admit(ctx); err != nil {
		return err
	}
	defer s.Done()
	return call(ctx)
}

// refusals are the errors of a shedder, made once: those who are refused cost as little as they can. Their waits are
// spread evenly from RetryAfter to one and a half times that.
func refusals(cfg Config) (all [spread]*degrade.RefusedError) {
	for i, at := range rand.Perm(spread) {
		wait := cfg.RetryAfter + time.Duration(float64(cfg.RetryAfter)*0.5*float64(at)/spread)
		all[i] = &degrade.RefusedError{Name: cfg.Name, Op: degrade.OpRead, Cause: degrade.CauseOverload, Wait: wait}
	}
	return all
}

// refusal is the n-th refusal of a class.
func (s *Shedder) refusal(n uint64) error { return s.errors[n%spread] }

// Stats are counts since the start.
type Stats struct {
	InFlight           int
	Shed, Late, Spared map[Class]int64
}

// Stats returns the counts.
func (s *Shedder) Stats() Stats {
	stats := Stats{InFlight: int(s.word.Load() & inFlight), Shed: map[Class]int64{}, Late: map[Class]int64{}, Spared: map[Class]int64{}}
	for c := Sheddable; c <= CriticalPlus; c++ {
		stats.Shed[c], stats.Late[c], stats.Spared[c] = s.refuse[c].shed(s.every), s.refuse[c].late.Load(), s.refuse[c].spared.Load()
	}
	return stats
}

func (s *Shedder) collect(to *telemetry.Collector) {
	word := s.word.Load()
	to.Int(telemetry.ShedInFlight, int64(word&inFlight), s.set)
	to.Int(telemetry.ShedEnded, int64(word>>32), s.set)
	for c := Sheddable; c <= CriticalPlus; c++ {
		to.Int(telemetry.ShedRequests, s.refuse[c].shed(s.every), s.sets[c][0])
		to.Int(telemetry.ShedRequests, s.refuse[c].late.Load(), s.sets[c][1])
		to.Int(telemetry.ShedRequests, s.refuse[c].spared.Load(), s.sets[c][2])
	}
}

const (
	sampleEvery = 64 // requests
	generation  = 64 // samples
)

// memory is how long learned times are believed without a new sample: if all are refused for want of time, none would come.
const memory = 10 * time.Second

// times learns the shortest time of recent requests: the minimum of this generation of samples and of the one before.
type times struct {
	requests, samples atomic.Uint64
	now, before       atomic.Int64 // nanoseconds; 0 = no sample
	last              atomic.Int64 // of the last sample, in nanoseconds since 1970
}

// sampled reports whether the next request is to be timed.
func (t *times) sampled() bool { return t.requests.Add(1)%sampleEvery == 0 }

func (t *times) add(took time.Duration, now time.Time) {
	if now.UnixNano()-t.last.Swap(now.UnixNano()) > int64(memory) {
		t.now.Store(0)
		t.before.Store(0)
	}
	if t.samples.Add(1)%generation == 0 {
		t.before.Store(t.now.Swap(0))
	}
	for {
		least := t.now.Load()
		if least != 0 && int64(took) >= least || t.now.CompareAndSwap(least, max(1, int64(took))) {
			return
		}
	}
}

// least is the time a request takes at least: set, or learned from a whole generation.
func (t *times) least(set time.Duration) time.Duration {
	before := t.before.Load()
	switch {
	case set > 0:
		return set
	case before == 0 || time.Now().UnixNano()-t.last.Load() > int64(memory):
		return 0
	}
	if now := t.now.Load(); now != 0 {
		before = min(before, now)
	}
	return time.Duration(before)
}
