package breaker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Off turns off a rule whose zero value means a default: [Config].FailureRate, [Config].Jitter,
// [BulkheadConfig].MaxWait, [GroupConfig].Idle.
const Off = -1

// Config configures a [Breaker]. The zero value is ready to use.
type Config struct {
	// Name identifies the breaker in errors, logs and metrics. Choose from a small fixed set.
	Name string

	// Window is the time over which results are judged, divided into ten buckets. Zero means 10 s.
	// Values below 100 ms are an error of [New].
	Window time.Duration

	// MinCalls is how many results the window must hold before a rate is judged. Zero means 20.
	// Choose it so that a window in which MinCalls never come still means something: ConsecutiveFailures
	// needs no volume.
	MinCalls int

	// FailureRate, in (0, 1], opens the breaker when at least this share of the window's results failed.
	// Zero means 0.5; [Off] turns the rule off.
	FailureRate float64

	// ConsecutiveFailures opens the breaker after this many failures without a success between them,
	// whatever the window holds. Zero turns the rule off.
	ConsecutiveFailures int

	// SlowCall is the duration from which a call is slow, whether it succeeds or fails. Zero turns the
	// rule off. Setting it costs two clock readings a call.
	SlowCall time.Duration

	// SlowRate, in (0, 1], opens the breaker when at least this share of the window's results were slow.
	// Zero means 0.5. It is an error without SlowCall.
	SlowRate float64

	// OpenFor is how long the breaker rejects calls the first time it opens. Each opening that follows
	// within a Window of the last recovery doubles it, up to MaxOpenFor. Zero means 5 s. Values below
	// 10 ms are an error of [New].
	OpenFor time.Duration

	// MaxOpenFor bounds the doubling, and what an error's RetryAfter may ask for. Zero means 1 min, or
	// OpenFor if that is longer.
	MaxOpenFor time.Duration

	// Jitter, in (0, 1], is the share of the open time that is random, so that many clients do not probe
	// at once. Zero means 0.2: an open time of 5 s lasts 4 s to 5 s. [Off] turns it off.
	Jitter float64

	// Probes is how many calls may pass while the breaker is half-open, and how many of them must
	// succeed in a row to close it. Zero means 3.
	Probes int

	// ProbeTimeout is how long a probe may take. After that it counts as failed and frees its slot; the
	// call itself is not ended, its late result is dropped. Zero means 10 s.
	ProbeTimeout time.Duration

	// DeadlineCounts is the time a call must have had to live for its caller's deadline to count as a
	// failure; SlowCall counts too if it is shorter. A call with less time is neutral. Zero means 500 ms.
	DeadlineCounts time.Duration

	// Ramp lists the growing shares, in (0, 1], of calls admitted at random after the probes succeeded,
	// one RampStep each, before all are. While it lasts Probes results are enough to judge a rate, and a
	// trip opens the breaker again. Nil admits all calls at once.
	Ramp []float64

	// RampStep is how long each share of Ramp lasts. Zero means OpenFor.
	RampStep time.Duration

	// Probe replaces calls as probes: when the open time ends it is run in the background, with
	// ProbeTimeout to live, until it failed once or succeeded Probes times, a second (or OpenFor, if
	// shorter) apart. Calls are rejected meanwhile. It is never run twice at once; while one run ignores
	// its context, calls probe in its stead. A panic counts as a failure. Nil means probing by calls.
	Probe func(context.Context) error

	// Verdict judges the error of a call. It is not asked about nil, about a call whose caller cancelled,
	// or one whose caller gave it too little time. It runs on the caller's goroutine, outside any lock,
	// concurrently; a panic in it counts as a failure. Nil means [DefaultVerdict].
	Verdict func(error) Verdict

	// OnStateChange is told every transition, in order, one at a time, outside any lock; it may call the
	// breaker. It runs on the goroutine that caused the transition or found another listener running,
	// and delays that call, nothing else; it must not panic, as that goroutine may be a timer's. While it blocks, up to 256 transitions wait; older ones are dropped.
	OnStateChange func(Transition)

	// Mode is the mode whenever none is forced: ModeAuto, or ModeObserve to try the breaker out.
	// Others are an error of [New]: they need a reason and an end, see [Breaker.Force].
	Mode Mode

	// Logger gets one line per transition. Nil is silent.
	Logger *slog.Logger

	// MeterProvider receives the metrics. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

// orDefault replaces a zero value.
func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	orDefault(&c.Window, 10*time.Second)
	orDefault(&c.MinCalls, 20)
	orDefault(&c.FailureRate, 0.5)
	if c.SlowCall != 0 {
		orDefault(&c.SlowRate, 0.5)
	}
	orDefault(&c.OpenFor, 5*time.Second)
	orDefault(&c.MaxOpenFor, max(time.Minute, c.OpenFor))
	orDefault(&c.Jitter, 0.2)
	if c.Jitter == Off {
		c.Jitter = 0
	}
	orDefault(&c.Probes, 3)
	orDefault(&c.ProbeTimeout, 10*time.Second)
	orDefault(&c.DeadlineCounts, 500*time.Millisecond)
	orDefault(&c.RampStep, c.OpenFor)
	c.Ramp = slices.Clone(c.Ramp)
	if c.Verdict == nil {
		c.Verdict = DefaultVerdict
	}
	return c
}

