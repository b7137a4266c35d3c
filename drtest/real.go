package drtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// NewReal makes a World in real time, for programs and for tests against real servers: the same Regions, network,
// loads, faults, checks and reports, and no test, bubble, seedable order or watchdog. Its clock is the machine's. It
// lasts until ctx ends or [World.Close] is called; Close must be called in any case.
//
// What Run would fail a test for, [World.Close] returns, and [World.Failures] lists before that. [World.Load] and
// [World.Play] panic where they would stop a test. It returns an error that names the field if config is impossible
// or sets what a World in real time has not: StartAt, Watchdog, Limit, TieFree.
func NewReal(ctx context.Context, config Config) (*World, error) {
	switch {
	case !config.StartAt.IsZero():
		return nil, errors.New("drtest: NewReal: Config.StartAt: real time begins now")
	case config.Watchdog != 0:
		return nil, errors.New("drtest: NewReal: Config.Watchdog: there is none in real time")
	case config.Limit != 0:
		return nil, errors.New("drtest: NewReal: Config.Limit: there is none in real time, end ctx")
	case config.TieFree:
		return nil, errors.New("drtest: NewReal: Config.TieFree: real time orders events itself")
	}
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	return newWorld(ctx, &machine{config: config}, config), nil
}

// A machine is the host of a World in real time.
type machine struct {
	config Config

	closing sync.Once

	mu       sync.Mutex // guards failures
	failures []error
}

func (m *machine) name() string { return cmp.Or(m.config.Name, "drtest") }

func (m *machine) real() bool { return true }

func (m *machine) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures = append(m.failures, fmt.Errorf(format, args...))
}

func (m *machine) refuse(err error) { panic(err) }

// RealTime reports whether the World was made by [NewReal].
func (w *World) RealTime() bool { return w.host.real() }

// Failures returns what went wrong besides checks so far: panics of loads, processes that ended with an error, faults
// that could not act. It is empty for a World made by [Run], which fails its test.
func (w *World) Failures() []error {
	m, ok := w.host.(*machine)
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]error{}, m.failures...)
}

// closeGrace is how long the goroutines of a World in real time may take to end.
const closeGrace = 10 * time.Second

// Close takes every fault away, ends the World as the end of [Run] does and waits for its goroutines; then
// [World.Report] is final. It returns the [World.Failures], and an error that lists the goroutines if some have not
// ended within 10 s. Further calls do nothing and return the same. It panics in a World made by Run.
func (w *World) Close() error { return w.closeWithin(closeGrace) }

func (w *World) closeWithin(grace time.Duration) error {
	m, ok := w.host.(*machine)
	if !ok {
		panic("drtest: Close of a World made by Run, which ends by itself")
	}
	m.closing.Do(func() { w.shut(m, grace) })
	return errors.Join(w.Failures()...)
}

// shut ends the World and judges it.
func (w *World) shut(m *machine, grace time.Duration) {
	w.finish()
	w.takeDown()
	if !w.wait(grace) {
		m.fail("drtest: Close: goroutines of the World are left after %v:\n%s", grace, describe(ownLeft(allGoroutines())))
	}
	r := w.conclude()
	if w.config.Artifacts == "" {
		return
	}
	if err := writeReport(w.config.Artifacts, m.name(), r); err != nil {
		m.fail("%w", err)
	}
}

// ownLeft returns the goroutines on which a World runs something, the caller and those that wait for them aside.
func ownLeft(gs []goroutine) []goroutine {
	own := ownGoroutine()
	var out []goroutine
	for _, g := range gs {
		if g.id == own.id || g.bubble != 0 {
			continue
		}
		for _, f := range g.frames {
			if strings.HasPrefix(f.function, ownPackages+".(*World).wait.") {
				break
			}
			if strings.HasPrefix(f.function, ownPackages+".") {
				out = append(out, g)
				break
			}
		}
	}
	return out
}
