package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/striped"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// ClientConfig configures a [Client]. The zero value is ready to use.
type ClientConfig struct {
	// Name is the client's name in envelopes (source), errors and metrics. Empty means "client".
	Name string

	// Spool takes calls that no Region acknowledged; [Client.Run] sends them later. Nil means none: such calls are
	// refused with [ErrNotDeferred]. Close it after Run has returned.
	Spool Spool

	// SpoolDurable declares that the spool's volume outlives this process's host, as an EBS volume or a
	// StatefulSet's claim does and an emptyDir does not. Only then is a spooled call's receipt Durable.
	SpoolDurable bool

	// Once runs Try's function under the call's key, (*idempotency.Guard).Once for one. Nil means that Try defers
	// after an unknown outcome only if the call is Repeatable.
	Once func(ctx context.Context, key string, call func(context.Context) error) error

	// Epoch is the write epoch stamped on calls, (*failover.Controller).Epoch for one. When it says 0, because this process may not write just
	// now, calls get the last one that it said, for two minutes: what is deferred then belongs to work of that time. Later calls are of none, and so
	// are those of a client that it has told no epoch yet: [Client.Run] asks it ten times a second, beside those who defer. It must not block. Nil
	// means none.
	Epoch func() (epoch uint64, since time.Time)

	// Spend is asked before every repeated send, (*retry.Budget).Spend for one. Nil allows one repeat per message, and
	// the spool's paced replay.
	Spend func() bool

	// Codec seals payloads. Nil means they travel as JSON.
	Codec Codec

	// Scheduler takes calls delayed beyond what the queue can do itself (15 minutes on SQS), a service such as
	// EventBridge Scheduler that sends o.Body to the queue at o.NotBefore. Nil means hops: workers send such a call
	// again every 15 minutes. It must be durable when it returns nil.
	Scheduler func(ctx context.Context, o Outgoing) error

	// SendTimeout bounds one attempt to send, per Region. Zero means 1 s. Above it the outcome is unknown: SQS may
	// have the message.
	SendTimeout time.Duration

	// Linger is how long a message waits for company while another batch is in flight. Zero means 2 ms;
	// values over 1 s are an error.
	Linger time.Duration

	// Ledger records accepted calls in tests and drills. Nil means none.
	Ledger *Ledger

	// Logger receives one line per state change. Nil is silent.
	Logger *slog.Logger

	// MeterProvider and TracerProvider: nil means OpenTelemetry's global ones.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

func (c *ClientConfig) setDefaults() error {
	if c.Name == "" {
		c.Name = "client"
	}
	if c.SendTimeout == 0 {
		c.SendTimeout = time.Second
	}
	if c.Linger == 0 {
		c.Linger = 2 * time.Millisecond
	}
	switch {
	case c.SendTimeout < 10*time.Millisecond:
		return fmt.Errorf("queue: ClientConfig.SendTimeout: %v is below the minimum 10ms", c.SendTimeout)
	case c.Linger < 0 || c.Linger > time.Second:
		return fmt.Errorf("queue: ClientConfig.Linger: %v is not within 0 to 1s", c.Linger)
	case c.SpoolDurable && c.Spool == nil:
		return errors.New("queue: ClientConfig.SpoolDurable without a Spool")
	}
	return nil
}

// A Client defers calls: [Call.Defer] and [Call.Try] go through it. It is safe for concurrent use and works
// without [Client.Run]; only the spool is not drained then.
type Client struct {
	config    ClientConfig
	transport Transport
	limits    Limits
	accepts   Limits // limits, less headroom
	regions   int    // what one send may try in turn
	sender    sender
	health    clientHealth
	telemetry clientTelemetry
	running   atomic.Bool
	epoch     atomic.Uint64             // the last one that config.Epoch said, but 0
	lapsed    atomic.Pointer[time.Time] // when it said 0 first after that; nil if it has not
}

// NewClient returns a client of t. It does no I/O and starts nothing.
func NewClient(t Transport, config ClientConfig) (*Client, error) {
	if t == nil {
		return nil, errors.New("queue: NewClient: nil Transport")
	}
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	config.Once = tried(config.Once)
	c := &Client{config: config, transport: t, limits: t.Limits(), regions: max(1, len(sourcesOf(t)))}
	c.accepts = c.limits
	c.accepts.MessageBytes -= headroom
	c.sender = sender{limits: c.limits, linger: config.Linger, prompt: prompt(t) && !c.limits.FIFO, send: c.sendBatch, busy: map[string]bool{}}
	c.telemetry.init(c)
	return c, nil
}

// headroom is what an envelope may grow by on its way: counts, redrives, a death certificate.
const headroom = 4 << 10

// Defer implements [Deferrer]. Use [Call.Defer].
func (c *Client) Defer(ctx context.Context, e Envelope) (Receipt, error) { return c.deferred(ctx, &e) }

// deferred is Defer of an envelope that is the caller's again when it returns.
func (c *Client) deferred(ctx context.Context, e *Envelope) (r Receipt, err error) {
	var d deferral
	ctx, err = d.begin(ctx, c, e)
	if err == nil {
		err = d.finish(ctx, &r)
	}
	return r, d.end(&r, err)
}

// A deferral is one call on its way. It keeps nothing of its envelope but names.
type deferral struct {
	client   *Client
	call, id string
	span     trace.Span
	pending  *pending
}

// begin makes the message of e, and the context of its span.
func (d *deferral) begin(ctx context.Context, c *Client, e *Envelope) (context.Context, error) {
	d.client, d.call, d.id = c, e.Name, e.ID
	ctx, d.span = c.telemetry.start(ctx, e)
	if ctx.Err() != nil {
		return ctx, d.notDeferred(&SendError{Region: c.limits.Region, Err: context.Cause(ctx)})
	}
	d.pending = c.sender.newPending()
	d.pending.since = e.Time
	if err := d.outgoing(ctx, e, &d.pending.out); err != nil {
		c.sender.recycle(d.pending)
		return ctx, err
	}
	return ctx, nil
}

// finish finds a place for the message and fills r.
func (d *deferral) finish(ctx context.Context, r *Receipt) error {
	if err := d.place(ctx, r); err != nil {
		return err
	}
	d.client.config.Ledger.Accept(d.id)
	return nil
}

// end counts the call and returns err. A receipt names its call in every case, and says nothing else of a refused one.
func (d *deferral) end(r *Receipt, err error) error {
	if err != nil {
		*r = Receipt{}
	}
	r.CallID = d.id
	d.client.telemetry.end(d.span, r.Via, err)
	return err
}

// outgoing stamps, seals, encodes and checks the call, into out.
func (d *deferral) outgoing(ctx context.Context, e *Envelope, out *Outgoing) error {
	c := d.client
	e.Source, e.Region = c.config.Name, c.limits.Region
	if c.config.Epoch != nil {
		e.Epoch = c.currentEpoch()
	}
	if c.limits.FIFO && !e.NotBefore.IsZero() {
		return e.invalid("Delay", "a FIFO queue delays no single call")
	}
	if c.config.Codec != nil {
		sealed, key, err := c.config.Codec.Seal(ctx, e.Key(), e.Data)
		if err == nil && key == "" {
			err = errors.New("codec sealed without a key ID")
		}
		if err != nil {
			return d.notDeferred(&SendError{Err: fmt.Errorf("seal: %w", err)})
		}
		e.Data, e.KeyID = sealed, key
	}
	out.CallID, out.Body, out.Group, out.Tenant = e.ID, e.encode(), e.Group, e.Tenant
	out.NotBefore, out.Expires = e.NotBefore, e.Expires
	if problem := refuseEncoded(&c.accepts, e, out); problem != "" {
		return e.invalid("call", problem)
	}
	out.checked = out.Body
	return nil
}

// epochKept is how long what is deferred without an epoch is taken for work of the last one: longer than a request lasts.
const epochKept = 2 * time.Minute

// epochLook is how often Run asks for the epoch: a client that has deferred nothing yet is told of the one that its process's work begins under.
const epochLook = 100 * time.Millisecond

// watchEpoch asks for the epoch until ctx ends or stop is called, which waits for it.
func (c *Client) watchEpoch(ctx context.Context) (stop func()) {
	if c.config.Epoch == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		look := time.NewTicker(epochLook)
		defer look.Stop()
		for ctx.Err() == nil {
			c.currentEpoch()
			select {
			case <-look.C:
			case <-ctx.Done():
			}
		}
	})
	return func() { cancel(); watch.Wait() }
}

