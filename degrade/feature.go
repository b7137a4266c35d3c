package degrade

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Unlimited, as MaxFallbacks, lets any number of fallbacks run at once.
const Unlimited = -1

// FeatureConfig declares what a feature needs and how it comes back. The zero value needs nothing: its
// level is moved by flags and overrides alone.
type FeatureConfig struct {
	// Reads, when Down, leaves the feature Offline. Writes, when Down, leaves it ReadOnly. Optional, when Down,
	// leaves it Limited, and so does any of the three when it is only Impaired. Nil needs nothing.
	Reads, Writes, Optional Need

	// Fallback is what the fallbacks given to [Read] need: AllOf() if they need nothing, nil if there are none.
	// It may not share a dependency with Reads: such a fallback fails exactly when it is wanted.
	Fallback Need

	// Never is a level the feature may not have, nor any worse one, whatever its needs, flags and overrides of
	// everything say. Normal, the zero value, means no such limit.
	Never Level

	// AtLeast is the best level the feature may have; 0 = Normal.
	AtLeast Level

	// NoStub says that a stub is no answer for this feature: a stubbed dependency away from its home
	// counts as Down for it.
	NoStub bool

	// Hold is how long the way back to the next better level must be clear before it is taken, ± 20 %. It doubles
	// with every relapse; see Config.MaxHold. 0 = Config.Hold; [NoWait] = at once and all levels in one step.
	Hold time.Duration

	// Gate is asked before every step to a better level, with the step; an error keeps the level, for example
	// while a backlog of deferred writes is above its limit. It runs on a goroutine of Run, one call at a time, about every
	// second, with a context that ends after Config.PollTimeout. After Config.GateDeadline the step is taken anyway,
	// with an event. A panic is an error.
	Gate func(ctx context.Context, from, to Level) error

	// Exercise is the share of successful primary reads, 0 to 1, that also run the fallback, to prove that it works
	// before it is needed. That caller waits for it, ExerciseTimeout and no longer if it obeys its context; its answer is dropped.
	Exercise float64

	// ExerciseTimeout ends the context of an exercised fallback; 0 = 1 s.
	ExerciseTimeout time.Duration

	// Compare reports whether an exercised fallback's answer is as good as the primary's; a mismatch is counted and
	// no proof. Nil accepts any. It runs on the caller's goroutine.
	Compare func(primary, fallback any) bool

	// Reserve is the time kept for the fallback: the primary call's deadline is the caller's less Reserve, if that leaves
	// it at least as long. 0 = none.
	Reserve time.Duration

	// MaxFallbacks is how many fallbacks may run at once, of reads and writes together; more are refused.
	// 0 = 256; [Unlimited].
	MaxFallbacks int

	// Eligible reports whether a failed primary read may be answered by the fallback. Nil accepts all errors but
	// permanent ones. It is not asked when the caller's context has ended: there is nobody to answer. It runs on the
	// caller's goroutine. Writes do not ask it; see [Write].
	Eligible func(error) bool
}

// A Feature is something the service does, with a level of its own. Make it with [Controller.Feature], once,
// at start, and keep it; all methods are safe for concurrent use.
type Feature struct {
	// word is the level in its two low bits, and reasons to leave the fast path above. Zero: Normal, nothing else to do.
	word atomic.Uint32

	c      *Controller
	name   string
	cfg    FeatureConfig
	index  int // in Controller.features
	labels *labels
	now    atomic.Pointer[standing]
	stats  featureStats

	// The following are guarded by c.mu.
	held       Level // by needs, flags and overrides, with the way back taken in steps
	clearSince time.Time
	hold       time.Duration // of the step under way
	better     time.Time     // the last step to a better level
	flaps      int
	flapped    time.Time // the last relapse, or when one was last forgiven
	gate       gate
	changed    time.Time // of the published level
}

const (
	wordLevel  = 0b0011
	wordRecent = 0b0100 // changed of late: a pinned request may see another level
	wordExtra  = 0b1000 // Exercise or Reserve
)

// standing is what a refusal and the status page say about a feature.
type standing struct {
	level  Level
	cause  Cause
	detail string
	since  time.Time
	until  time.Time // when it is expected to end; zero = nobody knows
	next   time.Time // when the next step to a better level is due; zero = there is none
}

// featureStats are the counts of the paths that are not the fast one.
type featureStats struct {
	running     atomic.Int64 // fallbacks
	sources     [4]atomic.Int64
	refused     [3]atomic.Int64 // by Op
	failed      atomic.Int64    // fallbacks that failed
	full        atomic.Int64    // fallbacks refused at MaxFallbacks
	mismatches  atomic.Int64
	transitions [4]atomic.Int64 // by the level reached
	lookups     [4]atomic.Int64 // in Stale, by result
	proven      atomic.Int64    // offset of the last fallback that worked; 0 = never
	exercising  atomic.Bool
}

const (
	lookupFresh = iota
	lookupStale
	lookupLoaded
	lookupFailed
)