const (
	minWindow  = buckets * 10 * time.Millisecond
	minOpenFor = 10 * time.Millisecond
	maxProbes  = 1 << 20
)

// validate checks c as the user wrote it.
func (c Config) validate() error {
	checks := []error{
		atLeast("Window", c.Window, minWindow),
		notNegative("MinCalls", c.MinCalls),
		rate("FailureRate", c.FailureRate, c.FailureRate == Off),
		notNegative("ConsecutiveFailures", c.ConsecutiveFailures),
		notNegative("SlowCall", c.SlowCall),
		rate("SlowRate", c.SlowRate, false),
		atLeast("OpenFor", c.OpenFor, minOpenFor),
		rate("Jitter", c.Jitter, c.Jitter == Off),
		notNegative("Probes", c.Probes),
		notNegative("ProbeTimeout", c.ProbeTimeout),
		notNegative("DeadlineCounts", c.DeadlineCounts),
		notNegative("RampStep", c.RampStep),
		atMost("Window", c.Window),
		atMost("OpenFor", c.OpenFor),
		atMost("MaxOpenFor", c.MaxOpenFor),
		atMost("ProbeTimeout", c.ProbeTimeout),
		atMost("RampStep", c.RampStep),
		c.validateTogether(),
	}
	for _, err := range checks {
		if err != nil {
			return fmt.Errorf("breaker %q: Config.%w", c.Name, err)
		}
	}
	return nil
}

// validateTogether checks what depends on several fields.
func (c Config) validateTogether() error {
	if full := c.withDefaults(); c.MaxOpenFor != 0 && c.MaxOpenFor < full.OpenFor {
		return invalid("MaxOpenFor", "%v is below OpenFor %v", c.MaxOpenFor, full.OpenFor)
	}
	if c.SlowRate != 0 && c.SlowCall == 0 {
		return invalid("SlowRate", "%v without SlowCall", c.SlowRate)
	}
	if c.Probes > maxProbes {
		return invalid("Probes", "%d is above the maximum %d", c.Probes, maxProbes)
	}
	last := 0.0
	for _, share := range c.Ramp {
		if !(share > last && share <= 1) {
			return invalid("Ramp", "%v: shares must grow within (0, 1]", c.Ramp)
		}
		last = share
	}
	if c.Mode != ModeAuto && c.Mode != ModeObserve {
		return invalid("Mode", "%v is not ModeAuto or ModeObserve", c.Mode)
	}
	return nil
}

// invalid is the error of a field, to be prefixed with the breaker's name.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...))
}

func atLeast(field string, d, least time.Duration) error {
	if d != 0 && d < least {
		return fmt.Errorf("%s: %v is below the minimum %v", field, d, least)
	}
	return nil
}

// longest bounds every duration: with it no sum of two can overflow.
const longest = 365 * 24 * time.Hour

func atMost(field string, d time.Duration) error {
	if d > longest {
		return fmt.Errorf("%s: %v is above the maximum %v", field, d, longest)
	}
	return nil
}

func notNegative[T int | time.Duration](field string, v T) error {
	if v < 0 {
		return fmt.Errorf("%s: %v is negative", field, v)
	}
	return nil
}

// rate wants zero or a share in (0, 1]; not-a-number is neither.
func rate(field string, v float64, off bool) error {
	if v != 0 && !off && !(v > 0 && v <= 1) {
		return fmt.Errorf("%s: %v is outside (0, 1]", field, v)
	}
	return nil
}
