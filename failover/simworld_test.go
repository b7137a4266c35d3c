package failover

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A sim is one simulated fleet: instances that drive the exported Controller and Client over a faulty coordinator and
// faulty stores, on virtual time. The checks see what clients, stores and the coordinator observed, never a
// controller's insides.
type sim struct {
	seed   int64
	dir    string // for state files
	start  time.Time
	mutate func(*Controller) // breaks a rule of every controller; nil in clean runs
	count  func(event string)

	coord  *simCoord
	stores map[Region]*simStore
	nodes  []*simNode
	wg     sync.WaitGroup // late deliveries
	stop   chan struct{}  // closed when traffic ends

	mu        sync.Mutex // guards the following
	rng       *rand.Rand
	lines     []string
	broken    []string  // violated invariants
	primary   Region    // where data are written in truth
	diverged  Region    // a former primary that nobody has rebuilt
	parted    time.Time // since when
	lag       time.Duration
	through   time.Time // the commit instant that the copy has reached
	frozen    bool      // replication is cut
	lastFault map[Region]time.Time
	faulty    map[Region]bool
	ops       []*simOp
	ledger    map[string]int // records by error ID
	promoting map[string]int // running Promote callbacks by transition
	tokens    map[string]uint64
	flight    float64 // share of writes that take up to MaxFlight
	moved     map[string]*Transition

	// What kind of world it is: which promises hold in it.
	unreliable bool // the coordinator loses acknowledged writes
	token      bool
	onlyCoord  bool // nothing but the coordinator fails
	promote    time.Duration
	cooldown   time.Duration
	writers    int // loops an instance
}

// An simOp is one call of Write.
type simOp struct {
	node     *simNode
	epoch    uint64
	runs     int
	notSent  bool // every run ended before anything was sent, or was rejected
	acked    bool
	err      error
	idem     bool
	finished bool
	applied  []time.Time
}

func newSim(seed int64) *sim {
	s := &sim{
		seed: seed, start: time.Now(), rng: rand.New(rand.NewPCG(uint64(seed), 9)), stop: make(chan struct{}),
		stores: map[Region]*simStore{}, lag: 200 * time.Millisecond, lastFault: map[Region]time.Time{}, faulty: map[Region]bool{},
		ledger: map[string]int{}, promoting: map[string]int{}, tokens: map[string]uint64{}, moved: map[string]*Transition{},
		primary: east, flight: 0.03, writers: 1, count: func(string) {}, promote: 300 * time.Millisecond,
	}
	s.cooldown = []time.Duration{2 * time.Minute, 10 * time.Minute}[s.pick(2)]
	s.coord = &simCoord{s: s, votes: map[string]Vote{}, cut: map[Region]bool{}, cutNode: map[string]bool{}}
	for _, r := range []Region{east, west} {
		s.stores[r] = &simStore{region: r}
	}
	return s
}

func (s *sim) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteLocked(format, args...)
}

func (s *sim) noteLocked(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf("%10.3fs  %s", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...)))
}

// fail notes a violated invariant.
func (s *sim) fail(invariant, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(invariant, format, args...)
}

func (s *sim) failLocked(invariant, format string, args ...any) {
	if len(s.broken) > 20 {
		return
	}
	text := invariant + ": " + fmt.Sprintf(format, args...)
	s.broken = append(s.broken, text)
	s.noteLocked("VIOLATED %s", text)
}

func (s *sim) chance(p float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64() < p
}

// between is a random duration.
func (s *sim) between(low, high time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return low + time.Duration(s.rng.Float64()*float64(high-low))
}

func (s *sim) pick(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// setFault says that region is in trouble, in truth, from now on or no more.
func (s *sim) setFault(region Region, faulty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faulty[region], s.lastFault[region] = faulty, time.Now()
}

// access says how a call from n to a store fares on its way.
type access uint8

const (
	accessOK access = iota
	accessRefused
	accessHang
	accessGray
)

// A simStore is a Region's data store. It takes any write that its fence allows: nothing but the epoch and the lease
// keeps a former writer out.
type simStore struct {
	region Region

	mu      sync.Mutex // guards the following
	mode    access
	token   bool
	learned uint64
	applied []simWrite
}

type simWrite struct {
	at    time.Time
	epoch uint64
	op    *simOp
}

func (st *simStore) set(mode access) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.mode = mode
}

