package degrade

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// NoWait turns a wait off that would have a default: what waits happens at once.
const NoWait time.Duration = -1

// DependencyConfig says how the state of a dependency becomes known. The zero value is report-only:
// its state is what [Dependency.Report] was told last. At most one of Ready and Poll may be set.
type DependencyConfig struct {
	// Ready asks an in-memory source, such as a breaker's or a failover client's method of this name:
	// not ok is Down, ok with a wait is Impaired (probes only). Called every Config.PollEvery on a goroutine
	// of Run; it must not block. A panic is StateUnknown.
	Ready func() (wait time.Duration, ok bool)

	// Poll asks a source that takes time, such as a health endpoint. Called every Config.PollEvery on a goroutine
	// of Run, one call at a time, with a context that ends after Config.PollTimeout. An error or a panic is StateUnknown.
	// A call that ignores its context delays nothing but itself: after MaxAge the state is unknown.
	Poll func(context.Context) (State, error)

	// MaxAge is how long a state is believed without a new report; then it is StateUnknown. Zero means
	// 3 × PollEvery + PollTimeout with a source, and for ever without one.
	MaxAge time.Duration

	// DownAfter is how long the dependency must be Down before features follow; 0 = at once.
	DownAfter time.Duration

	// ImpairedAfter is how long it must be Impaired before features follow. 0 = 5 s; [NoWait] = at once.
	ImpairedAfter time.Duration

	// Home is the only Region the dependency exists in; "" = everywhere.
	Home string

	// Stubbed says that a stub answers for it away from Home: it counts as Impaired there, not as Down,
	// except for features with NoStub. See [Stub] and degradehttp.StubTransport.
	Stubbed bool
}

// A Dependency is something features need. Make it with [Controller.Dependency], once, at start.
type Dependency struct {
	c    *Controller
	name string
	cfg  DependencyConfig

	reported atomic.Int64  // offset of the last report from c.started; 0 = never
	told     atomic.Uint32 // raw as Report's fast path may believe it: a State, or tellAgain
	stubs    atomic.Int64  // answers by a stub
	stubbing atomic.Bool   // Pick answers with the stub
	set      telemetry.Set

	// The following are guarded by c.mu.
	raw         State     // as reported
	detail      string    // as reported
	believed    State     // what the reports amount to
	settled     State     // what features see: believed, unless an override says otherwise
	worseSince  time.Time // since when raw is at least Impaired without a break; zero = it is not
	downSince   time.Time // since when raw is Down without a break
	unknown     time.Time // since when nothing is known; zero = something is
	since       time.Time // of settled
	polledSince time.Time // when the first poll began; zero = not polled
}

// tellAgain in Dependency.told makes the next report take the slow path.
const tellAgain = 1 << 8

// Dependency registers a dependency. Names are lower-case letters, digits, '-', '_' and '.', and start with a
// letter. It panics if the name is malformed or taken, or cfg contradicts itself.
func (c *Controller) Dependency(name string, cfg DependencyConfig) *Dependency {
	must(checkName("dependency", name))
	must(cfg.check(name))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.dependencies {
		if d.name == name {
			must(fmt.Errorf("dependency %q is registered twice", name))
		}
	}
	d := &Dependency{c: c, name: name, cfg: c.dependencyDefaults(cfg), raw: StateOK, believed: StateOK, settled: StateOK, since: time.Now()}
	d.told.Store(tellAgain)
	d.set = newSet(c.cfg.Name, "dependency", name)
	c.dependencies = append(c.dependencies, d)
	d.stubbing.Store(d.away(c.cfg.Region) && cfg.Stubbed)
	c.wakeLocked()
	return d
}

func (cfg DependencyConfig) check(name string) error {
	switch {
	case cfg.Ready != nil && cfg.Poll != nil:
		return fmt.Errorf("dependency %q: both Ready and Poll are set: one source only", name)
	case cfg.MaxAge < 0 || cfg.DownAfter < 0:
		return fmt.Errorf("dependency %q: a negative duration", name)
	case cfg.ImpairedAfter < 0 && cfg.ImpairedAfter != NoWait:
		return fmt.Errorf("dependency %q: ImpairedAfter: %v is negative and not NoWait", name, cfg.ImpairedAfter)
	case cfg.Stubbed && cfg.Home == "":
		return fmt.Errorf("dependency %q: Stubbed without Home: a stub answers only away from home", name)
	}
	return nil
}

func (c *Controller) dependencyDefaults(cfg DependencyConfig) DependencyConfig {
	if cfg.MaxAge == 0 && (cfg.Ready != nil || cfg.Poll != nil) {
		cfg.MaxAge = 3*c.cfg.PollEvery + c.cfg.PollTimeout
	}
	cfg.ImpairedAfter = defaulted(cfg.ImpairedAfter, 5*time.Second)
	return cfg
}

// Name returns the name it was registered with.
func (d *Dependency) Name() string { return d.name }

