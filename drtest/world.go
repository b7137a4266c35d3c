package drtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/report"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A World is a set of Regions on a simulated network. [Run] makes one in a bubble of its own, where it is safe
// for concurrent use by goroutines of the bubble; [NewReal] makes one in real time, safe for all.
type World struct {
	host    host
	helper  func() // marks its caller as a helper of the test
	config  Config
	net     *simnet.Net
	start   time.Time
	ctx     context.Context // ends with the World
	end     context.CancelCauseFunc
	tasks   sync.WaitGroup // the World's own goroutines
	workers workers        // those that run operations and handlers

	history *history.History
	playing sync.WaitGroup // events that Wait waits for
	sampler sync.Once

	mu           sync.Mutex // guards all below; never held while waiting
	regions      map[string]*Region
	order        []*Region
	phases       int
	endpoints    map[string]*endpoint // by "host:port"
	hosts        map[string]bool
	attached     map[string]string // host → real server
	stores       map[string]*Store
	groups       []*group
	processes    map[string]*Process
	replicas     map[string]Replica
	scenarios    []Scenario
	timeline     []*played
	edges        []edge // of events that had to wait for a condition
	injected     map[*injected]bool
	playCtx      context.Context // ends when the World is healed
	playEnd      context.CancelFunc
	onFault      []*func(fault.Fault) (undo func(), err error)
	disturbances []*disturbance
	traffic      []*Traffic
	lattices     lattices
	followed     []*followed
	gauges       []gauge
	contents     []contents
	checks       []check.Check
	waiting      bool
	quiet        chan struct{} // closed when the loads are over that Wait waited for
	waitedAt     time.Duration
	horizon      time.Duration  // no load without a length ends before Config.Settle after it
	storm        *storm         // what Explore lets happen; nil in Run
	report       *report.Report // of a World that has ended
	lost         bool           // it was given up: its record is not complete and its clock gone
}

// A host is what a World lives in: the bubble of a test, or real time.
type host interface {
	name() string
	real() bool
	fail(format string, args ...any) // notes why the World is no success
	refuse(err error)                // ends a call that asks for what cannot be
}

// intraZone is the one-way delay between two Availability Zones of one Region, "single-digit millisecond"
// round trips in AWS's words.
const intraZone = 500 * time.Microsecond

// insideZone is the one-way delay within one zone.
const insideZone = 100 * time.Microsecond

// unknownRTT is the round trip between Regions of which no figure was given.
const unknownRTT = 60 * time.Millisecond

// newWorld makes a World that lasts until ctx ends, or is taken down.
func newWorld(ctx context.Context, h host, config Config) *World {
	w := &World{
		host: h, helper: func() {}, config: config, start: time.Now(), history: history.New(), quiet: make(chan struct{}),
		regions: map[string]*Region{}, endpoints: map[string]*endpoint{}, hosts: map[string]bool{}, attached: map[string]string{},
		stores: map[string]*Store{}, processes: map[string]*Process{}, replicas: map[string]Replica{}, injected: map[*injected]bool{},
		net: simnet.New(simnet.Config{Seed: config.Seed, Default: simnet.Shape{Latency: unknownRTT / 2}}),
	}
	w.ctx, w.end = context.WithCancelCause(ctx)
	w.playCtx, w.playEnd = context.WithCancel(w.ctx)
	w.net.Watch(w.catchUp)
	return w
}

// authority signs the certificates of all Worlds of the process: making a key for each would be most of the
// cost of a small World.
var authority = sync.OnceValue(func() *simnet.CA {
	ca, err := simnet.NewCA()
	if err != nil {
		panic(err) // only if the process has no randomness
	}
	return ca
})

// Stream returns the random stream of a name, drawn from Config.Seed: for servers and clients that are to
// repeat with the World. It is not safe for concurrent use.
func (w *World) Stream(name string) *rand.Rand {
	return simnet.Stream(w.config.Seed, "user/"+name)
}

// now is the time since the World began.
func (w *World) now() time.Duration { return time.Since(w.start) }

// phase returns a sub-grain offset that no other source of events has. Offsets keep events of different
// sources out of each other's nanosecond; package simnet says how.
func (w *World) phase() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phases++
	return simnet.Lane * time.Duration(w.phases%sourceLanes)
}

// Region returns the Region of a name and makes it if it is new. A place where clients live is a Region
// too. A name "region/zone" is [Region.Zone].
func (w *World) Region(name string) *Region {
	outer := simnet.Parent(name)
	if name == "" || name == simnet.Any || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Count(name, "/") > 1 {
		panic(fmt.Sprintf("drtest: %q is no name for a Region", name))
	}
	var parent *Region
	if outer != "" {
		parent = w.Region(outer)
	}
	w.mu.Lock()
	r, ok := w.regions[name]
	if !ok {
		r = newRegion(w, name, parent)
		if parent != nil {
			parent.adopt(r)
		}
		w.regions[name] = r
		w.order = append(w.order, r)
	}
	w.mu.Unlock()
	if ok {
		return r
	}
	if parent == nil {
		w.net.SetLink(name, name, simnet.Shape{Latency: intraZone})
		return r
	}
	w.net.SetLink(name, name, simnet.Shape{Latency: insideZone})
	return r
}