var errSimStale = &FencedError{Name: "store", Reason: "stale token"}

// apply is a write that arrives.
func (s *sim) apply(st *simStore, f Fence, op *simOp) error {
	st.mu.Lock()
	if st.mode == accessHang || st.mode == accessRefused {
		st.mu.Unlock()
		return errLost
	}
	if st.token && f.Epoch < st.learned {
		st.mu.Unlock()
		return errSimStale
	}
	st.learned = max(st.learned, f.Epoch)
	now := time.Now()
	st.applied = append(st.applied, simWrite{now, f.Epoch, op})
	st.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	op.applied = append(op.applied, now)
	return nil
}

// A simNode is an instance.
type simNode struct {
	s    *sim
	name string
	self Region
	cfg  ControllerConfig

	mu      sync.Mutex // guards the following
	rng     *rand.Rand
	egress  bool              // broken: every store looks bad from here
	cut     map[Region]bool   // stores it cannot reach
	refused time.Time         // its connection broke: writes are refused until then
	seen    uint64            // newest epoch of a decision it obeyed
	granted map[uint64]string // decision by epoch of its writes

	ctl    *Controller
	cancel context.CancelFunc
	done   chan struct{}
}

func (n *simNode) alive() bool { return n.cancel != nil }

func (s *sim) node(self Region, name string) *simNode {
	n := &simNode{
		s: s, name: name, self: self, cut: map[Region]bool{}, granted: map[uint64]string{},
		rng: rand.New(rand.NewPCG(uint64(s.seed), uint64(len(s.nodes))+100)),
	}
	s.nodes = append(s.nodes, n)
	n.cfg = ControllerConfig{
		Name: "sim", Regions: []Region{east, west}, Witnesses: []Region{central}, Self: self, Instance: name,
		Coordinator: &simLink{s.coord, n}, Automatic: true, Promote: n.promote, FenceOld: n.fenceOld,
		Smoke: func(context.Context, Transition) error { return nil }, Ledger: simLedger{s}, OnDecision: n.decided, Cooldown: s.cooldown,
	}
	if self == central {
		n.cfg.Role = RoleWitness
	}
	if *simShow {
		n.cfg.Logger = slog.New(slog.NewTextHandler(simLog{s}, nil))
	}
	if s.token {
		n.cfg.Fence = FenceToken
	}
	return n
}