// currentEpoch is the epoch of now, or the last one for a while.
func (c *Client) currentEpoch() uint64 {
	now, _ := c.config.Epoch()
	last := c.epoch.Load()
	if now != 0 {
		if now != last {
			c.epoch.Store(now)
		}
		if c.lapsed.Load() != nil {
			c.lapsed.Store(nil)
		}
		return now
	}
	if last == 0 {
		return 0
	}
	since := c.lapsed.Load()
	if since == nil {
		at := time.Now()
		c.lapsed.Store(&at)
		return last
	}
	if time.Since(*since) > epochKept {
		return 0
	}
	return last
}

// refuseEncoded is RefuseMessage for the encoded e: only its Data can hold what SQS refuses.
func refuseEncoded(l *Limits, e *Envelope, out *Outgoing) (problem string) {
	if problem = refuseShape(l, out); problem != "" || e.KeyID != "" || plain(e.Data) == len(e.Data) {
		return problem
	}
	return refuseCharacters(out.Body)
}

// place finds a place for the message, which it gives away: scheduler, queue, spool.
func (d *deferral) place(ctx context.Context, r *Receipt) error {
	c, p := d.client, d.pending
	schedule := c.config.Scheduler != nil && time.Until(p.out.NotBefore) > c.limits.MaxDelay
	if !schedule && (c.config.Spool == nil || !c.spoolFirst(p.out.Group)) {
		return d.queue(ctx, r)
	}
	out := p.out
	c.sender.recycle(p)
	if schedule {
		return d.schedule(ctx, &out, r)
	}
	return d.spool(ctx, &out, nil, r)
}

