package drtest

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// Errors of a [Store]. A call that ends with one of them did not change anything.
var (
	ErrReadOnly = errors.New("drtest: the store is a replica")
	ErrFenced   = errors.New("drtest: the store knows a later epoch")
)

// A Store is a key-value database in a Region. Writes commit in one store and reach its replicas later, as
// with the asynchronous replication of RDS, Aurora Global Database or Redis; which of them reach it at all
// when the Region is lost is what RPO measures. [Region.Store] makes it. It is safe for concurrent use.
type Store struct {
	region *Region
	name   string
	group  *group

	// The group's mutex guards all below.
	data     map[string]string
	stamps   map[string]time.Duration // when what is there was committed
	log      []entry                  // commits made here
	epoch    uint64
	primary  *Store        // nil: this store accepts writes
	lag      time.Duration // behind the primary, without the way between them
	next     int           // first entry of the primary's log that is not here
	earliest time.Duration // nothing that is on its way arrives before
	stopped  bool          // the link or a pause held the stream up when last looked
	pauses   int
	broken   bool // until it is made a copy again
}

type entry struct {
	key, value string
	deleted    bool
	at         time.Duration
}

// A group is a primary with its replicas.
type group struct {
	w    *World
	name string

	mu     sync.Mutex // guards all below and the stores; never held while waiting
	stores []*Store
	writer *Store        // promoted last
	looked time.Duration // when every replica was last brought up to date
}

// A StoreOption configures a store. Make it with [ReplicaOf].
type StoreOption struct {
	primary *Store
	lag     time.Duration
}

// Lag is how far a replica stays behind its primary, beside the way between their Regions.
type Lag time.Duration

// ReplicaOf makes a store a replica. Without a lag it is 100 ms behind.
func ReplicaOf(primary *Store, lag ...Lag) StoreOption {
	o := StoreOption{primary: primary, lag: 100 * time.Millisecond}
	if len(lag) > 0 {
		o.lag = time.Duration(lag[0])
	}
	return o
}

// Store makes a store in the Region. Without an option it accepts writes. Names are unique in a World; Store
// panics on a second use, and if a replica's primary is a replica itself or its lag negative.
func (r *Region) Store(name string, options ...StoreOption) *Store {
	s := &Store{region: r, name: name, data: map[string]string{}, stamps: map[string]time.Duration{}}
	for _, o := range options {
		s.primary, s.lag = o.primary, o.lag
	}
	if s.lag < 0 || s.primary != nil && s.primary.upstream() != nil {
		panic(fmt.Sprintf("drtest: Region %q: Store(%q): want a primary that is no replica, and a lag that is not negative", r.name, name))
	}
	r.w.addStore(s)
	return s
}

func (w *World) addStore(s *Store) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stores[s.name] != nil {
		panic(fmt.Sprintf("drtest: Region %q: Store(%q): there is a store of that name", s.region.name, s.name))
	}
	w.stores[s.name] = s
	if s.primary == nil {
		s.group = &group{w: w, name: s.name, writer: s, looked: w.now()}
		w.groups = append(w.groups, s.group)
	} else {
		s.group = s.primary.group
	}
	w.history.AddStore(s.name, s.group.name)
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.stores = append(s.group.stores, s)
	if s.primary != nil {
		s.copyLocked(s.primary)
	}
}

// copyLocked makes the store a copy of another, as a restored snapshot is.
func (s *Store) copyLocked(of *Store) {
	s.data, s.stamps = maps.Clone(of.data), maps.Clone(of.stamps)
	s.epoch = max(s.epoch, of.epoch)
	s.next = len(of.log)
	s.broken = false
}

// Name returns the name of the store.
func (s *Store) Name() string { return s.name }

// Region returns the Region of the store.
func (s *Store) Region() *Region { return s.region }

func (s *Store) upstream() *Store {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return s.primary
}

// catchUp brings every replica to the state it has now. Replication needs no goroutine: what has arrived
// follows from the commits, the lag and the times at which the way was open. So it is called before each
// change of the network, and before each look at a store.
func (w *World) catchUp() {
	w.mu.Lock()
	groups := w.groups
	w.mu.Unlock()
	for _, g := range groups {
		g.mu.Lock()
		g.catchUpLocked()
		g.mu.Unlock()
	}
}

