package idempotency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// RegionalConfig configures a [Regional]. The zero value is ready to use.
type RegionalConfig struct {
	// Name appears in errors, logs and metrics.
	Name string

	// ReplicaOf returns the Region that holds the second copy while writer is the writer; "" for none. Nil means the
	// Region next in alphabetical order, the first after the last. All processes must agree. Fail over to that
	// Region: others know nothing.
	ReplicaOf func(writer string) string

	// ReplicaTimeout is the longest wait for the second copy; the usual one is three times what 99 of 100 copies took lately, and grows
	// again while copies fail.
	// Zero means 300 ms. Beyond it the call goes on with one copy, and its key is noted for Resync.
	ReplicaTimeout time.Duration

	// Logger gets a line when the second copy is lost and when it is whole again. Nil is silent.
	Logger *slog.Logger

	// MeterProvider gets the metrics of docs/metrics.md. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

// Regional is a store over one store per Region. Every step is taken first in the writer's Region, which decides, and then
// in the replica's, so that a failover to the replica finds the keys. While there is no writer nothing is claimed; what was
// claimed before keeps its lease, and its result is stored, in the Regions where it was claimed. While the replica does not answer, steps are taken in one
// Region and their keys noted there, in the same round trip; see [Regional.Resync] and [Regional.UnprotectedSince].
//
// A result is noted in the writer's store, in the step that writes it, before the replica hears of it, and the note is cleared when
// it has: one trip more in the writer's Region. (Not so where all stores are a [Memory], which dies with the process.) A process that dies in between leaves the note: whoever replays the result
// first, and Resync, bring it to the replica, so that no caller has a result that a failover would lose. A process that dies
// between the two halves of another step has died with its attempt, which then counts as abandoned after a failover.
//
// While a Region is away its notes grow by one for each key. A note goes with the retention of the step that left it, a minute later: what the other
// Region may have of the key has then expired too. So there are at most as many as keys are used within their retention, and a third more that are not dropped yet
// (with redisstore, as many again). Take a Region that is gone for good out of the map of stores.
//
// A store that loses acknowledged writes, by a fail-over inside its Region, notes nothing of it. The other Region's copy makes up for
// that at every claim, as long as it answers.
//
// Two Regions that both believe to be the writer are not kept apart by this store but by the fences of failover;
// while both stores answer both, one claim wins all the same, and the writer of the earlier epoch gives way.
type Regional struct {
	config   RegionalConfig
	route    func() (regions []string, writer string)
	peers    map[string]*peer
	names    []string // sorted
	log      *slog.Logger
	near     bool                 // all stores are instant
	last     atomic.Pointer[peer] // where the last claim went
	degraded atomic.Int64         // UnixNano since when a copy may be missing; 0 for never
	episodes atomic.Int64         // how often a copy was missed
	damaged  atomic.Int64         // keys that the last Resync could not copy because they are damaged
	woken    chan struct{}        // capacity 1: a copy is missed for the first time
	set      telemetry.Set
}

var (
	_ Store   = (*Regional)(nil)
	_ Watcher = (*Regional)(nil)
)

// NewRegional returns a store over stores, keyed by Region, each of which must be a [Replica]. route is the failover
// controller's Route; a nil route, with one store, makes that the writer.
func NewRegional(route func() (regions []string, writer string), stores map[string]Store, c RegionalConfig) (*Regional, error) {
	if len(stores) == 0 {
		return nil, errors.New("idempotency: NewRegional: there are no stores")
	}
	if route == nil {
		return nil, errors.New("idempotency: NewRegional: route is nil")
	}
	if c.ReplicaTimeout < 0 {
		return nil, fmt.Errorf("idempotency: RegionalConfig.ReplicaTimeout: %v is negative", c.ReplicaTimeout)
	}
	setDefault(&c.ReplicaTimeout, 300*time.Millisecond)
	r := &Regional{
		config: c, route: route, peers: map[string]*peer{}, names: slices.Sorted(maps.Keys(stores)), log: telemetry.Logger(c.Logger), near: true,
		woken: make(chan struct{}, 1),
	}
	for region, s := range stores {
		replica, ok := s.(Replica)
		if !ok {
			return nil, fmt.Errorf("idempotency: NewRegional: the store of Region %q, a %T, is no Replica", region, s)
		}
		r.peers[region] = &peer{region: region, store: sound(replica), limit: c.ReplicaTimeout, near: instant(s)}
		r.near = r.near && instant(s)
	}
	if c.ReplicaOf == nil {
		r.config.ReplicaOf = r.next
		for name, p := range r.peers {
			p.next = r.peers[r.next(name)]
		}
	}
	for _, writer := range r.names {
		if name := r.config.ReplicaOf(writer); name != "" && r.peers[name] == nil {
			return nil, fmt.Errorf("idempotency: RegionalConfig.ReplicaOf: %q, for the writer %q, has no store", name, writer)
		}
	}
	r.set = telemetry.NewSet(attribute.String("name", c.Name))
	telemetry.Attach(c.MeterProvider, telemetry.Idempotency, r, (*Regional).collect)
	return r, nil
}

func (r *Regional) collect(out *telemetry.Collector) {
	out.Int(telemetry.IdempotencyDegraded, up(r.degraded.Load() != 0), r.set)
	out.Int(telemetry.IdempotencyDamaged, r.damaged.Load(), r.set)
}

// next is the Region after writer.
func (r *Regional) next(writer string) string {
	i, _ := slices.BinarySearch(r.names, writer)
	if name := r.names[(i+1)%len(r.names)]; name != writer {
		return name
	}
	return ""
}

// UnprotectedSince returns since when keys may exist that only one Region holds, as far as this process knows; the
// zero time when there are none. A planned move waits for that, or calls Resync, which also knows of other processes' keys.
func (r *Regional) UnprotectedSince() time.Time {
	if since := r.degraded.Load(); since != 0 {
		return time.Unix(0, since)
	}
	return time.Time{}
}

// A pair is where a step goes: home decides, copy follows.
type pair struct {
	home, copy *peer // copy is nil if there is none
	alone      bool  // copy is left out this time: note the key
}

// claims returns where a claim goes, which needs a writer.
func (r *Regional) claims() (p pair, err error) {
	_, writer := r.route()
	if writer == "" {
		return p, &Error{Name: r.config.Name, Reason: ErrNotWriter, Wait: probeEvery, Err: errors.New("no Region is the writer")}
	}
	home := r.peers[writer]
	if home == nil {
		return p, fmt.Errorf("idempotency %q: no store for the writer's Region %q", r.config.Name, writer)
	}
	if r.last.Load() != home {
		r.last.Store(home)
	}
	return r.pair(home), nil
}

// steps returns where the other steps of an attempt go. It may outlive its writer: while there is none, as in the middle of a move, its lease is kept and its result
// stored where claims went last, and in the copy. There they wait for the next writer, and nobody can have claimed the key anew. A Region that is lost is not waited
// for in an unplanned move: its copy decides, as it will when it opens.
func (r *Regional) steps() (pair, error) {
	p, err := r.claims()
	home := r.last.Load()
	if home == nil || !errors.Is(err, ErrNotWriter) {
		return p, err
	}
	regions, _ := r.route()
	if stand := r.copyOf(home); stand != nil && !slices.Contains(regions, home.region) && slices.Contains(regions, stand.region) {
		p = r.pair(stand)
		p.alone = p.alone || p.copy != nil && !slices.Contains(regions, p.copy.region)
		return p, nil
	}
	return r.pair(home), nil
}

func (r *Regional) pair(home *peer) pair {
	p := pair{home: home, copy: r.copyOf(home)}
	p.alone = p.copy != nil && !p.copy.ready()
	return p
}

// copyOf returns the peer that holds home's second copy, nil if there is none.
func (r *Regional) copyOf(home *peer) *peer {
	if home.next != nil {
		return home.next
	}
	if name := r.config.ReplicaOf(home.region); name != "" && name != home.region {
		return r.peers[name]
	}
	return nil
}

// follows reports whether the step must also be taken by the copy.
func (p *pair) follows() bool { return p.copy != nil && !p.alone }

// missed says that the copy lacks something. It comes after the note in the writer's store: a Resync that
// ran before the note knew nothing of it, and may have ended the unprotected time.
func (r *Regional) missed(p *peer, err error) {
	r.episodes.Add(1)
	if r.degraded.CompareAndSwap(0, time.Now().UnixNano()) {
		r.log.Warn("idempotency keys are held by one Region only", slog.String("store", r.config.Name),
			slog.String("missing", p.region), slog.Any("error", err))
		select {
		case r.woken <- struct{}{}:
		default:
		}
	}
}

// Begin implements [Store]. It fails with ErrNotWriter while there is no writer.
func (r *Regional) Begin(ctx context.Context, c Claim) (Answer, error) {
	p, err := r.claims()
	if err != nil {
		return Answer{}, err
	}
	c.Unsynced, c.Noted = p.alone, p.copy != nil
	a, err := p.home.store.Begin(ctx, c)
	if p.alone && (err != nil || a.Status == StatusGranted) {
		r.missed(p.copy, err)
	}
	if err == nil && a.Missed != 0 {
		r.tell(ctx, p, c.Key, a)
	}
	if err != nil || a.Status != StatusGranted || !p.follows() {
		return a, err
	}
	h := Holder{Key: c.Key, Owner: c.Owner, Fence: a.Record.Fence}
	follow := c
	follow.Fence, follow.Existing, follow.Noted = a.Record.Fence, false, false
	s := p.copy.step(ctx)
	b, err := p.copy.store.Begin(s.ctx, follow)
	s.end(err)
	if err != nil {
		_, failed := p.home.store.Renew(ctx, Renewal{Holder: h, Lease: c.Lease, Retention: c.Retention, Unsynced: true})
		r.missed(p.copy, err)
		return a, failed
	}
	if b.Status != StatusGranted {
		return b, r.yield(ctx, p, h, c, b)
	}
	return Answer{Status: StatusGranted, Record: joined(a.Record, b.Record)}, nil
}

// tell brings a result that the copy has missed, or may have, there before anybody acts on it: the process that stored it died
// between the two Regions, or is on its way from one to the other.
func (r *Regional) tell(ctx context.Context, p pair, key Key, a Answer) {
	if p.copy == nil {
		return
	}
	if p.alone {
		r.missed(p.copy, nil)
		return
	}
	m := Mark{Key: Key{Scope: key.Scope, Op: key.Op, ID: key.ID}, Fence: a.Record.Fence, Count: a.Missed}
	if err := r.copyRecord(ctx, p.home.store, p.copy, m); err != nil {
		r.missed(p.copy, err)
		return
	}
	r.told(ctx, p.home, m)
}

// told clears a note whose write the copy has by now. What is not cleared costs the next Resync a look.
func (r *Regional) told(ctx context.Context, home *peer, m Mark) {
	if !home.near {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.config.ReplicaTimeout)
		defer cancel()
	}
	_ = home.store.Synced(ctx, m)
}

