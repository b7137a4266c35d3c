package failover

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/planted"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// A Controller is the one place of a process that decides which Regions serve and whether this process may write. Every
// client, queue, store and feature obeys it. Its methods are safe for concurrent use.
type Controller struct {
	cfg   ControllerConfig
	log   *slog.Logger
	start time.Time // base of the monotonic clock that leases are measured on
	rule  ruleset   // derived from cfg

	current atomic.Pointer[snapshot] // what the hot paths read
	lease   atomic.Pointer[lease]

	mu        sync.Mutex // guards the following; never held across I/O or a callback
	coord     Coordinator
	known     bool // a record has been adopted, from the coordinator or the state file
	record    Record
	adopted   uint64    // how many records have been
	phaseSeen time.Time // when this instance first saw record's phase
	tokenSeen time.Time // when it first saw record's executor
	conflict  string    // why writes are stopped although a record is known
	health    map[Region]*regionHealth
	suspect   bool // all Regions look bad from here
	sources   []*source
	observed  *source
	endpoints []prober // of all clients
	probers   []prober // those not yet started
	votes     map[string]seenVote
	ballot    uint64        // number of this instance's next vote
	votesAt   time.Time     // when the newest votes were asked for
	voted     time.Time     // when the newest vote that was stored was made
	changed   chan struct{} // closed and replaced at every publish
	stable    time.Time     // since when Regions[0] has been healthy without a break
	agreed    time.Time     // since when a quorum calls the writer unhealthy
	proposal  *RefusedError // of an automatic move that would have begun at the last poll; nil if none
	task      *task

	saving     sync.Mutex // guards the following and the files themselves
	saved      uint64     // sequence and epoch of the record last persisted
	savedEpoch uint64
	auditTo    uint64 // sequence of the newest entry copied to the sink

	running   atomic.Bool  // Run has been called
	confirmed atomic.Int64 // since start: when the newest answer of the coordinator was asked for

	counts instruments

	wake chan struct{} // capacity 1: evaluate health now
	keep chan struct{} // capacity 1: persist the record now
	poke chan struct{} // capacity 1: poll the coordinator now
}

// ruleset holds what follows from the configuration.
type ruleset struct {
	lease     time.Duration // how long, on anyone's clock, a lease of LeaseTTL can last
	fenceWait time.Duration // from Fenced until the old writer must have stopped
	liveness  time.Duration // a vote that has not grown for so long is dead
	random    func() float64
	observe   func(event string) // tests count arrows and refusals; nil otherwise

	// Mutations: each breaks one rule, so that the simulation can show that it would notice.
	leaseFromResponse, neverAbstain, acceptLower, ignoreDecision, reuseEpoch         bool
	anyExposure, anyTarget, openExposure, manyExecutors, lastAttemptOnly, rampAlways bool
	wallStep                                                                         time.Duration // a wall clock set back while a lease runs
}

// see tells tests what happened.
func (r *ruleset) see(event string) {
	if r.observe != nil {
		r.observe(event)
	}
}

// A lease lets this instance write at an epoch until an instant of its own monotonic clock.
type lease struct {
	epoch uint64
	until time.Duration // since Controller.start
}

// A Decision is what this process obeys now. It is immutable.
type Decision struct {
	Sequence    uint64
	Epoch       uint64 // 0: nothing is known yet
	DecisionID  string
	Phase       Phase
	Writer      Region // "" while nobody may write
	Active      Region // which Region users' traffic should reach: the writer, or the one being promoted
	Since       time.Time
	Regions     []Region // usable for reads, this process's own first; all of them when none is
	Health      map[Region]Health
	Transition  *Transition // nil in steady
	Last        *Transition // the newest finished move, nil before the first
	SelfSuspect bool        // all Regions look bad: the fault is likely here; routes are held
	Conflict    string      // why writes are stopped although the writer is known
}

// snapshot is what the hot paths read: a decision, and what follows from it.
type snapshot struct {
	decision  Decision
	order     []int    // decision.Regions as indexes into ControllerConfig.Regions
	away      []Region // decision.Regions with the own Region last
	awayOrder []int
	opened    uint64 // the epoch at which the newest writer opened
	homeShare uint32 // percent of reads that go home first
	mayWrite  bool   // the record allows it; FenceLease also takes a lease
	reason    string // why not
}