// catchUpLocked applies what arrived since the last look, during which the network did not change.
func (g *group) catchUpLocked() {
	now := g.w.now()
	for _, s := range g.stores {
		if s.primary != nil {
			s.receiveLocked(g.looked, now)
		}
	}
	g.looked = now
}

// receiveLocked applies what arrived between two instants.
func (s *Store) receiveLocked(from, now time.Duration) {
	way := s.region.w.net.Shape(s.primary.region.name, s.region.name)
	took := s.lag + way.Latency
	if s.pauses > 0 || s.broken || way.Mode != simnet.ModeUp {
		s.stopped = true
		return
	}
	if s.stopped {
		s.stopped = false
		s.earliest = from + took // the stream is set up again; the backlog comes with it
	}
	for ; s.next < len(s.primary.log); s.next++ {
		e := s.primary.log[s.next]
		if max(e.at+took, s.earliest) > now {
			return
		}
		s.applyLocked(e)
	}
}

func (s *Store) applyLocked(e entry) {
	if e.deleted {
		delete(s.data, e.key)
		delete(s.stamps, e.key)
		return
	}
	s.data[e.key], s.stamps[e.key] = e.value, e.at
}

// delay adds to the replication lag.
func (s *Store) delay(add time.Duration) (undo func()) {
	s.alter(func() { s.lag += add })
	return func() { s.alter(func() { s.lag -= add }) }
}

// pause stops replication to the store.
func (s *Store) pause() (undo func()) {
	s.alter(func() { s.pauses++ })
	return func() { s.alter(func() { s.pauses-- }) }
}

// breakOff ends the replication to the store until it is rebuilt.
func (s *Store) breakOff() (rebuild func()) {
	s.alter(func() { s.broken = s.primary != nil })
	return func() {
		s.alter(func() {
			if s.broken && s.primary != nil {
				s.stopped = false
				epoch := s.epoch
				s.copyLocked(s.primary)
				s.epoch = epoch // as a stream would leave it: a primary that is fenced meanwhile can still be followed by this one
			}
		})
	}
}

// alter changes how the store replicates.
func (s *Store) alter(change func()) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.catchUpLocked()
	change()
}

// Behind returns how old the oldest commit of the primary is that a replica does not have; 0 if there is none,
// or if the store is no replica. It is what a perfect observer sees, not what either side can know.
func (s *Store) Behind() time.Duration {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.catchUpLocked()
	if s.primary == nil || s.next >= len(s.primary.log) {
		return 0
	}
	return s.group.w.now() - s.primary.log[s.next].at
}

// Promote makes a replica accept writes under a new epoch and ends its replication. What the old primary
// committed and had not sent is not here. It fails with [ErrFenced] unless the epoch is later than any the
// store knows. It acts at once; the caller decides how long a promotion takes.
func (s *Store) Promote(epoch uint64) error {
	if err := s.promote(epoch); err != nil {
		return err
	}
	s.region.w.Mark(history.MarkPromoted, s.name, fmt.Sprintf("in %s under epoch %d", s.region.name, epoch))
	return nil
}

func (s *Store) promote(epoch uint64) error {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.catchUpLocked()
	if epoch <= s.epoch {
		return fmt.Errorf("%w: store %q: %d, asked for %d", ErrFenced, s.name, s.epoch, epoch)
	}
	s.epoch = epoch
	s.primary = nil
	s.group.writer = s
	return nil
}

// Fence teaches the store an epoch: writes that carry an earlier one are refused from now on. It fails with
// [ErrFenced] if the store knows a later one.
func (s *Store) Fence(epoch uint64) error {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if epoch < s.epoch {
		return fmt.Errorf("%w: store %q: %d, asked for %d", ErrFenced, s.name, s.epoch, epoch)
	}
	s.epoch = epoch
	return nil
}

// Rejoin makes the store a replica of another of its group, starting from a copy, as a rebuilt former primary
// does. It returns the keys that only this store had, in order: they are gone.
func (s *Store) Rejoin(primary *Store) (lost []string, err error) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if primary == s || primary.group != s.group || primary.primary != nil {
		return nil, fmt.Errorf("drtest: store %q cannot replicate from %q: want another of its group that accepts writes", s.name, primary.name)
	}
	s.group.catchUpLocked()
	for key := range s.data {
		if _, ok := primary.data[key]; !ok {
			lost = append(lost, key)
		}
	}
	slices.Sort(lost)
	s.primary, s.log, s.stopped = primary, nil, false
	if s.lag == 0 {
		s.lag = 100 * time.Millisecond
	}
	s.copyLocked(primary)
	return lost, nil
}