// joined is the claim's record as the Region that remembers more attempts has it.
func joined(a, b Record) Record {
	if b.Attempt > a.Attempt {
		a.Attempt, a.Prior, a.Checkpoint = b.Attempt, b.Prior, b.Checkpoint
	}
	if b.Fence.Compare(a.Fence) > 0 {
		a.Fence = b.Fence
	}
	return a
}

// yield takes back a claim at home because the copy knows of the key what home has lost.
func (r *Regional) yield(ctx context.Context, p pair, h Holder, c Claim, b Answer) error {
	if b.Status == StatusDone {
		return p.home.store.Put(ctx, h.Key, b.Record)
	}
	_, err := p.home.store.Release(ctx, Release{Holder: h, Retention: c.Retention})
	return err
}

// Complete implements [Store]. The note that the copy lacks the result is written with it, and cleared when the copy has it: a
// process that dies in between leaves the note. A result replaces all that the copy may have missed of the attempt before.
func (r *Regional) Complete(ctx context.Context, c Completion) (Answer, error) {
	p, err := r.steps()
	if err != nil {
		return Answer{}, err
	}
	noted := p.copy != nil && (p.alone || !r.near) // stores in this process die with it: there is no time between them
	c.Unsynced = noted
	a, err := p.home.store.Complete(ctx, c)
	if p.alone {
		r.missed(p.copy, err)
	}
	if err == nil && a.Status == StatusDone {
		r.tell(ctx, p, c.Key, a)
	}
	if err != nil || a.Status != StatusGranted || !p.follows() {
		return a, err
	}
	follow, m := c, Mark{Key: c.Key, Fence: c.Fence}
	follow.Unsynced = false
	s := p.copy.step(ctx)
	b, err := p.copy.store.Complete(s.ctx, follow)
	s.end(err)
	if !noted {
		if err == nil && b.Status == StatusGranted {
			return a, nil
		}
		c.Unsynced = true
		_, _ = p.home.store.Complete(ctx, c) // again, with the note
	}
	if err == nil && b.Status != StatusGranted {
		if b.Record.Fence.Compare(c.Fence) > 0 {
			return r.giveWay(ctx, p.home, m, b)
		}
		err = r.copyRecord(ctx, p.home.store, p.copy, m) // what the copy has is older
	}
	if err != nil {
		r.missed(p.copy, err)
		return a, nil
	}
	r.told(ctx, p.home, m)
	return a, nil
}