// Report says what the state is now. It does not wait for subscribers; features that this makes worse are
// worse when it returns. An unchanged state costs a clock read and two atomic operations. Safe for concurrent use.
func (d *Dependency) Report(s State) {
	if d.told.Load() == uint32(s) {
		d.reported.Store(d.c.offset(time.Now()))
		return
	}
	d.report(s, "")
}

func (d *Dependency) report(s State, detail string) {
	if s > StateDown {
		s, detail = StateUnknown, fmt.Sprintf("reported as %v", s)
	}
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	now := time.Now()
	d.reported.Store(d.c.offset(now))
	d.raw, d.detail = s, detail
	d.told.Store(uint32(s))
	d.c.evaluateLocked(now)
	d.c.wakeLocked()
}

// settleLocked decides which state features see.
func (d *Dependency) settleLocked(now time.Time, due *due) {
	next := d.heardLocked(now, due)
	d.timeLocked(next, now)
	switch {
	case next == StateUnknown:
		next = d.unknownLocked(now, due)
	case next == StateDown && now.Before(d.downSince.Add(d.cfg.DownAfter)):
		due.by(d.downSince.Add(d.cfg.DownAfter))
		next = d.believed
	case next == StateImpaired && d.believed == StateOK && now.Before(d.worseSince.Add(d.cfg.ImpairedAfter)):
		due.by(d.worseSince.Add(d.cfg.ImpairedAfter))
		next = StateOK
	}
	d.believed = next
	forced := d.c.forcedLocked(d)
	d.stubbing.Store(d.cfg.Stubbed && (d.away(d.c.cfg.Region) || forced == StateDown))
	if forced != StateUnknown {
		next = forced
	}
	if next == d.settled {
		return
	}
	d.c.eventLocked(Event{Kind: EventDependency, At: now, Name: d.name, From: d.settled.String(), To: next.String(), Detail: d.detail})
	d.settled, d.since = next, now
}

// heardLocked is the last report, or StateUnknown once that is too old.
func (d *Dependency) heardLocked(now time.Time, due *due) State {
	last := d.lastReport()
	if last.IsZero() {
		last = d.polledSince // report-only and never reported counts as OK, for ever
	}
	if d.cfg.MaxAge == 0 || last.IsZero() {
		return d.raw
	}
	if until := last.Add(d.cfg.MaxAge); now.Before(until) {
		due.by(until)
		return d.raw
	}
	d.detail = fmt.Sprintf("no report for %v", d.cfg.MaxAge)
	d.told.Store(tellAgain)
	return StateUnknown
}

// timeLocked keeps the clocks of how long the state has been bad.
func (d *Dependency) timeLocked(s State, now time.Time) {
	mark := func(t *time.Time, on bool) {
		if !on {
			*t = time.Time{}
		} else if t.IsZero() {
			*t = now
		}
	}
	mark(&d.worseSince, s == StateImpaired || s == StateDown)
	mark(&d.downSince, s == StateDown)
	mark(&d.unknown, s == StateUnknown)
}

// unknownLocked keeps what was believed for UnknownHold; then not knowing is Impaired, also after Down:
// a source that died must not keep a feature Offline for ever.
func (d *Dependency) unknownLocked(now time.Time, due *due) State {
	until := d.unknown.Add(d.c.cfg.UnknownHold)
	if now.Before(until) {
		due.by(until)
		return d.believed
	}
	return StateImpaired
}

// lastReport is zero if there was none.
func (d *Dependency) lastReport() time.Time {
	if at := d.reported.Load(); at != 0 {
		return d.c.started.Add(time.Duration(at))
	}
	return time.Time{}
}

// ask runs the source once.
func (d *Dependency) ask(ctx context.Context) (s State, detail string) {
	defer func() {
		if p := recover(); p != nil {
			s, detail = StateUnknown, fmt.Sprintf("its source panicked: %v", p)
		}
	}()
	if d.cfg.Ready != nil {
		switch wait, ok := d.cfg.Ready(); {
		case !ok:
			return StateDown, "not ready"
		case wait > 0:
			return StateImpaired, "probes only"
		}
		return StateOK, ""
	}
	s, err := d.cfg.Poll(ctx)
	if err != nil {
		return StateUnknown, fmt.Sprintf("poll: %v", err)
	}
	return s, ""
}

func (d *Dependency) polled() bool { return d.cfg.Ready != nil || d.cfg.Poll != nil }

// away reports whether region is not where the dependency lives.
func (d *Dependency) away(region string) bool { return d.cfg.Home != "" && d.cfg.Home != region }

// offers implements [Need].
func (d *Dependency) offers(v *view) (State, string) {
	state := v.state(d)
	if v.stubbed(d) {
		state = StateImpaired
		if v.noStub {
			state = StateDown
		}
	}
	return state, d.name
}

func (d *Dependency) walk(visit func(*Dependency)) { visit(d) }

func (d *Dependency) wrong(c *Controller) string {
	switch {
	case d == nil:
		return "a nil *Dependency: register it before what needs it"
	case d.c != c:
		return fmt.Sprintf("dependency %q belongs to another Controller", d.name)
	}
	return ""
}
