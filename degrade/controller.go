package degrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/internal/audit"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// All, as a feature's name in flags and overrides, means every feature.
const All = "*"

// Config configures a [Controller]. The zero value is ready to use: no flags, overrides in this process only.
type Config struct {
	// Name names the controller in logs, metrics and the status page; "" = "degrade". Instance names the process in
	// overrides and audit records; "" = none.
	Name, Instance string

	// Region is where this process runs; see DependencyConfig.Home and [ScopeRegion].
	Region string

	// Provider loads flags, on a goroutine of Run. Nil = no flags.
	Provider Provider

	// Overrides is where overrides of the Region and the fleet are kept. Nil allows [ScopeInstance] only.
	Overrides Store

	// LastKnownGood is a file that keeps the last good flags, the overrides and the place in the audit chain over a restart.
	// [New] reads it; Run and the override methods replace it. "" = none. A damaged file is reported and not used.
	LastKnownGood string

	// Boot is the level of every feature until flags have been loaded for the first time, from Provider or LastKnownGood.
	// Normal, the zero value, trusts the code's defaults; Offline fails closed. Without a Provider it may not be set.
	Boot Level

	// Audit receives one line of JSON for everything done to an override; see docs/strategies/degrade.md. A failed write
	// is logged and counted and does not stop the action. Nil = none. It is written to by one goroutine at a time.
	Audit io.Writer

	// Hold is how long the way back to a better level must be clear before it is taken; 0 = 30 s; [NoWait] = at once.
	// A relapse within FlapWindow (0 = 10 m) of a step back doubles it, up to MaxHold (0 = 10 m); every FlapWindow without one
	// halves it again.
	Hold, FlapWindow, MaxHold time.Duration

	// UnknownHold is how long a dependency of unknown state is believed to be as it was; then it is Impaired. 0 = 30 s.
	UnknownHold time.Duration

	// PollEvery is the pause between two polls of a dependency, ± 20 %; 0 = 1 s. PollTimeout ends a poll's or a gate's
	// context; 0 = 1 s.
	PollEvery, PollTimeout time.Duration

	// RefreshEvery is the pause between two loads of flags and of overrides, ± 20 %; 0 = 10 s. RefreshTimeout ends a load's
	// context; 0 = 5 s.
	RefreshEvery, RefreshTimeout time.Duration

	// Stagger delays the use of every new set of flags by a random time below it, another one in each instance, so that
	// a bad set does not reach all at once: one that is not there any more when its time has come is not used. 0 = none.
	Stagger time.Duration

	// BlastShare refuses a new set of flags that moves this share of the features or more to Offline, unless the set says
	// Confirm; 0 = 0.5. At most 1.
	BlastShare float64

	// MaxTTL is the longest time an override may be given; 0 = 24 h.
	MaxTTL time.Duration

	// GateDeadline is how long a recovery gate may keep a feature from a better level; 0 = 10 m.
	GateDeadline time.Duration

	// PinFor is how long after a change a pinned request still sees the level it began with; 0 = 1 m.
	PinFor time.Duration

	Logger        *slog.Logger         // one line per change of state; nil is silent
	MeterProvider metric.MeterProvider // nil = the global one
}

// A Controller keeps the levels of features. All methods are safe for concurrent use.
type Controller struct {
	cfg     Config
	log     *slog.Logger
	audit   *audit.Log
	set     telemetry.Set
	started time.Time
	wake    chan struct{} // makes Run evaluate
	hint    chan struct{} // makes Run load flags
	pull    chan struct{} // makes Run load overrides
	saving  chan struct{} // one token: the right to write the state file
	pins    atomic.Pointer[[]uint8]
	dropped atomic.Int64 // events nobody could be told
	unaudited,
	refusedSets atomic.Int64

	// mu guards the following, and the fields of dependencies and features that say so. Nothing waits under it.
	mu             sync.Mutex
	dependencies   []*Dependency
	features       []*Feature
	flags          flags
	local          []Override // of this instance
	shared         []Override // of the Region and the fleet, as loaded last
	sharedErr      string
	sharedRevision uint64
	sharedSince    time.Time       // when sharedRevision was seen first; zero = before New
	warned         map[string]bool // overrides whose end was announced
	outbox         []Event
	recent         []Event
	subscribers    map[int]func(Event)
	subscribed     int
	run            *running // while Run runs
	ran            bool
	stopping       bool // Run has ended: detached work is no longer started
	detached       sync.WaitGroup
	loads          map[int]context.CancelFunc // of detached work
	loaded         int
	bootNote       string // why the state file was not used
}

// New returns a Controller. It reads Config.LastKnownGood, if set, and starts nothing; see [Controller.Run].
func New(cfg Config) (*Controller, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.fill()
	c := &Controller{
		cfg: cfg, log: telemetry.Logger(cfg.Logger), started: time.Now(), set: newSet(cfg.Name),
		wake: make(chan struct{}, 1), hint: make(chan struct{}, 1), pull: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		warned: map[string]bool{}, subscribers: map[int]func(Event){}, loads: map[int]context.CancelFunc{},
	}
	head := c.restore()
	c.expireLocked(time.Now(), &due{}) // what has ended since is told, and audited, by Run
	c.audit = audit.NewLog(cfg.Audit, head)
	telemetry.Attach(cfg.MeterProvider, telemetry.Degrade, c, (*Controller).collect)
	return c, nil
}