// NewController returns a controller that knows the state file, if there is one, and nothing else yet. It starts nothing:
// call [Controller.Run]. Errors name the field of cfg.
func NewController(cfg ControllerConfig) (*Controller, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Controller{
		cfg: cfg, log: telemetry.Logger(cfg.Logger).With("controller", cfg.Name, "instance", cfg.Instance), start: time.Now(),
		rule: rulesOf(cfg), coord: cfg.Coordinator, health: map[Region]*regionHealth{}, votes: map[string]seenVote{},
		changed: make(chan struct{}), wake: make(chan struct{}, 1), poke: make(chan struct{}, 1), keep: make(chan struct{}, 1),
		ballot: uint64(time.Now().UnixNano()), // so that the number grows also over a restart
	}
	for _, r := range cfg.Regions {
		c.health[r] = &regionHealth{pace: pace{cfg.HoldFor, cfg.HealFor, cfg.RampStep}, share: 100, since: c.start}
	}
	c.observed = newSource("observed", false, cfg.Regions)
	c.sources = []*source{c.observed}
	if c.cfg.Ledger == nil {
		c.cfg.Ledger = NewMemoryLedger(c.log)
	}
	if cfg.StateFile != "" {
		if err := c.boot(); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	c.publishLocked()
	c.mu.Unlock()
	c.attachTelemetry()
	return c, nil
}

func rulesOf(cfg ControllerConfig) ruleset {
	lease := time.Duration(float64(cfg.LeaseTTL) / (1 - cfg.ClockRate))
	r := ruleset{lease: lease, fenceWait: cfg.MaxFlight, liveness: 3 * cfg.PollEvery * 12 / 10, random: mathrand.Float64}
	if cfg.Fence == FenceLease {
		r.fenceWait += lease
	}
	r.fenceWait = time.Duration(float64(r.fenceWait) * (1 + cfg.ClockRate)) // the clock that waits may be the fast one
	r.lastAttemptOnly, r.rampAlways = planted.Has(planted.LastAttempt), planted.Has(planted.RampUnplanned)
	return r
}

func randomName() string { return rand.Text()[:12] }

// Decision returns what this process obeys now. Its maps and slices must not be changed.
func (c *Controller) Decision() Decision { return c.current.Load().decision }

// Route returns the Regions usable for reads, this process's own first, and the writer Region, "" while there is none. It is one
// atomic load; the slice is shared and must not be changed. The list is never empty: with no usable Region it is all of them.
func (c *Controller) Route() (regions []Region, writer Region) {
	s := c.current.Load()
	if s.awayNow() {
		return s.away, s.decision.Writer
	}
	return s.decision.Regions, s.decision.Writer
}

// awayNow decides, while the own Region heals, whether this read goes elsewhere first.
func (s *snapshot) awayNow() bool {
	return s.homeShare < 100 && mathrand.Uint32N(100) >= s.homeShare
}

// index is the position of region in ControllerConfig.Regions, -1 if it has none.
func (c *Controller) index(region Region) int { return slices.Index(c.cfg.Regions, region) }

func (c *Controller) indexes(regions []Region) []int {
	order := make([]int, len(regions))
	for i, r := range regions {
		order[i] = c.index(r)
	}
	return order
}

// Epoch returns the epoch at which this process may write now and since when it holds; 0 if it may not. Under FenceLease it reads
// the clock once.
func (c *Controller) Epoch() (epoch uint64, since time.Time) {
	s := c.current.Load()
	if !s.mayWrite || c.cfg.Fence == FenceLease && c.leaseLeft(s.decision.Epoch) <= 0 {
		return 0, time.Time{}
	}
	return s.decision.Epoch, s.decision.Since
}

// leaseLeft is how long this instance may still write at epoch.
func (c *Controller) leaseLeft(epoch uint64) time.Duration {
	l := c.lease.Load()
	if l == nil || l.epoch != epoch {
		return 0
	}
	return l.until - time.Since(c.start)
}

// Ready reports whether this process is in the writer Region and may write; if not, when asking again makes sense.
func (c *Controller) Ready() (wait time.Duration, ok bool) {
	if epoch, _ := c.Epoch(); epoch != 0 {
		return 0, true
	}
	return c.cfg.PollEvery, false
}

// Capacity returns how many requests a second this process's Region can take: the least that any client's Member says. ok is false if
// none says. It calls [Member.Capacity] of every client.
func (c *Controller) Capacity() (perSecond int, ok bool) {
	c.mu.Lock()
	endpoints := c.endpoints
	c.mu.Unlock()
	for _, p := range endpoints {
		if p.region != c.cfg.Self || p.capacity == nil {
			continue
		}
		if n := p.capacity(); !ok || n < perSecond {
			perSecond, ok = n, true
		}
	}
	return perSecond, ok
}

// Self returns the Region this process runs in.
func (c *Controller) Self() Region { return c.cfg.Self }

// hint asks the coordinator soon, at most once a second.
func (c *Controller) hint() {
	if time.Since(c.start)-time.Duration(c.confirmed.Load()) > tick {
		nudge(c.poke)
	}
}

// Observe counts the result of a call that reached for a Region outside a [Client], such as a send of the queue's regional
// transport. Unknown Regions are ignored.
func (c *Controller) Observe(region Region, err error, took time.Duration) {
	r := c.observed.regions[region]
	if r == nil {
		return
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && took < deadlineCounts {
		return
	}
	r.counts.add(Classify(err).effect())
}

// deadlineCounts is how long a call must have lived before its caller's deadline counts against the Region.
const deadlineCounts = 500 * time.Millisecond

// Watch yields the current decision and then every later one until ctx ends or the loop breaks. A slow
// reader sees the newest decision, not each one between.
func (c *Controller) Watch(ctx context.Context) iter.Seq[Decision] {
	return func(yield func(Decision) bool) {
		for {
			c.mu.Lock()
			changed := c.changed
			c.mu.Unlock()
			if !yield(c.Decision()) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}

// publishLocked makes the state of mu visible to the hot paths.
func (c *Controller) publishLocked() {
	usable := c.usableLocked()
	s := &snapshot{away: slices.Clone(usable), homeShare: c.shareLocked(c.cfg.Self)}
	if i := slices.Index(s.away, c.cfg.Self); i >= 0 {
		s.away = append(slices.Delete(s.away, i, i+1), c.cfg.Self)
	}
	s.order, s.awayOrder = c.indexes(usable), c.indexes(s.away)
	d := Decision{Regions: usable, Health: map[Region]Health{}, SelfSuspect: c.suspect, Conflict: c.conflict}
	for r, h := range c.health {
		d.Health[r] = h.state
	}
	if c.known {
		rec := c.record
		s.opened = rec.opened()
		d.Last = rec.Last.clone()
		d.Sequence, d.Epoch, d.DecisionID, d.Phase = rec.Sequence, rec.Epoch, rec.DecisionID, rec.Phase
		d.Writer, d.Active, d.Since = rec.Writer, rec.Writer, rec.Since
		if rec.Transition != nil {
			t := rec.Transition.clone()
			t.ctl = c
			d.Transition = t
			d.Active = orString(d.Active, t.To)
		}
	}
	s.mayWrite, s.reason = c.mayWriteLocked()
	s.decision = d
	before := c.current.Swap(s)
	if before != nil && sameDecision(before.decision, d) {
		return
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// sameDecision compares what watchers care about.
func sameDecision(a, b Decision) bool {
	return a.Sequence == b.Sequence && a.Epoch == b.Epoch && a.Conflict == b.Conflict && a.SelfSuspect == b.SelfSuspect &&
		slices.Equal(a.Regions, b.Regions) && maps.Equal(a.Health, b.Health)
}

func (c *Controller) mayWriteLocked() (ok bool, reason string) {
	switch {
	case !c.known:
		return false, "nothing is known of the group's decision yet"
	case c.conflict != "":
		return false, c.conflict
	case c.cfg.Role == RoleWitness:
		return false, "a witness never writes"
	case !c.record.Writable():
		return false, "the writer is being moved (" + c.record.Phase.String() + ")"
	case c.record.Writer != c.cfg.Self:
		return false, "another region is the writer"
	}
	return true, ""
}

// usableLocked lists the Regions for reads: own first, then in configured order; all when none is usable, and as
// before while all look bad from here.
func (c *Controller) usableLocked() []Region {
	var usable []Region
	for _, r := range c.ordered() {
		if h := c.health[r]; h.state.readable() && h.share > 0 {
			usable = append(usable, r)
		}
	}
	if c.suspect {
		if before := c.current.Load(); before != nil {
			return before.decision.Regions
		}
	}
	if len(usable) == 0 {
		return c.ordered()
	}
	return usable
}

// ordered is the Regions with the own one first.
func (c *Controller) ordered() []Region {
	list := slices.Clone(c.cfg.Regions)
	if i := slices.Index(list, c.cfg.Self); i > 0 {
		list = slices.Insert(slices.Delete(list, i, i+1), 0, c.cfg.Self)
	}
	return list
}

// shareLocked is the percentage of reads that may use region: less than 100 while it heals or a planned move ramps.
func (c *Controller) shareLocked(region Region) uint32 {
	h := c.health[region]
	if h == nil { // a witness's own Region serves nothing
		return 0
	}
	share := h.share
	if t := c.record.Transition; c.known && t != nil && (t.Planned || c.rule.rampAlways) {
		step := min(int(time.Since(c.phaseSeen)/c.cfg.RampStep), len(ramp)-1)
		switch {
		case c.record.Phase == PhaseDraining && region == t.From:
			share = min(share, 100-ramp[step])
		case c.record.Phase == PhaseRamping && region == t.To:
			share = min(share, ramp[step])
		}
	}
	return uint32(share)
}
