package drtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/simnet"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// A Load is traffic from outside: operations that start when they are due, whether or not earlier ones have
// ended, as users do.
type Load struct {
	// Name identifies the load in reports and is the class of its operations unless they say another. Two loads
	// of a World must not share one: it is part of the keys of operations.
	Name string

	// Clients is the number of clients. Zero means 1.
	Clients int

	// Rate is how often each client acts.
	Rate Rate

	// Timeout ends the context of an operation. Zero means 10 s.
	Timeout time.Duration

	// Length is how long operations start. Zero means until Config.Settle after the scenario's last event.
	Length time.Duration

	// Edges thins the load away from faults. The zero value sends everything.
	Edges Edges

	// Do runs one operation. It is called on a goroutine of its own, concurrently, and must return when
	// its context ends. Nil is success; an error that is a time-out or a broken connection, or whose
	// OutcomeUnknown method says so, is unknown; another error is a failure. A panic fails the test
	// and ends the load.
	Do func(ctx context.Context, op *Op) error
}

// Rate is how often a client acts. Make it with [Poisson] or [Constant].
type Rate struct {
	perSecond float64
	poisson   bool
}

// Poisson returns random arrivals with a mean number per second: the traffic of many independent users.
func Poisson(perSecond float64) Rate { return Rate{perSecond, true} }

// Constant returns arrivals at even distances.
func Constant(perSecond float64) Rate { return Rate{perSecond, false} }

// Edges thins a load where nothing happens. An operation is sent if its client is number 0, or if it is due
// from Before a fault starts or ends until After it did, or anywhere within a fault that flaps or ramps;
// of the others one in Thin is sent, and counts Thin times. The one client at full rate keeps breakers
// and windows that judge by a rate of calls awake. Reports repeat the rule.
type Edges struct {
	Before, After time.Duration
	Thin          int // 0 and 1: send all
}

// Rule states the rule in words.
func (e Edges) Rule() string {
	if e.Thin <= 1 {
		return "every operation is sent"
	}
	return fmt.Sprintf("client 0 sends all; the others send all from %v before to %v after the start and end of each fault, else one in %d, which counts %d times",
		e.Before, e.After, e.Thin, e.Thin)
}

const defaultTimeout = 10 * time.Second

func (l Load) withDefaults() (Load, error) {
	if l.Clients == 0 {
		l.Clients = 1
	}
	if l.Timeout == 0 {
		l.Timeout = defaultTimeout
	}
	problem := func(field, format string, args ...any) (Load, error) {
		return l, fmt.Errorf("drtest: Load %q: %s: %s", l.Name, field, fmt.Sprintf(format, args...))
	}
	switch {
	case l.Name == "":
		return problem("Name", "missing")
	case l.Clients < 0:
		return problem("Clients", "%d is negative", l.Clients)
	case !(l.Rate.perSecond > 0 && l.Rate.perSecond <= 1e6):
		return problem("Rate", "%v per second is not above 0 and up to a million", l.Rate.perSecond)
	case l.Timeout < 0:
		return problem("Timeout", "%v is negative", l.Timeout)
	case l.Length < 0:
		return problem("Length", "%v is negative", l.Length)
	case l.Edges.Before < 0 || l.Edges.After < 0 || l.Edges.Thin < 0:
		return problem("Edges", "negative")
	case l.Do == nil:
		return problem("Do", "missing")
	}
	return l, nil
}

// Traffic is a load that runs. [World.Load] makes it.
type Traffic struct {
	Load
	w       *World
	start   time.Duration
	lattice lattice
	ctx     context.Context // ends when no operation starts any more
	cancel  context.CancelFunc
	sent    atomic.Int64
	tasks   sync.WaitGroup
}

// Load starts a load now and returns at once. The test stops if the load is invalid; a World in real time
// panics.
func (w *World) Load(l Load) *Traffic {
	w.helper()
	l, err := l.withDefaults()
	if err != nil {
		w.host.refuse(err)
	}
	l.Clients = w.atMost(l.Clients)
	t := &Traffic{Load: l, w: w, start: w.now()}
	t.ctx, t.cancel = context.WithCancel(w.ctx)
	if !w.addTraffic(t) {
		w.host.refuse(fmt.Errorf("drtest: Load %q: Name: there is a load of that name", l.Name))
	}
	for client := range l.Clients {
		t.tasks.Go(func() { t.drive(client) })
	}
	return t
}

// addTraffic registers a load; false if its name is taken.
func (w *World) addTraffic(t *Traffic) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.traffic {
		if other.Name == t.Name {
			return false
		}
	}
	w.resumeLocked()
	t.lattice = w.lattices.next(t.Clients)
	w.traffic = append(w.traffic, t)
	return true
}

// Stop ends the load: no operation starts any more, and Stop waits for those under way to end as they would have.
func (t *Traffic) Stop() {
	t.cancel()
	t.tasks.Wait()
}

// Sent returns how many operations were started.
func (t *Traffic) Sent() int { return int(t.sent.Load()) }

// drive is one client.
func (t *Traffic) drive(client int) {
	a := arrivals{
		rate: t.Rate, period: time.Duration(float64(time.Second) / t.Rate.perSecond),
		rng: simnet.Stream(t.w.config.Seed, "load/"+t.Name+"/"+strconv.Itoa(client)),
	}
	// Clients of a constant load start spread over one period, as users do.
	if !t.Rate.poisson {
		a.at = time.Duration(a.rng.Int64N(int64(a.period) + 1))
	}
	due := t.start
	for seq := 0; ; seq++ {
		due = nextPhase(max(t.start+a.next(), due+1), t.lattice.offset(client, seq))
		if t.over(due) {
			return
		}
		weight := t.weight(client, seq, due)
		if weight == 0 {
			continue
		}
		if !t.w.sleepUntil(t.ctx, due) || t.over(due) {
			return
		}
		if !t.w.host.real() && !t.w.history.Occur(due, t.Name, client, seq) {
			t.w.host.fail("drtest: Load %q: client %d arrives in the nanosecond of another event, at %v: the order is not fixed by the seed", t.Name, client, due)
		}
		t.sent.Add(1)
		op := &Op{t: t, client: client, seq: seq, due: due, weight: weight, class: t.Name}
		t.tasks.Add(1)
		t.w.workers.run(func() {
			defer t.tasks.Done()
			t.one(op)
		})
	}
}

