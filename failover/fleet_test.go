package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	east    = "us-east-1"
	west    = "us-west-2"
	central = "us-central-1" // the witness's
)

// A backend is a Region's store as a client sees it: it can be down, fail a share of calls, and remembers writes.
type backend struct {
	region Region

	mu      sync.Mutex // guards the following
	down    bool
	failing func() bool
	writes  []uint64 // epochs
	reads   int
}

var (
	errRefused = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	errLost    = fmt.Errorf("lost: %w", syscall.ECONNRESET)
)

func (b *backend) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *backend) probe(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errRefused
	}
	return nil
}

func (b *backend) read(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	switch {
	case b.down:
		return errRefused
	case b.failing != nil && b.failing():
		return errLost
	}
	return nil
}

func (b *backend) write(_ context.Context, f Fence) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errRefused
	}
	b.writes = append(b.writes, f.Epoch)
	return nil
}

// logReader is a log as its copy in a sink would be.
func logReader(log []json.RawMessage) io.Reader {
	var b bytes.Buffer
	for _, line := range log {
		b.Write(append(line, '\n'))
	}
	return &b
}

// A fleet is several instances over shared backends and a coordinator, in one bubble.
type fleet struct {
	t        *testing.T
	coord    Coordinator
	backends map[Region]*backend
	tune     func(*ControllerConfig)
	lag      atomic.Int64  // of the copy in the other Region, nanoseconds; negative: unknown
	epochs   sync.Map      // what a Region's data have learned, by Region, and a former writer's go on by themselves; none: they cannot tell
	probe    time.Duration // ClientConfig.ProbeEvery
	nodes    []*node
	wg       sync.WaitGroup
}

type node struct {
	ctl    *Controller
	client *Client[*backend]
	stop   context.CancelFunc
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{
		t: t, coord: NewMemoryCoordinator(east, west, central),
		backends: map[Region]*backend{east: {region: east}, west: {region: west}},
	}
	f.lag.Store(int64(200 * time.Millisecond))
	t.Cleanup(f.close)
	return f
}

func (f *fleet) config(self Region, name string) ControllerConfig {
	cfg := ControllerConfig{
		Regions: []Region{east, west}, Witnesses: []Region{central}, Self: self, Instance: name,
		Coordinator: f.coord, Automatic: true, Promote: func(context.Context, Transition) error { return nil },
	}
	if self == central {
		cfg.Role = RoleWitness
	}
	return cfg
}

// add starts an instance.
func (f *fleet) add(cfg ControllerConfig) *node {
	f.t.Helper()
	if f.tune != nil {
		f.tune(&cfg)
	}
	ctl, err := NewController(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	var members []Member[*backend]
	for _, r := range cfg.Regions {
		members = append(members, Member[*backend]{
			Region: r, Client: f.backends[r],
			Probe: func(ctx context.Context, b *backend) error { return b.probe(ctx) }, Lag: f.sample,
		})
	}
	client, err := New(ctl, members, ClientConfig{Name: "db", ProbeEvery: f.probe})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(f.t.Context())
	n := &node{ctl: ctl, client: client, stop: stop}
	f.nodes = append(f.nodes, n)
	f.wg.Go(func() {
		if err := ctl.Run(ctx); err != nil {
			f.t.Errorf("Run = %v, want nil", err)
		}
	})
	return n
}

// sample: a copy follows its source by lag while the source lives.
func (f *fleet) sample(ctx context.Context, b *backend) (LagSample, error) {
	if err := b.probe(ctx); err != nil {
		return LagSample{}, err
	}
	lag := time.Duration(f.lag.Load())
	if lag < 0 {
		return LagSample{}, errors.New("no heartbeat")
	}
	if learned, ok := f.epochs.Load(b.region); ok {
		return LagSample{ReplicatedThrough: time.Now(), MeasuredAt: time.Now(), Epoch: learned.(uint64)}, nil
	}
	for region, other := range f.backends {
		if region != b.region && other.probe(ctx) != nil {
			return LagSample{}, errors.New("source is gone")
		}
	}
	return LagSample{ReplicatedThrough: time.Now().Add(-lag), MeasuredAt: time.Now()}, nil
}

// standard starts three instances in each Region and two witnesses, and lets them settle.
func (f *fleet) standard() {
	for i := range 3 {
		f.add(f.config(east, fmt.Sprintf("e%d", i)))
		f.add(f.config(west, fmt.Sprintf("w%d", i)))
	}
	f.add(f.config(central, "c0"))
	f.add(f.config(central, "c1"))
	time.Sleep(time.Minute)
}

func (f *fleet) close() {
	for _, n := range f.nodes {
		n.stop()
	}
	f.wg.Wait()
}

// writers are the Regions in which some instance may write now.
func (f *fleet) writers() map[Region]uint64 {
	w := map[Region]uint64{}
	for _, n := range f.nodes {
		if e, _ := n.ctl.Epoch(); e != 0 {
			w[n.ctl.cfg.Self] = e
		}
	}
	return w
}

// agree reports whether every instance has the same phase and epoch.
func (f *fleet) agree(phase Phase, epoch uint64) bool {
	for _, n := range f.nodes {
		if d := n.ctl.Decision(); d.Phase != phase || d.Epoch != epoch {
			return false
		}
	}
	return true
}

// until waits on virtual time until ok, at most limit.
func (f *fleet) until(limit time.Duration, what string, ok func() bool) time.Duration {
	f.t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			f.t.Fatalf("%s: not within %v; decision %+v", what, limit, f.nodes[len(f.nodes)-1].ctl.Decision())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(start)
}

// inFleet runs f in a bubble; the fleet is closed inside it.
func inFleet(t *testing.T, run func(t *testing.T, f *fleet)) {
	synctest.Test(t, func(t *testing.T) { run(t, newFleet(t)) })
}