// boot starts the instance with a clock whose rate is off by up to ClockRate.
func (n *simNode) boot() {
	s := n.s
	ctl, err := NewController(n.cfg)
	if err != nil {
		s.fail("boot", "%s: %v", n.name, err)
		return
	}
	rate := 1 + (n.float()*2-1)*ctl.cfg.ClockRate
	ctl.cfg.LeaseTTL = time.Duration(float64(ctl.cfg.LeaseTTL) / rate)
	ctl.rule.fenceWait = time.Duration(float64(ctl.rule.fenceWait) / rate)
	ctl.rule.random = n.float
	ctl.rule.observe = func(event string) { s.count(event) }
	if s.mutate != nil {
		s.mutate(ctl)
	}
	var members []Member[*simStore]
	for _, r := range n.cfg.Regions {
		members = append(members, Member[*simStore]{Region: r, Client: s.stores[r], Probe: n.probe, Lag: n.sample})
	}
	client, err := New(ctl, members, ClientConfig{Name: "db", Classify: simClassify})
	if err != nil {
		s.fail("boot", "%s: %v", n.name, err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.mu.Lock()
	n.ctl, n.cancel, n.done, n.seen = ctl, cancel, make(chan struct{}), 0
	n.granted = map[uint64]string{}
	n.mu.Unlock()
	done := n.done
	go func() {
		defer close(done)
		_ = ctl.Run(ctx)
	}()
	if n.cfg.Role == RoleMember {
		for range s.writers {
			s.wg.Go(func() { n.traffic(ctx, func() { n.write(client) }, 300*time.Millisecond, 900*time.Millisecond) })
		}
		s.wg.Go(func() { n.traffic(ctx, func() { n.read(client) }, 200*time.Millisecond, 900*time.Millisecond) })
	}
}

// crash stops the instance.
func (n *simNode) crash() {
	if n.cancel == nil {
		return
	}
	n.s.note("%s stops", n.name)
	n.cancel()
	<-n.done
	n.mu.Lock()
	n.cancel = nil
	n.mu.Unlock()
}

func (n *simNode) float() float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Float64()
}

// decided: I2, epochs that an instance obeys never fall.
func (n *simNode) decided(d Decision) {
	n.mu.Lock()
	fell := d.Epoch < n.seen
	before := n.seen
	n.seen = max(n.seen, d.Epoch)
	n.mu.Unlock()
	if fell {
		n.s.fail("I2", "%s went from epoch %x to %x", n.name, before, d.Epoch)
	}
}

// simClassify knows the store's refusals, else as usual.
func simClassify(err error) Class {
	if err == errSimStale {
		return ClassRejected
	}
	return Classify(err)
}

// way says how a call to st fares now.
func (n *simNode) way(st *simStore) access {
	n.mu.Lock()
	blocked := n.egress || n.cut[st.region]
	n.mu.Unlock()
	if blocked {
		return accessHang
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.mode
}

func (n *simNode) probe(ctx context.Context, st *simStore) error {
	switch n.way(st) {
	case accessRefused:
		return errRefused
	case accessHang:
		<-ctx.Done()
		return ctx.Err()
	}
	return wait(ctx, time.Duration(1+n.float()*9)*time.Millisecond)
}

// sample: a copy tells what it has; a primary, also a former one, tells the time, as databases do.
func (n *simNode) sample(ctx context.Context, st *simStore) (LagSample, error) {
	if err := n.probe(ctx, st); err != nil {
		return LagSample{}, err
	}
	s := n.s
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	st.mu.Lock()
	learned := st.learned
	st.mu.Unlock()
	if st.region == s.primary || st.region == s.diverged {
		return LagSample{ReplicatedThrough: now, MeasuredAt: now, Epoch: learned}, nil
	}
	source := s.stores[s.primary]
	source.mu.Lock()
	learned = max(learned, source.learned)
	source.mu.Unlock()
	return LagSample{ReplicatedThrough: s.throughLocked(), MeasuredAt: now, Epoch: learned}, nil
}

// throughLocked is the commit instant that the copy has reached.
func (s *sim) throughLocked() time.Time {
	if at := time.Now().Add(-s.lag); !s.frozen && at.After(s.through) {
		s.through = at
	}
	return s.through
}

// freeze stops or starts replication.
func (s *sim) freeze(frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throughLocked()
	s.frozen = frozen
}

func (s *sim) setLag(lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throughLocked()
	s.lag = lag
}

// rebuild makes a former primary a copy of the present one.
func (s *sim) rebuild() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.diverged, s.frozen, s.through = "", false, time.Now().Add(-s.lag)
}

// traffic calls do at random intervals.
func (n *simNode) traffic(ctx context.Context, do func(), low, high time.Duration) {
	for {
		d := low + time.Duration(n.float()*float64(high-low))
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return
		case <-n.s.stop:
			return
		}
		do()
	}
}

// write is one call of Write and what its caller learns.
func (n *simNode) write(client *Client[*simStore]) {
	s := n.s
	op := &simOp{node: n, notSent: true, idem: n.float() < 0.3}
	var opts []WriteOption
	if op.idem {
		opts = append(opts, Idempotent(RegionLocal))
	}
	ctx := context.Background()
	if n.float() < 0.1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(n.float()*float64(3*time.Second)))
		defer cancel()
	}
	err := client.Write(ctx, func(ctx context.Context, st *simStore, f Fence) error {
		s.began(n, op, f)
		err := n.send(ctx, st, f, op)
		s.mu.Lock()
		defer s.mu.Unlock()
		op.notSent = op.notSent && err != nil && (err == errRefused || err == errSimStale)
		return err
	}, opts...)
	s.ended(op, err)
}

