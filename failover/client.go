package failover

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// A Member is one Region's client with what the controller must know of it. Callbacks run on goroutines of
// [Controller.Run], with a deadline, concurrently for different Regions.
type Member[T any] struct {
	Region Region
	Client T

	// Probe asks the Region whether it serves: a cheap request that touches what calls touch. Required.
	Probe func(context.Context, T) error

	// Ready asks, beyond Probe, whether the Region could take over; its error keeps moves away. Nil means Probe tells.
	Ready func(context.Context, T) error

	// Lag measures how far the Region's copy has come. Nil: nobody knows, and moves need an AcceptLoss.
	Lag func(context.Context, T) (LagSample, error)

	// Capacity returns how many requests a second the Region can take, for admission control. Nil means unlimited.
	Capacity func() int

	// Drain releases what the client holds open, such as idle connections, when its Region was switched away. Nil means nothing.
	Drain func(context.Context, T) error
}

// ClientConfig configures a [Client].
type ClientConfig struct {
	// Name identifies the client in errors, logs and metrics. Empty means "client".
	Name string

	// ProbeEvery is the interval of each Region's probe, ± 20 %. Zero means 5 s; at least 10 ms.
	ProbeEvery time.Duration

	// ProbeTimeout bounds a probe. Zero means ProbeEvery.
	ProbeTimeout time.Duration

	// Classify says what a call's error means. Nil means [Classify]; failoversql and others bring their own.
	Classify func(error) Class

	// OnUnknown is called, on the caller's goroutine, with every write of unknown outcome after it was recorded. Nil means nothing.
	OnUnknown func(context.Context, UnknownWrite)

	// Advisory: this client's evidence moves only its own reads. For caches and other helpers whose loss is not the Region's.
	Advisory bool

	// Spend is asked before a call is repeated in another Region because of overload, and before a hedge. Nil means always yes.
	Spend func() bool
}

// A Client is one kind of client, such as *sql.DB, in every Region. Its calls are [Read] and [Write]. It is safe for
// concurrent use; the controller's Run probes it.
type Client[T any] struct {
	ctl     *Controller
	cfg     ClientConfig
	source  *source
	regions []*endpoint[T] // in the order of the controller's Regions
}

// An endpoint is a client in one Region.
type endpoint[T any] struct {
	member  Member[T]
	current atomic.Pointer[T]
	health  *sourceRegion
	flights flights
}

// New returns a client over one Member for each Region of the controller. Errors name the field.
func New[T any](ctl *Controller, members []Member[T], cfg ClientConfig) (*Client[T], error) {
	cfg.Name = orString(cfg.Name, "client")
	setDefault(&cfg.ProbeEvery, 5*time.Second)
	setDefault(&cfg.ProbeTimeout, cfg.ProbeEvery)
	if cfg.Classify == nil {
		cfg.Classify = Classify
	}
	if err := checkClient(ctl, members, cfg); err != nil {
		return nil, err
	}
	c := &Client[T]{ctl: ctl, cfg: cfg, source: newSource(cfg.Name, cfg.Advisory, ctl.cfg.Regions), regions: make([]*endpoint[T], len(members))}
	var probers []prober
	for _, m := range members {
		e := &endpoint[T]{member: m, health: c.source.regions[m.Region]}
		e.health.measured = m.Lag != nil
		e.current.Store(&m.Client)
		c.regions[ctl.index(m.Region)] = e
		probers = append(probers, prober{
			region: m.Region, every: cfg.ProbeEvery, timeout: cfg.ProbeTimeout, state: e.health,
			probe: e.probe, ready: e.ready(), lag: e.lag(), drain: e.release, capacity: m.Capacity,
		})
	}
	ctl.register(c.source, probers)
	return c, nil
}

func checkClient[T any](ctl *Controller, members []Member[T], cfg ClientConfig) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("failover: New %q: %s", cfg.Name, fmt.Sprintf(format, args...))
	}
	if ctl == nil {
		return fail("the controller is nil")
	}
	var seen []Region
	for i, m := range members {
		switch {
		case !slices.Contains(ctl.cfg.Regions, m.Region):
			return fail("Member %d: Region %q is not one of %q", i+1, m.Region, ctl.cfg.Regions)
		case slices.Contains(seen, m.Region):
			return fail("Member %d: Region %q has a Member already", i+1, m.Region)
		case m.Probe == nil:
			return fail("Member %d (%s): Probe is nil", i+1, m.Region)
		}
		seen = append(seen, m.Region)
	}
	for _, r := range ctl.cfg.Regions {
		if !slices.Contains(seen, r) {
			return fail("no Member for Region %q", r)
		}
	}
	switch {
	case cfg.ProbeEvery < 10*time.Millisecond:
		return fail("ClientConfig.ProbeEvery: %v is below the minimum 10ms", cfg.ProbeEvery)
	case cfg.ProbeTimeout < time.Millisecond:
		return fail("ClientConfig.ProbeTimeout: %v is below the minimum 1ms", cfg.ProbeTimeout)
	}
	return nil
}

// Replace swaps the client of a Region, for example after its database was rebuilt under another address. Calls under way keep the
// old one; it is drained when ctx allows, then the caller closes it. Errors: an unknown Region, or Drain's.
func (c *Client[T]) Replace(ctx context.Context, region Region, client T) error {
	i := c.ctl.index(region)
	if i < 0 {
		return fmt.Errorf("failover %q: Replace: unknown Region %q", c.cfg.Name, region)
	}
	e := c.regions[i]
	old := e.current.Swap(&client)
	if e.member.Drain == nil {
		return nil
	}
	return guarded(func() error { return e.member.Drain(ctx, *old) })
}

// Readable reports whether a read has a Region to go to that is not known to be bad.
func (c *Client[T]) Readable() (wait time.Duration, ok bool) {
	s := c.ctl.current.Load()
	for _, h := range s.decision.Health {
		if h.readable() {
			return 0, true
		}
	}
	return c.cfg.ProbeEvery, false
}

// Writable reports whether this process may write now: [Controller.Ready].
func (c *Client[T]) Writable() (wait time.Duration, ok bool) { return c.ctl.Ready() }

func (e *endpoint[T]) probe(ctx context.Context) error {
	client := *e.current.Load()
	return guarded(func() error { return e.member.Probe(ctx, client) })
}

// ready is nil if the Member has none.
func (e *endpoint[T]) ready() func(context.Context) error {
	if e.member.Ready == nil {
		return nil
	}
	return func(ctx context.Context) error {
		client := *e.current.Load()
		return guarded(func() error { return e.member.Ready(ctx, client) })
	}
}

// lag is nil if the Member has none.
func (e *endpoint[T]) lag() func(context.Context) (LagSample, error) {
	if e.member.Lag == nil {
		return nil
	}
	return func(ctx context.Context) (sample LagSample, err error) {
		client := *e.current.Load()
		err = guarded(func() (err error) { sample, err = e.member.Lag(ctx, client); return err })
		return sample, err
	}
}

// release ends what still runs in the Region and lets the Member release connections.
func (e *endpoint[T]) release(ctx context.Context) error {
	e.flights.drain()
	if e.member.Drain == nil {
		return nil
	}
	client := *e.current.Load()
	return guarded(func() error { return e.member.Drain(ctx, client) })
}