// Feature registers a feature. The rules for names are those of [Controller.Dependency]. It panics if the name is
// malformed or taken, a need is nil, foreign or can never be met, the fallback needs what the primary call
// needs, or the levels and shares of cfg contradict each other.
func (c *Controller) Feature(name string, cfg FeatureConfig) *Feature {
	must(checkName("feature", name))
	must(c.checkFeature(name, &cfg))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.features {
		if f.name == name {
			must(fmt.Errorf("feature %q is registered twice", name))
		}
	}
	cfg.Hold = defaulted(cfg.Hold, c.cfg.Hold)
	cfg.ExerciseTimeout = defaulted(cfg.ExerciseTimeout, time.Second)
	if cfg.MaxFallbacks == 0 {
		cfg.MaxFallbacks = 256
	}
	f := &Feature{c: c, name: name, cfg: cfg, index: len(c.features), labels: newLabels(c.cfg.Name, name)}
	if cfg.Exercise > 0 || cfg.Reserve > 0 {
		f.word.Store(wordExtra)
	}
	now := time.Now()
	f.now.Store(&standing{since: now})
	c.features = append(c.features, f)
	c.evaluateLocked(now)
	c.wakeLocked()
	return f
}

func (c *Controller) checkFeature(name string, cfg *FeatureConfig) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("feature %q: %s", name, fmt.Sprintf(format, args...))
	}
	for field, n := range map[string]Need{"Reads": cfg.Reads, "Writes": cfg.Writes, "Optional": cfg.Optional, "Fallback": cfg.Fallback} {
		if n == nil {
			continue
		}
		if why := n.wrong(c); why != "" {
			return wrong("%s: %s", field, why)
		}
	}
	primary := leaves(cfg.Reads)
	for d := range leaves(cfg.Fallback) {
		if primary[d] {
			return wrong("Fallback: needs %q, which the primary read needs too: it would fail with it", d.name)
		}
	}
	switch {
	case cfg.Never > Offline || cfg.AtLeast > Offline:
		return wrong("Never or AtLeast is not a level")
	case cfg.Never != Normal && cfg.AtLeast >= cfg.Never:
		return wrong("AtLeast %v is forbidden by Never %v", cfg.AtLeast, cfg.Never)
	case cfg.Hold < 0 && cfg.Hold != NoWait, cfg.Reserve < 0, cfg.ExerciseTimeout < 0:
		return wrong("a negative duration")
	case !(cfg.Exercise >= 0 && cfg.Exercise <= 1):
		return wrong("Exercise: %v is not a share between 0 and 1", cfg.Exercise)
	case cfg.Exercise > 0 && cfg.Fallback == nil:
		return wrong("Exercise without Fallback: say what the fallback needs, AllOf() if nothing")
	case cfg.MaxFallbacks < 0 && cfg.MaxFallbacks != Unlimited:
		return wrong("MaxFallbacks: %d is negative and not Unlimited", cfg.MaxFallbacks)
	}
	return nil
}

// Name returns the name it was registered with.
func (f *Feature) Name() string { return f.name }

// Level returns the level now: one atomic load. For a level that stays the same through a request use
// [Feature.LevelIn].
func (f *Feature) Level() Level { return Level(f.word.Load() & wordLevel) }

// LevelIn returns the level that holds for the request of ctx: the one it was pinned at with [Controller.Pin],
// else [Feature.Level].
func (f *Feature) LevelIn(ctx context.Context) Level {
	word := f.word.Load()
	if word&wordRecent != 0 {
		return f.pinned(ctx, Level(word&wordLevel))
	}
	return Level(word & wordLevel)
}

// Allow returns nil if op is allowed at the level of ctx, else a [*RefusedError].
func (f *Feature) Allow(ctx context.Context, op Op) error {
	if f.word.Load()&^wordExtra == 0 {
		return nil
	}
	level := f.LevelIn(ctx)
	if level < op.refusedFrom() {
		return nil
	}
	return f.refuse(ctx, op, level)
}

// derive is the level that f's needs allow in v, with the dependency to blame.
func (f *Feature) derive(v view) (Level, string) {
	v.noStub = f.cfg.NoStub
	v.op = OpRead
	reads, readsBlame := offer(f.cfg.Reads, &v)
	optional, optionalBlame := offer(f.cfg.Optional, &v)
	v.op = OpWrite
	writes, writesBlame := offer(f.cfg.Writes, &v)
	switch {
	case reads == StateDown:
		return Offline, readsBlame + " is down"
	case writes == StateDown:
		return ReadOnly, writesBlame + " is down"
	case optional == StateDown:
		return Limited, optionalBlame + " is down"
	case reads == StateImpaired:
		return Limited, readsBlame + " is impaired"
	case writes == StateImpaired:
		return Limited, writesBlame + " is impaired"
	case optional == StateImpaired:
		return Limited, optionalBlame + " is impaired"
	}
	return Normal, ""
}

// clamp keeps l between AtLeast and what Never leaves.
func (f *Feature) clamp(l Level) Level { return max(f.cfg.AtLeast, min(l, f.worst())) }

// worst is the worst level the feature may have.
func (f *Feature) worst() Level {
	if f.cfg.Never == Normal {
		return Offline
	}
	return f.cfg.Never - 1
}

// offers implements [Need].
func (f *Feature) offers(v *view) (State, string) {
	switch level := v.level(f); {
	case level == Offline || level == ReadOnly && v.op == OpWrite:
		return StateDown, f.name
	case level > Normal:
		return StateImpaired, f.name
	}
	return StateOK, f.name
}

func (f *Feature) walk(visit func(*Dependency)) {
	for _, n := range []Need{f.cfg.Reads, f.cfg.Writes, f.cfg.Optional} {
		if n != nil {
			n.walk(visit)
		}
	}
}

func (f *Feature) wrong(c *Controller) string {
	switch {
	case f == nil:
		return "a nil *Feature: register it before what needs it; features cannot need each other in a circle"
	case f.c != c:
		return fmt.Sprintf("feature %q belongs to another Controller", f.name)
	}
	return ""
}