func (d *deferral) schedule(ctx context.Context, out *Outgoing, r *Receipt) error {
	c := d.client
	if err := c.config.Scheduler(ctx, *out); err != nil {
		return d.notDeferred(&SendError{Outcome: unlessNotRun(err), Err: fmt.Errorf("scheduler: %w", err)})
	}
	r.Via, r.Region, r.Durable = ViaQueue, c.limits.Region, true
	return nil
}

func unlessNotRun(err error) SendOutcome {
	if outcome.Of(err) == outcome.NotRun {
		return SendNotRun
	}
	return SendUnknown
}

// spoolFirst: a FIFO group follows its messages into the spool, and while the queue is known to be down nobody
// waits for it.
func (c *Client) spoolFirst(group string) bool {
	return group != "" && c.config.Spool.Holds(group) || c.health.avoid()
}

// queue sends the message with the next batch, and spools it if no Region takes it.
func (d *deferral) queue(ctx context.Context, r *Receipt) error {
	c, p := d.client, d.pending
	ok, unsent := c.sender.submit(ctx, p)
	if !ok {
		o := SendUnknown
		if unsent {
			o = SendNotRun
		}
		return d.notDeferred(&SendError{Region: c.limits.Region, Outcome: o, Err: context.Cause(ctx)})
	}
	if p.copies {
		c.config.Ledger.Explain(d.id, RuleSendUnknown)
	}
	err := p.result.Err
	if err == nil {
		r.Via, r.Region, r.MessageID, r.Durable = p.result.Via, p.result.Region, p.result.MessageID, p.result.Durable
		c.sender.recycle(p)
		return nil
	}
	return d.unsent(ctx, err, r)
}

// unsent spools a message that no queue took, for that error.
func (d *deferral) unsent(ctx context.Context, err error, r *Receipt) error {
	out := d.pending.out
	d.client.sender.recycle(d.pending)
	if d.client.config.Spool == nil || outcome.Permanent(err) {
		return d.notDeferred(err)
	}
	return d.spool(ctx, &out, err, r)
}

// spool writes out to disk. sent is the error of the queue, nil if it was not asked.
func (d *deferral) spool(ctx context.Context, out *Outgoing, sent error, r *Receipt) error {
	c := d.client
	if err := c.config.Spool.Append(ctx, *out); err != nil {
		o := unlessNotRun(err)
		if errors.Is(err, ErrSpoolFull) && outcome.Of(err) != outcome.Unknown {
			o = SendNotRun
		}
		refused := error(&SendError{Region: "spool", Outcome: o, Err: err})
		if sent != nil {
			refused = errors.Join(sent, refused)
		}
		return d.notDeferred(refused)
	}
	if sent != nil && outcome.Of(sent) == outcome.Unknown {
		c.config.Ledger.Explain(d.id, RuleSendUnknown)
	}
	r.Via, r.Durable = ViaSpool, c.config.SpoolDurable
	return nil
}

func (d *deferral) notDeferred(err error) error {
	return &NotDeferredError{Call: d.call, CallID: d.id, Err: err}
}

// sendAttempts is how often a batch is sent in all while its failures come fast.
const sendAttempts = 2

// sendBatch sends b, then once more those entries that failed fast. A time-out is not repeated: the
// spool is there for that, and the caller waits.
func (c *Client) sendBatch(ctx context.Context, b *batch) {
	todo, out := b.items, b.out
	for attempt := 1; ; attempt++ {
		began := time.Now()
		results := c.attempt(ctx, out, b)
		took := time.Since(began)
		c.telemetry.sent(len(out), took, results)
		failed := keepResults(todo, results, attempt)
		if ctx.Err() != nil { // a caller who has left says nothing about the queue
			return
		}
		c.health.note(len(out), len(failed))
		if len(failed) == 0 || attempt == sendAttempts || took >= c.config.SendTimeout || !c.spend() {
			return
		}
		if !sleep(ctx, 10*time.Millisecond+rand.N(40*time.Millisecond)) {
			return
		}
		todo, out = failed, outgoings(failed)
	}
}