// giveWay ends the attempt of a writer that has been replaced without knowing: the copy, which is the new writer's store,
// has a later attempt. Its result, if it is there, replaces the one that home has just taken; else the first of the two to reach
// the other Region stands, and the note stays.
func (r *Regional) giveWay(ctx context.Context, home *peer, m Mark, b Answer) (Answer, error) {
	if b.Status != StatusDone {
		return b, nil
	}
	err := home.store.Put(ctx, m.Key, b.Record)
	if err == nil {
		r.told(ctx, home, m)
	}
	return b, err
}

// Renew implements [Store].
func (r *Regional) Renew(ctx context.Context, n Renewal) (Status, error) {
	p, err := r.steps()
	if err != nil {
		return 0, err
	}
	n.Unsynced = p.alone
	status, err := p.home.store.Renew(ctx, n)
	if p.alone {
		r.missed(p.copy, err)
	}
	if err != nil || status != StatusGranted || !p.follows() {
		return status, err
	}
	b, err := try(ctx, p.copy, func(ctx context.Context) (Status, error) { return p.copy.store.Renew(ctx, n) })
	if err == nil && b != StatusGranted {
		var later bool
		if later, err = p.copy.knowsLater(ctx, n.Holder); later {
			return StatusFenced, nil
		}
		if err == nil { // claimed while the copy was out
			err = r.copyRecord(ctx, p.home.store, p.copy, Mark{Key: n.Key, Fence: n.Fence})
		}
	}
	if err != nil {
		n.Unsynced = true
		status, failed := p.home.store.Renew(ctx, n)
		r.missed(p.copy, err)
		return status, failed
	}
	return status, nil
}