// send is a write on its way: it may be refused, lost, late, or its reply may be.
func (n *simNode) send(ctx context.Context, st *simStore, f Fence, op *simOp) error {
	n.mu.Lock()
	broken := time.Now().Before(n.refused)
	n.mu.Unlock()
	way := n.way(st)
	switch {
	case broken, way == accessRefused:
		return errRefused
	case way == accessHang:
		<-ctx.Done()
		return ctx.Err()
	case way == accessGray && n.float() < 0.8:
		return errLost
	}
	d := time.Duration(1+n.float()*20) * time.Millisecond
	n.s.mu.Lock()
	flight := n.s.flight
	n.s.mu.Unlock()
	if n.float() < flight {
		d = time.Duration(n.float() * 0.98 * float64(5*time.Second)) // paused after the check: at most MaxFlight
	}
	deadline, _ := ctx.Deadline()
	if d >= time.Until(deadline) { // delivered after its caller has given up
		n.s.wg.Go(func() {
			time.Sleep(d)
			_ = n.s.apply(st, f, op)
		})
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(d)
	if err := n.s.apply(st, f, op); err != nil {
		return err
	}
	if n.float() < 0.02 {
		n.mu.Lock()
		n.refused = time.Now().Add(300 * time.Millisecond)
		n.mu.Unlock()
		return errLost
	}
	return nil
}

// read is one call of Read, in a third of the cases with a bound.
func (n *simNode) read(client *Client[*simStore]) {
	const bound = 10 * time.Second
	var opts []ReadOption
	bounded := n.float() < 0.3
	if bounded {
		opts = append(opts, MaxStaleness(bound))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	first := Region("")
	_ = client.Read(ctx, func(ctx context.Context, st *simStore) error {
		if first == "" {
			first = st.region
		}
		if err := n.probe(ctx, st); err != nil {
			return err
		}
		if n.way(st) == accessGray && n.float() < 0.8 {
			return errLost
		}
		if bounded {
			n.s.checkStale(n, st.region, bound)
		}
		return nil
	}, opts...)
	if !bounded && first != "" {
		n.s.checkRoute(n, first)
	}
}

// promote is the promotion: it takes a while and then the target is the primary.
func (n *simNode) promote(ctx context.Context, t Transition) error {
	s := n.s
	s.mu.Lock()
	s.promoting[t.ID]++
	if s.promoting[t.ID] > 1 {
		s.failLocked("executor", "%s runs the promotion of %s while another instance does", n.name, t.ID)
	}
	if t.RunToken < s.tokens[t.ID] {
		s.failLocked("executor", "%s runs the promotion of %s with token %d after %d", n.name, t.ID, t.RunToken, s.tokens[t.ID])
	}
	s.tokens[t.ID] = t.RunToken
	takes := s.promote
	s.noteLocked("%s promotes %s (run %d, exposure %v)", n.name, t.To, t.RunToken, t.Exposure.Bound)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.promoting[t.ID]--
		s.mu.Unlock()
	}()
	if err := wait(ctx, takes); err != nil {
		return err
	}
	if n.way(s.stores[t.To]) != accessOK {
		return errLost
	}
	s.promoted(t)
	return nil
}

// fenceOld teaches the old side's store the new epoch if it can be reached.
func (n *simNode) fenceOld(ctx context.Context, t Transition) error {
	st := n.s.stores[t.From]
	if err := n.probe(ctx, st); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.learned = max(st.learned, t.Epoch+1)
	return nil
}

// A simLog puts the controllers' log into the timeline.
type simLog struct{ s *sim }

func (l simLog) Write(p []byte) (int, error) {
	l.s.note("    %s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// A simLedger counts records.
type simLedger struct{ s *sim }

func (l simLedger) Record(_ context.Context, w UnknownWrite) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.ledger[w.ID]++
	return nil
}

// A simCoord is the coordinator's truth: one linearizable record, and votes.
type simCoord struct {
	s *sim

	mu      sync.Mutex // guards the following
	record  Record
	history []Record // every stored record
	stored  []simCAS
	votes   map[string]Vote
	asked   []simVote
	down    bool
	cut     map[Region]bool // Regions that cannot reach it
	cutNode map[string]bool
	slow    time.Duration // replies take up to so long
	loss    float64
	sneaky  float64 // replies lost, duplicates
}

type simCAS struct {
	at         time.Time
	from, next Record
}

type simVote struct {
	at   time.Time
	vote Vote
}

// A simLink is one instance's way to the coordinator.
type simLink struct {
	c *simCoord
	n *simNode
}

// call sends a request: it may be lost before or after it took effect, be late, or arrive twice.
func (l *simLink) call(ctx context.Context, repeatable bool, request func() error) error {
	c, n := l.c, l.n
	c.mu.Lock()
	blocked := c.down || c.cut[n.self] || c.cutNode[n.name]
	slow, loss, sneaky := c.slow, c.loss, c.sneaky
	c.mu.Unlock()
	if blocked || n.float() < loss {
		if n.float() < 0.3 {
			return errRefused
		}
		<-ctx.Done()
		return ctx.Err()
	}
	there := time.Duration(1+n.float()*15) * time.Millisecond
	deadline, ok := ctx.Deadline()
	if ok && there >= time.Until(deadline) {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := wait(ctx, there); err != nil {
		return err
	}
	err := request()
	if repeatable && n.float() < sneaky {
		again := time.Duration(n.float() * float64(3*time.Second))
		c.s.wg.Go(func() { time.Sleep(again); _ = request() })
	}
	if n.float() < sneaky {
		if n.float() < 0.5 {
			return errLost
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if waited := wait(ctx, time.Duration(1+n.float()*15)*time.Millisecond+time.Duration(n.float()*float64(slow))); waited != nil {
		return waited
	}
	return err
}

func (l *simLink) Load(ctx context.Context) (rec Record, err error) {
	err = l.call(ctx, false, func() error {
		l.c.mu.Lock()
		defer l.c.mu.Unlock()
		if l.c.record.Sequence == 0 {
			return ErrNoRecord
		}
		rec = l.c.record.clone()
		return nil
	})
	return rec, err
}

func (l *simLink) CompareAndSwap(ctx context.Context, sequence uint64, next Record) error {
	next = next.clone()
	return l.call(ctx, true, func() error {
		c := l.c
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.record.Sequence != sequence {
			return ErrConflict
		}
		before := c.record
		c.record = next
		c.history = append(c.history, next)
		c.stored = append(c.stored, simCAS{time.Now(), before, next})
		c.s.swapped(before, next, c.livelyLocked())
		return nil
	})
}

// livelyLocked are the newest votes of instances that voted within 25 s.
func (c *simCoord) livelyLocked() (votes []Vote) {
	for i := len(c.asked) - 1; i >= 0 && time.Since(c.asked[i].at) < 25*time.Second; i-- {
		v := c.asked[i].vote
		if !slices.ContainsFunc(votes, func(o Vote) bool { return o.Instance == v.Instance }) {
			votes = append(votes, v)
		}
	}
	return votes
}

func (l *simLink) Vote(ctx context.Context, v Vote) error {
	return l.call(ctx, true, func() error {
		c := l.c
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.votes[v.Instance].Number > v.Number {
			return ErrConflict
		}
		c.votes[v.Instance] = v
		c.asked = append(c.asked, simVote{time.Now(), v})
		return nil
	})
}

func (l *simLink) Votes(ctx context.Context) (votes []Vote, err error) {
	err = l.call(ctx, false, func() error {
		l.c.mu.Lock()
		defer l.c.mu.Unlock()
		votes = nil
		for _, v := range l.c.votes {
			votes = append(votes, v)
		}
		return nil
	})
	slices.SortFunc(votes, func(a, b Vote) int { return strings.Compare(a.Instance, b.Instance) })
	return votes, err
}

func (l *simLink) Info() CoordinatorInfo {
	return CoordinatorInfo{Name: "simulated", Linearizable: true, Survives: []Region{east, west, central}}
}

// rollback loses the newest stored records but the first ones.
func (c *simCoord) rollback(lost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := max(0, len(c.history)-lost)
	c.history = c.history[:keep]
	c.record = Record{}
	if keep > 0 {
		c.record = c.history[keep-1]
	}
	c.s.note("the coordinator loses %d records and is back at sequence %d, epoch %x", lost, c.record.Sequence, c.record.Epoch)
}

func (c *simCoord) set(f func(*simCoord)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// timeline is what a failing seed prints.
func (s *sim) timeline() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// statePath is a state file's path in a directory that the caller removes.
func statePath(dir, name string) string { return dir + string(os.PathSeparator) + name + ".state" }
