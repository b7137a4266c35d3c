package redistest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A Write is a command that changed data, or might have.
type Write struct {
	At   time.Time // when it took effect on the primary
	Args []string
}

// String returns the command with its arguments.
func (w Write) String() string { return strings.Join(w.Args, " ") }

// A logged is a command on its way to a follower.
type logged struct {
	Write
	conn uint64
	data bool // changes data; else it only shapes the connection
}

// A follower is a copy of a server that runs its commands a lag later. It has no goroutine: it
// catches up whenever somebody looks.
type follower struct {
	primary *Server
	region  *drtest.Region
	lag     time.Duration

	mu      sync.Mutex // guards all below
	engine  *engine
	peers   map[uint64]*server.Peer // the primary's connections
	pending []logged
	pauses  int
	broken  bool // until it is a copy again
}

// logLocked sends a command to everything that follows s; nil args say that the connection is gone.
func (s *Server) logLocked(c *conn, args []string) {
	all := s.allLocked()
	if len(all) == 0 {
		return
	}
	e := logged{Write: Write{At: time.Now(), Args: args}, conn: c.id}
	if args != nil {
		name := strings.ToUpper(args[0])
		e.data = name == "EXEC" || s.engine.writes(name) && !c.multi
	}
	for _, f := range all {
		f.mu.Lock()
		f.pending = append(f.pending, e)
		f.mu.Unlock()
		f.apply() // keeps pending short
	}
}

func (s *Server) allLocked() []*follower {
	if s.standby == nil {
		return s.followers
	}
	return append(slices.Clone(s.followers), s.standby)
}

// learnLocked keeps scripts: a new follower must know them.
func (s *Server) learnLocked(name string, args []string) {
	source := ""
	switch {
	case name == "EVAL" && len(args) > 1:
		source = args[1]
	case name == "SCRIPT" && len(args) == 3 && strings.EqualFold(args[1], "LOAD"):
		source = args[2]
	default:
		return
	}
	if sha := shaOf(source); s.scripts[sha].source == "" {
		s.scripts[sha] = newScript(source)
	}
}

// apply runs what has arrived by now, and returns the time that the copy's clock may show: while
// writes are on their way that of the oldest, so that a key never ages before it is written.
func (f *follower) apply() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.pauses == 0 && !f.broken && f.linkUp() {
		n := 0
		for n < len(f.pending) && !now.Before(f.pending[n].At.Add(f.lag)) {
			f.runLocked(f.pending[n])
			n++
		}
		f.pending = slices.Delete(f.pending, 0, n)
	}
	if len(f.pending) > 0 {
		return f.pending[0].At
	}
	return now
}

func (f *follower) linkUp() bool {
	from, to := f.primary.region, f.region
	return from == to || from.World().Net().Shape(from.Name(), to.Name()).Mode == simnet.ModeUp
}

func (f *follower) runLocked(e logged) {
	if e.Args == nil {
		delete(f.peers, e.conn)
		return
	}
	f.engine.at(e.At.Add(time.Until(f.region.Now())))
	peer := f.peers[e.conn]
	if peer == nil {
		peer = deaf()
		f.peers[e.conn] = peer
	}
	f.engine.count(strings.ToUpper(e.Args[0]), e.Args)
	f.engine.Server().Dispatch(peer, e.Args)
}

// reset makes the follower a fresh copy of s, whose lock is held.
func (f *follower) reset(s *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending, f.broken = nil, false
	f.peers = map[uint64]*server.Peer{}
	f.engine.FlushAll()
	f.engine.at(f.region.Now())
	copyAll(s.engine.Miniredis, f.engine.Miniredis)
	loader := deaf()
	for _, known := range s.scripts {
		f.engine.Server().Dispatch(loader, []string{"SCRIPT", "LOAD", known.source})
	}
	for c := range s.conns {
		if c.db != 0 {
			f.peers[c.id] = deaf()
			f.engine.Server().Dispatch(f.peers[c.id], []string{"SELECT", strconv.Itoa(c.db)})
		}
	}
}

// drop forgets what has not arrived and returns it.
func (f *follower) drop() (lost []Write) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.pending {
		if e.data {
			lost = append(lost, e.Write)
		}
	}
	f.pending = nil
	return lost
}

// Replicate starts a replica of s in a Region, with all that s has. It applies each write a lag
// after s did; the latency of the link does not add to it. A replica refuses writes with READONLY.
func (s *Server) Replicate(to *drtest.Region, lag time.Duration) *Server {
	r := Start(to)
	r.Follow(s, lag)
	return r
}

// Follow makes s a replica of primary with all that primary has; what s had is gone. It panics when
// primary is s or a replica itself, on a negative lag, and on data that cannot be copied (see the
// package comment).
func (s *Server) Follow(primary *Server, lag time.Duration) {
	if primary == s || lag < 0 {
		panic(fmt.Sprintf("redistest: Follow: %q cannot follow %q with a lag of %v", s.host, primary.host, lag))
	}
	s.unfollow()
	f := s.becomeReplica(primary, lag)

	primary.mu.Lock()
	defer primary.mu.Unlock()
	if primary.source != nil {
		panic(fmt.Sprintf("redistest: Follow: %q is a replica itself", primary.host))
	}
	primary.tickLocked()
	f.reset(primary)
	primary.followers = append(primary.followers, f)
	// Before a link goes down, what arrived until then must have been applied.
	s.region.World().Net().Watch(func() { f.apply() })
	s.region.World().AddReplica(s.host, copyOf{s})
}