// Keys returns every key in the store, in order.
func (s *Store) Keys() []string {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.catchUpLocked()
	keys := make([]string, 0, len(s.data))
	for k := range s.data {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Epoch returns the latest epoch the store knows.
func (s *Store) Epoch() uint64 {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return s.epoch
}

// record tells the history what every store of the group holds.
func (g *group) record() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.catchUpLocked()
	if len(g.stores) < 2 {
		return
	}
	for _, s := range g.stores {
		g.w.history.SetContent(g.name, s.name, s == g.writer, maps.Clone(s.data))
	}
}

// survivors returns the keys of the group's writer.
func (g *group) survivors() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.catchUpLocked()
	keys := make(map[string]bool, len(g.writer.data))
	for k := range g.writer.data {
		keys[k] = true
	}
	return keys
}

// A StoreClient reaches a store from a Region over the network. It is safe for concurrent use.
type StoreClient struct {
	store       *Store
	there, back simnet.Route
}

// Client returns a client in a Region.
func (s *Store) Client(from *Region) *StoreClient {
	there := from.w.net.Route(from.name, s.region.name)
	return &StoreClient{s, there, there.Back(from.name)}
}

// Put writes a key under an epoch; 0 means that the caller has none, and is fenced by nothing. When it
// returns nil the write is committed here, and not yet in any replica. Errors: [ErrFenced] and
// [ErrReadOnly], and those of the network, after which the write may have happened.
func (c *StoreClient) Put(ctx context.Context, key, value string, epoch uint64) error {
	return c.call(ctx, len(key)+len(value), func() error {
		return c.store.commit(epoch, 0, []entry{{key: key, value: value}})
	})
}

// Delete removes a key, as [StoreClient.Put] writes one.
func (c *StoreClient) Delete(ctx context.Context, key string, epoch uint64) error {
	return c.call(ctx, len(key), func() error {
		return c.store.commit(epoch, 0, []entry{{key: key, deleted: true}})
	})
}

// Get reads a key as the store has it.
func (c *StoreClient) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	err = c.call(ctx, len(key), func() error {
		value, ok = c.store.get(key)
		return nil
	})
	return value, ok, err
}

// call goes to the store, runs f there, and comes back.
func (c *StoreClient) call(ctx context.Context, size int, f func() error) error {
	if err := c.there.Carry(ctx, messageOverhead+size); err != nil {
		return err
	}
	answer := f()
	if err := c.back.Carry(ctx, messageOverhead); err != nil {
		return err
	}
	return answer
}

func (s *Store) get(key string) (value string, ok bool) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.catchUpLocked()
	value, ok = s.data[key]
	seen := time.Duration(-1)
	if ok {
		seen = s.stamps[key]
	}
	w := s.group.w
	w.history.AddRead(history.Read{Group: s.group.name, Store: s.name, Key: key, Seen: seen, At: w.now()}, s == s.group.writer)
	return value, ok
}

// commit writes entries together, under epoch, and raises the store's to raise; each is 0 for none.
func (s *Store) commit(epoch, raise uint64, entries []entry) error {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.primary != nil {
		return fmt.Errorf("%w: %q", ErrReadOnly, s.name)
	}
	if epoch != 0 && epoch < s.epoch {
		return fmt.Errorf("%w: store %q: %d, write has %d", ErrFenced, s.name, s.epoch, epoch)
	}
	if raise != 0 && raise <= s.epoch {
		return fmt.Errorf("%w: store %q: %d, asked to raise it to %d", ErrFenced, s.name, s.epoch, raise)
	}
	s.epoch = max(s.epoch, epoch, raise)
	at := s.group.w.now()
	for _, e := range entries {
		e.at = at
		s.applyLocked(e)
		s.log = append(s.log, e)
		if e.deleted {
			s.group.w.history.AddDelete(s.group.name, e.key, at)
		} else {
			s.group.w.history.AddWrite(history.Write{Group: s.group.name, Store: s.name, Key: e.key, Epoch: epoch, At: at})
		}
	}
	return nil
}

// Connector returns a connector for database/sql in a Region: see the package comment, "SQL".
func (s *Store) Connector(from *Region) driver.Connector { return &connector{s.Client(from)} }