// attempt sends once, within SendTimeout per Region. A queue that keeps nobody waiting needs no limit.
func (c *Client) attempt(ctx context.Context, out []Outgoing, b *batch) []SendResult {
	if m, ok := c.transport.(*Memory); ok {
		return m.sendInto(ctx, out, b.room[:0])
	}
	if c.sender.prompt {
		return c.transport.Send(ctx, out)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.SendTimeout*time.Duration(c.regions))
	defer cancel()
	return c.transport.Send(ctx, out)
}

func (c *Client) spend() bool { return c.config.Spend == nil || c.config.Spend() }

// keepResults stores results and returns the items worth another attempt. An earlier unknown outcome is not forgotten.
func keepResults(items []*pending, results []SendResult, attempt int) (failed []*pending) {
	for i, p := range items {
		before := p.result.Err
		p.result = results[i]
		p.copies = p.copies || results[i].Copies
		if attempt > 1 && outcome.Of(before) == outcome.Unknown {
			if p.result.Err == nil {
				p.copies = true
			} else {
				p.result.Err = &SendError{Region: results[i].Region, Outcome: SendUnknown, Err: errors.Join(results[i].Err, before)}
			}
		}
		if p.result.Err != nil && !outcome.Permanent(p.result.Err) {
			failed = append(failed, p)
		}
	}
	return failed
}

func outgoings(items []*pending) []Outgoing {
	out := make([]Outgoing, len(items))
	for i, p := range items {
		out[i] = p.out
	}
	return out
}

// Ready is the joint "is it there?": ok while Defer finds a place for calls, with wait > 0 when only a probe should try.
func (c *Client) Ready() (wait time.Duration, ok bool) {
	wait, ok = c.health.ready()
	if !ok && c.config.Spool != nil && !c.config.Spool.Stats().Full {
		return 0, true
	}
	return wait, ok
}

// ClientStats are a client's counts since it was made.
type ClientStats struct {
	Ran, Queued, Spooled, Memory, Refused int64
	Down                                  bool // the queue does not answer; calls go to the spool
	Spool                                 SpoolStats
}

// Stats returns the counts.
func (c *Client) Stats() ClientStats {
	t := &c.telemetry
	s := ClientStats{
		Ran: t.via[ViaRan].Load(), Queued: t.via[ViaQueue].Load(), Spooled: t.via[ViaSpool].Load(),
		Memory: t.via[ViaMemory].Load(), Refused: t.refused.Load(), Down: c.health.down(),
	}
	if c.config.Spool != nil {
		s.Spool = c.config.Spool.Stats()
	}
	return s
}

// clientHealth remembers whether the queue answers, so that an outage costs the first calls a time-out and not all.
type clientHealth struct {
	failing atomic.Bool // the fast path reads only this

	mu    sync.Mutex // guards the following
	fails int        // batches in a row of which nothing was taken
	until time.Time  // not to be asked before
}

const (
	failsToDown = 3
	downMin     = time.Second
	downMax     = 30 * time.Second
)

// note records a batch.
func (h *clientHealth) note(sent, failed int) {
	if failed < sent {
		if h.failing.Load() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.fails, h.until = 0, time.Time{}
			h.failing.Store(false)
		}
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails++
	if h.fails < failsToDown {
		return
	}
	h.failing.Store(true)
	wait := min(downMax, downMin<<min(h.fails-failsToDown, 5))
	h.until = time.Now().Add(wait/2 + rand.N(wait))
}

// down reports whether the queue is passed by.
func (h *clientHealth) down() bool {
	wait, ok := h.ready()
	return !ok && wait > 0
}

// avoid is down for one about to send. When the wait is over one call a second passes, as a probe; the others are
// spared its time-out.
func (h *clientHealth) avoid() bool {
	if !h.failing.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.failing.Load() {
		return false
	}
	now := time.Now()
	if now.Before(h.until) {
		return true
	}
	h.until = now.Add(downMin)
	return false
}

func (h *clientHealth) ready() (time.Duration, bool) {
	if !h.failing.Load() {
		return 0, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if wait := time.Until(h.until); wait > 0 {
		return wait, false
	}
	return minWait, true
}

type clientTelemetry struct {
	via     [4]striped.Counter
	refused striped.Counter
	sends   striped.Counter

	tracer      trace.Tracer
	traced      func() bool
	spanOptions []trace.SpanStartOption
	fill        *telemetry.Histogram
	duration    *telemetry.Histogram
	ok, bad     telemetry.Set
	fillSet     telemetry.Set
	name        telemetry.Set
	viaSets     [5]telemetry.Set
}