// over reports whether operations due at an instant are no longer started.
func (t *Traffic) over(due time.Duration) bool {
	if t.ctx.Err() != nil {
		return true
	}
	if t.Length > 0 {
		return due >= t.start+t.Length
	}
	end := t.w.loadEnd()
	return end > 0 && due >= end
}

// weight returns how many operations an arrival stands for; 0 = it is not sent.
func (t *Traffic) weight(client, seq int, due time.Duration) int {
	if t.Edges.Thin <= 1 || client == 0 || t.w.nearEdge(due, t.Edges) {
		return 1
	}
	if seq%t.Edges.Thin == client%t.Edges.Thin {
		return t.Edges.Thin
	}
	return 0
}

// one runs one operation and records it.
func (t *Traffic) one(op *Op) {
	ctx, cancel := context.WithTimeout(t.w.ctx, t.Timeout)
	defer cancel()
	err := t.call(opContext{ctx, op}, op)
	if t.w.ctx.Err() != nil {
		return // cut short by the end of the World
	}
	t.w.history.AddOp(op.record(err, t.w.now()))
	if err != nil {
		t.w.noticeFailure()
	}
}

// call runs Do and turns a panic into a failure of the test.
func (t *Traffic) call(ctx context.Context, op *Op) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.w.host.fail("drtest: Load %q panicked: %v, at %s", t.Name, p, panicPlace())
			err = fmt.Errorf("panic: %v", p)
			t.cancel()
		}
	}()
	return t.Do(ctx, op)
}

// arrivals draws when a client acts.
type arrivals struct {
	rate   Rate
	period time.Duration
	at     time.Duration
	rng    *rand.Rand
}

func (a *arrivals) next() time.Duration {
	if a.rate.poisson {
		a.at += time.Duration(a.rng.ExpFloat64() * float64(a.period))
	} else {
		a.at += a.period
	}
	return a.at
}

// An Op is one operation of a load. Its methods may be called by Do and by what Do calls with its context.
type Op struct {
	t           *Traffic
	client, seq int
	due         time.Duration
	weight      int
	attempts    atomic.Int32

	mu       sync.Mutex // guards all below
	class    string
	degraded bool
	age      time.Duration
	region   string
}

// Key returns a name that no other operation of the World has.
func (o *Op) Key() string {
	return o.t.Name + "/" + strconv.Itoa(o.client) + "/" + strconv.Itoa(o.seq)
}

// Client returns the number of the client.
func (o *Op) Client() int { return o.client }

// Acked records that the caller was told that key is safe: checks look for it in the stores and effects at the
// end. Call it when the answer has arrived.
func (o *Op) Acked(key string) {
	o.t.w.history.AddAck(history.Ack{Key: key, Class: o.classNow(), At: o.t.w.now()})
}

// As sets the class of the operation, as "POST /orders". RTO and Availability are judged per class.
func (o *Op) As(class string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.class = class
}

func (o *Op) classNow() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.class
}

// Degraded records that the caller was served something less: a stub, stale data, a deferred answer. It does
// not count as success unless a check says so.
func (o *Op) Degraded() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.degraded = true
}

// Aged records how old what the caller was given was, as a cache says in an Age header. Of several the oldest counts,
// for Staleness.
func (o *Op) Aged(age time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.age = max(o.age, age)
}

// Served records which Region answered. Clients made by a Region do it themselves.
func (o *Op) Served(region string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.region = region
}

// Attempt counts a request sent for the operation. Clients made by a Region do it themselves.
func (o *Op) Attempt() { o.attempts.Add(1) }

func (o *Op) record(err error, now time.Duration) history.Op {
	o.mu.Lock()
	defer o.mu.Unlock()
	op := history.Op{
		Class: o.class, Load: o.t.Name, Client: o.client, Seq: o.seq, Start: o.due, End: now, Outcome: outcomeOf(err),
		Degraded: o.degraded, Region: o.region, Attempts: int(o.attempts.Load()), Weight: float64(o.weight), Age: o.age,
	}
	if err != nil {
		op.Err = err.Error()
	}
	return op
}

// outcomeOf says what a caller knows after an error. A caller that stopped waiting knows nothing.
func outcomeOf(err error) history.Outcome {
	switch o, marked := outcome.Marked(err); {
	case err == nil:
		return history.OutcomeOK
	case marked && o != outcome.Unknown:
		return history.OutcomeFailed
	case marked || outcome.Of(err) == outcome.Unknown || timedOut(err):
		return history.OutcomeUnknown
	}
	return history.OutcomeFailed
}

func timedOut(err error) bool {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// An opContext carries its operation to the clients that send requests for it.
type opContext struct {
	context.Context
	op *Op
}

type opKey struct{}

func (c opContext) Value(key any) any {
	if key == (opKey{}) {
		return c.op
	}
	return c.Context.Value(key)
}

// OpFrom returns the operation of a load in whose name a context is used.
func OpFrom(ctx context.Context) (*Op, bool) {
	op, ok := ctx.Value(opKey{}).(*Op)
	return op, ok
}
