package breaker

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// GroupConfig configures a [Group]. The zero value is ready to use.
type GroupConfig struct {
	// PerKey returns the Config of a key's breaker, given the group's. It runs for each new key, on a
	// goroutine that asked, outside any lock, perhaps on several at once. A Config that New would refuse is logged and the group's is
	// used instead. Name, Logger and MeterProvider stay the group's. Nil means the group's for all keys.
	PerKey func(key string, base Config) Config

	// Max bounds the breakers kept. A new key beyond it replaces the one of 16 picked at random that has not
	// been used for longest, a closed one if there is any among them. Zero means 1000.
	Max int

	// Idle is how long a breaker may go unused before it is dropped, within a quarter more. A forced mode
	// keeps it. Zero means 15 min; Off keeps breakers until Max. Values below a second are an error.
	Idle time.Duration

	// MaxOpenShare, in (0, 1], bounds the share of the breakers that may be open at once, one being always
	// allowed: when most of a fleet looks bad the fault is likelier ours. Zero means 1, no bound. Forced
	// modes are not bound, but count.
	MaxOpenShare float64
}

func (g GroupConfig) withDefaults() GroupConfig {
	orDefault(&g.Max, 1000)
	orDefault(&g.Idle, 15*time.Minute)
	orDefault(&g.MaxOpenShare, 1)
	return g
}

func (g GroupConfig) validate() error {
	if err := notNegative("Max", g.Max); err != nil {
		return err
	}
	if g.Idle != Off {
		if err := atLeast("Idle", g.Idle, time.Second); err != nil {
			return err
		}
	}
	return rate("MaxOpenShare", g.MaxOpenShare, false)
}

// A Group keeps a breaker per key: a host, a Region, a tenant. All methods are safe for concurrent use.
// It has no goroutine of its own and needs no closing.
type Group struct {
	recent atomic.Pointer[map[string]*member] // a read-only, perhaps older copy of members
	clock  atomic.Uint64                      // of idleness and of recent use: sweeps<<32 + breakers dropped for others
	base   Config                             // as the user wrote it
	cfg    GroupConfig
	pool   openPool

	mu      sync.Mutex // guards what follows
	members map[string]*member
	misses  int // lookups that recent did not serve
	sweeper *time.Timer
	retired tally // of breakers dropped
}

type member struct {
	breaker *Breaker
	used    atomic.Uint64 // clock at the last use
	gone    atomic.Bool   // no longer in members
}

const oneSweep = 1 << 32

// sweepsPerIdle is how finely idleness is measured: nobody reads a clock to use a breaker.
const sweepsPerIdle = 4

// NewGroup returns an empty group whose breakers are configured by base. Errors name the field.
func NewGroup(base Config, cfg GroupConfig) (*Group, error) {
	if err := base.validate(); err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("breaker %q: GroupConfig.%w", base.Name, err)
	}
	g := &Group{base: base, cfg: cfg.withDefaults(), members: map[string]*member{}}
	g.pool.share = g.cfg.MaxOpenShare
	g.recent.Store(&map[string]*member{})
	telemetry.Attach(base.MeterProvider, telemetry.Breaker, g, groupCollectorOf(base.Name))
	return g, nil
}

// Do runs call under the breaker of key, as [Breaker.Do] does.
func (g *Group) Do(ctx context.Context, key string, call func(context.Context) error) error {
	return g.Get(key).Do(ctx, call)
}

// Get returns the breaker of key and makes it at the first use. Ask again for every call: a breaker kept
// elsewhere works on, but the group may have dropped it.
func (g *Group) Get(key string) *Breaker {
	m := (*g.recent.Load())[key]
	if m == nil || m.gone.Load() {
		m = g.find(key)
	}
	if now := g.clock.Load(); m.used.Load() != now {
		m.used.Store(now)
	}
	return m.breaker
}

// All yields the keys and breakers that the group held when the walk began, in no order.
func (g *Group) All() iter.Seq2[string, *Breaker] {
	return func(yield func(string, *Breaker) bool) {
		_, members := g.snapshot()
		for key, m := range members {
			if !yield(key, m.breaker) {
				return
			}
		}
	}
}

// snapshot returns the members and the counts of those dropped before, which together are everything counted.
func (g *Group) snapshot() (tally, map[string]*member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.retired, maps.Clone(g.members)
}