func (s *Server) becomeReplica(primary *Server, lag time.Duration) *follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.allLocked()) > 0 {
		panic(fmt.Sprintf("redistest: Follow: %q has replicas or a standby itself", s.host))
	}
	s.source = &follower{primary: primary, region: s.region, lag: lag, engine: s.engine}
	return s.source
}

// unfollow ends the replication to s, if any, with what arrived by now.
func (s *Server) unfollow() *follower {
	s.mu.Lock()
	s.tickLocked()
	f := s.source
	s.source = nil
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	f.primary.mu.Lock()
	f.primary.followers = slices.DeleteFunc(f.primary.followers, func(g *follower) bool { return f == g })
	f.primary.mu.Unlock()
	return f
}

// Promote makes a replica take writes and returns the writes of the primary that never arrived,
// the oldest first. The primary goes on by itself. Promote of a server that is no replica does
// nothing.
func (s *Server) Promote() (lost []Write) {
	f := s.unfollow()
	if f == nil {
		return nil
	}
	return f.drop()
}

// PauseReplication stops a replica from applying writes until resume is called; they queue up.
func (s *Server) PauseReplication() (resume func()) {
	s.mu.Lock()
	f := s.source
	s.mu.Unlock()
	if f == nil {
		panic(fmt.Sprintf("redistest: PauseReplication: %q is not a replica", s.host))
	}
	return f.alter(func() { f.pauses++ }, func() { f.pauses-- })
}

// alter changes how the follower follows, and returns what changes it back. What has arrived by then is applied.
func (f *follower) alter(change, back func()) (undo func()) {
	under := func(change func()) {
		f.apply()
		f.mu.Lock()
		defer f.mu.Unlock()
		change()
	}
	under(change)
	return sync.OnceFunc(func() { under(back) })
}

// A copyOf is a server as faults of replication see it.
type copyOf struct{ s *Server }

// following returns the replication to the server; nil if it is none, or no longer.
func (c copyOf) following() *follower {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.source
}

func (c copyOf) Delay(add time.Duration) (undo func()) {
	f := c.following()
	if f == nil {
		return func() {}
	}
	return f.alter(func() { f.lag += add }, func() { f.lag -= add })
}

func (c copyOf) Pause() (undo func()) {
	if c.following() == nil {
		return func() {}
	}
	return c.s.PauseReplication()
}

func (c copyOf) Break() (rebuild func()) {
	f := c.following()
	if f == nil {
		return func() {}
	}
	f.alter(func() { f.broken = true }, nil)
	return func() {
		if c.following() != f {
			return // promoted, or it follows another
		}
		f.primary.mu.Lock()
		defer f.primary.mu.Unlock()
		f.primary.tickLocked()
		f.reset(f.primary)
	}
}

// Lag returns how long ago the oldest write happened that has not arrived at a replica; zero when
// all have, and for a server that is no replica.
func (s *Server) Lag() time.Duration {
	s.mu.Lock()
	f := s.source
	s.mu.Unlock()
	if f == nil {
		return 0
	}
	f.apply()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) == 0 {
		return 0
	}
	return time.Since(f.pending[0].At)
}

// Standby gives the server a hidden replica in its own Region, for [Server.FailOver].
func (s *Server) Standby(lag time.Duration) {
	if lag < 0 {
		panic(fmt.Sprintf("redistest: Standby: lag of %v", lag))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickLocked()
	if s.source != nil {
		panic(fmt.Sprintf("redistest: Standby: %q is a replica", s.host))
	}
	s.standby = s.newStandbyLocked(lag)
}

func (s *Server) newStandbyLocked(lag time.Duration) *follower {
	f := &follower{primary: s, region: s.region, lag: lag, engine: newEngine(s.region.Now())}
	f.reset(s)
	return f
}

// FailOver puts the standby in the server's place, at the same address: connections are cut, and
// the writes that had not arrived at the standby are gone and returned, the oldest first. Replicas
// of the server synchronize with it anew. It panics without [Server.Standby].
func (s *Server) FailOver() (lost []Write) {
	s.mu.Lock()
	f := s.standby
	if f == nil {
		s.mu.Unlock()
		panic(fmt.Sprintf("redistest: FailOver: %q has no Standby", s.host))
	}
	f.apply()
	lost = f.drop()
	old := s.engine
	s.engine = f.engine
	s.cutLocked()
	s.tickLocked()
	s.standby = s.newStandbyLocked(f.lag)
	for _, g := range s.followers {
		g.reset(s)
	}
	s.mu.Unlock()
	old.CtxCancel() // ends commands that block there
	return lost
}