// Link sets the shape of both directions between two Regions; faults stay on top of it.
func (w *World) Link(a, b *Region, shape simnet.Shape) { w.net.SetLinks(a.name, b.name, shape) }

// Net returns the network, for links of one direction, DNS records and certificates.
func (w *World) Net() *simnet.Net { return w.net }

// Wait blocks until every scenario has been played, every load has ended and its calls have returned. A load
// without a length ends Config.Settle after the last event, or after the call of Wait if that is later. An
// event without a length, and one whose condition has not come true when the loads have ended, is not
// waited for. [Run] calls Wait after its function; a load or scenario may be started after a Wait.
func (w *World) Wait() {
	w.mu.Lock()
	first, quiet := !w.waiting, w.quiet
	w.waiting = true
	w.waitedAt = max(w.waitedAt, w.now())
	traffic := slices.Clone(w.traffic)
	w.mu.Unlock()
	for _, t := range traffic {
		t.tasks.Wait()
	}
	if first {
		close(quiet)
	}
	w.playing.Wait()
}

// resumeLocked lets a World go on after Wait, for another load or scenario.
func (w *World) resumeLocked() {
	if w.waiting {
		w.waiting = false
		w.quiet = make(chan struct{})
	}
}

func (w *World) quietNow() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quiet
}

// loadEnd returns when loads without a length end, or 0 while that is open.
func (w *World) loadEnd() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waiting {
		return 0
	}
	end := max(w.waitedAt, w.horizon)
	for _, p := range w.timeline {
		if p.wanted == nil {
			end = max(end, p.base+p.end())
		}
	}
	for _, e := range w.edges {
		end = max(end, e.to)
	}
	return end + w.config.Settle
}

// planned returns when all is over that was asked for so far: events, loads, and the calls of loads. An event that
// waits for a condition is no plan.
func (w *World) planned() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var calls time.Duration
	end := w.horizon
	for _, p := range w.timeline {
		if p.wanted == nil {
			end = max(end, p.base+p.end())
		}
	}
	for _, e := range w.edges {
		end = max(end, e.to)
	}
	for _, t := range w.traffic {
		end = max(end, t.start+t.Length)
		calls = max(calls, t.Timeout)
	}
	return end + w.config.Settle + calls
}

// History returns the record of the World. It is complete when the World has ended.
func (w *World) History() *history.History { return w.history }

// Check adds checks, which are evaluated when the World has ended. Each that does not pass fails the test.
func (w *World) Check(checks ...check.Check) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks = append(w.checks, checks...)
}

// Applied records an effect that must not happen twice, as "charge" of an order. Call it where the effect
// becomes real.
func (w *World) Applied(kind, key string) {
	w.history.AddEffect(history.Effect{Kind: kind, Key: key, At: w.now()})
}

func (w *World) addProcess(p *Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.processes[p.name] != nil {
		panic(fmt.Sprintf("drtest: Region %q: Go(%q): there is a process of that name", p.region.name, p.name))
	}
	w.processes[p.name] = p
}

func (w *World) process(name string) *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.processes[name]
}

func (w *World) store(name string) *Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stores[name]
}

// takeDown ends all that belongs to the World.
func (w *World) takeDown() {
	w.end(errEnded)
	w.mu.Lock()
	regions := slices.Clone(w.order)
	w.mu.Unlock()
	for _, r := range regions {
		r.close()
	}
	_ = w.net.Close()
	w.workers.close()
}

// wait waits for the goroutines of the World, at most for grace; false if some are left.
func (w *World) wait(grace time.Duration) bool {
	done := make(chan struct{})
	go func() {
		w.mu.Lock()
		regions, traffic := slices.Clone(w.order), slices.Clone(w.traffic)
		w.mu.Unlock()
		for _, r := range regions {
			r.wait()
		}
		for _, t := range traffic {
			t.tasks.Wait()
		}
		w.tasks.Wait()
		w.workers.all.Wait()
		close(done)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// finish completes the record.
func (w *World) finish() {
	w.history.Finish(w.now())
	for group, keys := range w.survivors() {
		w.history.SetSurvivors(group, keys)
	}
	w.mu.Lock()
	groups, contents := slices.Clone(w.groups), slices.Clone(w.contents)
	w.mu.Unlock()
	for _, g := range groups {
		g.record()
	}
	for _, c := range contents {
		w.history.SetContent(c.group, c.name, c.writer, c.read())
	}
}

// A contents is how to read a store that is not the World's own.
type contents struct {
	group, name string
	writer      bool
	read        func() map[string]string
}

// Contents makes known how to read, at the end of the World, all that a server of the user's holds: for the check
// Converged. Those of one group should hold the same; one of them is the writer. The function must not wait, and what it
// returns must not change.
func (w *World) Contents(group, name string, writer bool, read func() map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.contents = append(w.contents, contents{group, name, writer, read})
}

// survivors returns what the writer of each replication group holds.
func (w *World) survivors() map[string]map[string]bool {
	w.mu.Lock()
	groups := slices.Clone(w.groups)
	w.mu.Unlock()
	out := map[string]map[string]bool{}
	for _, g := range groups {
		out[g.name] = g.survivors()
	}
	return out
}