// find looks in members, and makes the breaker if it is not there.
func (g *Group) find(key string) *member {
	g.mu.Lock()
	m := g.members[key]
	if m != nil {
		g.missedLocked()
	}
	g.mu.Unlock()
	if m != nil {
		return m
	}
	made := &member{breaker: newBreaker(g.configOf(key), key, &g.pool)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.members[key]; m != nil { // somebody else was faster
		made.breaker.leaveGroup()
		return m
	}
	g.addLocked(key, made)
	return made
}

// configOf is the complete Config of key's breaker.
func (g *Group) configOf(key string) Config {
	if g.cfg.PerKey == nil {
		return g.base.withDefaults()
	}
	cfg := g.cfg.PerKey(key, g.base)
	cfg.Name, cfg.Logger = g.base.Name, g.base.Logger
	if err := cfg.validate(); err != nil {
		telemetry.Logger(g.base.Logger).Error("breaker PerKey refused, using the group's Config",
			slog.String("name", g.base.Name), slog.String("key", key), slog.Any("error", err))
		cfg = g.base
	}
	return cfg.withDefaults()
}

func (g *Group) addLocked(key string, m *member) {
	if len(g.members) >= g.cfg.Max {
		g.dropLocked(g.victimLocked())
		g.clock.Add(1)
	}
	m.used.Store(g.clock.Load())
	g.members[key] = m
	g.pool.size.Store(int64(len(g.members)))
	g.missedLocked()
	if len(g.members) == 1 && g.cfg.Idle != Off {
		setTimer(&g.sweeper, g, (*Group).sweep, int64(g.cfg.Idle/sweepsPerIdle))
	}
}

// missedLocked renews recent once renewing has been paid for by as many misses as it copies.
func (g *Group) missedLocked() {
	g.misses++
	if g.misses >= len(g.members) {
		g.misses = 0
		members := maps.Clone(g.members)
		g.recent.Store(&members)
	}
}

// victimSample bounds the search for a breaker to drop, so that a flood of keys stays cheap.
const victimSample = 16

// victimLocked picks the breaker whose loss hurts least among some at random.
func (g *Group) victimLocked() (victim string) {
	best, seen := uint64(math.MaxUint64), 0
	for key, m := range g.members {
		if cost := m.cost(); cost < best {
			victim, best = key, cost
		}
		if seen++; seen == victimSample {
			break
		}
	}
	return victim
}

// cost ranks what dropping m would lose: an operator's order, an open state, a recent use.
func (m *member) cost() uint64 {
	cost := m.used.Load()
	if m.breaker.State() != StateClosed {
		cost |= 1 << 62
	}
	if m.breaker.isForced() {
		cost |= 1 << 63
	}
	return cost
}

func (g *Group) dropLocked(key string) {
	m := g.members[key]
	m.gone.Store(true)
	delete(g.members, key)
	g.pool.size.Store(int64(len(g.members)))
	g.retired.add(m.breaker.leaveGroup())
}

// sweep drops the breakers that have been idle.
func (g *Group) sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Add(oneSweep)
	dropped := false
	for key, m := range g.members {
		if now/oneSweep-m.used.Load()/oneSweep > sweepsPerIdle && !m.breaker.isForced() {
			g.dropLocked(key)
			dropped = true
		}
	}
	if dropped { // or recent would keep them from being collected
		g.misses = len(g.members)
		g.missedLocked()
	}
	if len(g.members) > 0 {
		setTimer(&g.sweeper, g, (*Group).sweep, int64(g.cfg.Idle/sweepsPerIdle))
	}
}

// isForced reports whether an operator's order is in force.
func (b *Breaker) isForced() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.forcedUntil != 0
}

// leaveGroup makes b a breaker of its own and returns what it has counted for the group.
func (b *Breaker) leaveGroup() tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leavePoolLocked()
	b.pool = nil
	return b.tallyLocked()
}

// An openPool bounds how many breakers of a group are open or half-open at once.
type openPool struct {
	share      float64
	size, open atomic.Int64
}

// enterPoolLocked asks for a place; force takes one in any case.
func (b *Breaker) enterPoolLocked(force bool) bool {
	if b.pool == nil || b.inPool {
		return true
	}
	b.inPool = force || b.pool.enter()
	if force {
		b.pool.open.Add(1)
	}
	return b.inPool
}

func (p *openPool) enter() bool {
	for {
		open := p.open.Load()
		if open > 0 && float64(open+1)/float64(p.size.Load()) > p.share {
			return false
		}
		if p.open.CompareAndSwap(open, open+1) {
			return true
		}
	}
}

func (b *Breaker) leavePoolLocked() {
	if b.inPool {
		b.inPool = false
		b.pool.open.Add(-1)
	}
}