// Release implements [Store].
func (r *Regional) Release(ctx context.Context, rel Release) (Status, error) {
	p, err := r.steps()
	if err != nil {
		return 0, err
	}
	rel.Unsynced = p.alone
	status, err := p.home.store.Release(ctx, rel)
	if p.alone {
		r.missed(p.copy, err)
	}
	if err != nil || status == StatusFenced || !p.follows() {
		return status, err
	}
	b, err := try(ctx, p.copy, func(ctx context.Context) (Status, error) { return p.copy.store.Release(ctx, rel) })
	if err == nil && b == StatusFenced && status == StatusGranted { // what the copy has is older, or later and stays
		err = r.copyRecord(ctx, p.home.store, p.copy, Mark{Key: rel.Key, Fence: rel.Fence})
	}
	if err != nil {
		rel.Unsynced = true
		_, failed := p.home.store.Release(ctx, rel)
		r.missed(p.copy, err)
		return status, failed
	}
	return status, nil
}

// Watch implements [Watcher], if the writer's store does.
func (r *Regional) Watch(ctx context.Context, key Key) (<-chan struct{}, func(), error) {
	p, err := r.claims()
	if err != nil {
		return nil, nil, err
	}
	if w, ok := p.home.store.(Watcher); ok {
		return w.Watch(ctx, key)
	}
	return nil, nil, errors.New("idempotency: the store is no Watcher")
}