func (cfg *Config) check() error {
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"FlapWindow", cfg.FlapWindow},
		{"MaxHold", cfg.MaxHold},
		{"UnknownHold", cfg.UnknownHold},
		{"PollEvery", cfg.PollEvery},
		{"PollTimeout", cfg.PollTimeout},
		{"RefreshEvery", cfg.RefreshEvery},
		{"RefreshTimeout", cfg.RefreshTimeout},
		{"Stagger", cfg.Stagger},
		{"MaxTTL", cfg.MaxTTL},
		{"GateDeadline", cfg.GateDeadline},
		{"PinFor", cfg.PinFor},
		{"Hold", max(cfg.Hold, 0)},
	} {
		if d.value < 0 {
			return fmt.Errorf("degrade: Config.%s: %v is negative", d.field, d.value)
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"PollEvery", cfg.PollEvery}, {"RefreshEvery", cfg.RefreshEvery}, {"PollTimeout", cfg.PollTimeout}, {"RefreshTimeout", cfg.RefreshTimeout}} {
		if d.value != 0 && d.value < 10*time.Millisecond {
			return fmt.Errorf("degrade: Config.%s: %v is below the minimum 10ms", d.field, d.value)
		}
	}
	switch {
	case cfg.Hold < 0 && cfg.Hold != NoWait:
		return fmt.Errorf("degrade: Config.Hold: %v is negative and not NoWait", cfg.Hold)
	case !(cfg.BlastShare >= 0 && cfg.BlastShare <= 1):
		return fmt.Errorf("degrade: Config.BlastShare: %v is not a share between 0 and 1", cfg.BlastShare)
	case cfg.Boot > Offline:
		return fmt.Errorf("degrade: Config.Boot: %v is not a level", cfg.Boot)
	case cfg.Boot > Normal && cfg.Provider == nil:
		return fmt.Errorf("degrade: Config.Boot: %v without a Provider would never end", cfg.Boot)
	}
	return nil
}

func (cfg *Config) fill() {
	if cfg.Name == "" {
		cfg.Name = "degrade"
	}
	if cfg.BlastShare == 0 {
		cfg.BlastShare = 0.5
	}
	cfg.Hold = defaulted(cfg.Hold, 30*time.Second)
	cfg.FlapWindow = defaulted(cfg.FlapWindow, 10*time.Minute)
	cfg.MaxHold = defaulted(cfg.MaxHold, 10*time.Minute)
	cfg.UnknownHold = defaulted(cfg.UnknownHold, 30*time.Second)
	cfg.PollEvery = defaulted(cfg.PollEvery, time.Second)
	cfg.PollTimeout = defaulted(cfg.PollTimeout, time.Second)
	cfg.RefreshEvery = defaulted(cfg.RefreshEvery, 10*time.Second)
	cfg.RefreshTimeout = defaulted(cfg.RefreshTimeout, 5*time.Second)
	cfg.MaxTTL = defaulted(cfg.MaxTTL, 24*time.Hour)
	cfg.GateDeadline = defaulted(cfg.GateDeadline, 10*time.Minute)
	cfg.PinFor = defaulted(cfg.PinFor, time.Minute)
}

func defaulted(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)

func checkName(what, name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%s %.70q: a name is a lower-case letter and up to 63 letters, digits, '-', '_' or '.'", what, name)
	}
	return nil
}

// must is how registration refuses, as http.Handle does.
func must(err error) {
	if err != nil {
		panic("degrade: " + err.Error())
	}
}

func newSet(controller string, more ...string) telemetry.Set {
	attributes := []attribute.KeyValue{attribute.String("name", controller)}
	for i := 0; i+1 < len(more); i += 2 {
		attributes = append(attributes, attribute.String(more[i], more[i+1]))
	}
	return telemetry.NewSet(attributes...)
}

// offset is t on the controller's monotonic clock; never 0.
func (c *Controller) offset(t time.Time) int64 { return max(1, int64(t.Sub(c.started))) }

// due is the earliest of several instants.
type due struct{ at time.Time }

func (d *due) by(t time.Time) {
	if d.at.IsZero() || t.Before(d.at) {
		d.at = t
	}
}

// evaluateLocked brings every level up to date and returns when it must be called again; zero = when something happens.
func (c *Controller) evaluateLocked(now time.Time) (next time.Time) {
	var due due
	c.expireLocked(now, &due)
	for _, d := range c.dependencies {
		d.settleLocked(now, &due)
	}
	for _, f := range c.features { // in the order of registration: what is needed comes first
		f.advanceLocked(now, &due)
	}
	c.snapshotLocked()
	return due.at
}

// presentLocked is the view of the world as it is.
func (c *Controller) presentLocked() view {
	return view{
		state:   func(d *Dependency) State { return d.settled },
		stubbed: func(d *Dependency) bool { return d.stubbing.Load() },
		level:   (*Feature).Level,
	}
}

func (c *Controller) wakeLocked() { nudge(c.wake) }

// nudge leaves a token in ch unless one is there.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Level returns the level that flags and overrides ask of every feature: what [All] is at. The features' own levels may be
// worse, and better where FeatureConfig.Never says so.
func (c *Controller) Level() Level {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rootLocked().level
}

// guarded runs a callback and turns its panic into an error.
func guarded(what string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %v", what, p)
		}
	}()
	return call()
}

var errStopped = errors.New("degrade: Run was called before: a Controller runs once")
