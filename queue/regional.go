package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// RegionalConfig configures a [Regional]. The zero value is ready to use with standard queues.
type RegionalConfig struct {
	// Name is what errors call the transport where no Region's queue is to blame. Empty means "regional".
	Name string

	// Pinned is the Region whose queue keeps the order of FIFO groups. FIFO sends go there and nowhere else, whoever
	// is the writer: while it is unusable they are refused with [ErrHeld] and wait in the client's spool until it is
	// back. Required for FIFO queues, an error for others. To give the order up and start in another Region, change it.
	Pinned string

	// AttemptTimeout bounds one attempt in one Region. Zero means 1 s.
	AttemptTimeout time.Duration

	// Around is called around every request except Receive, with the Region as key: (*breaker.Group).Do for one. Its
	// refusals send the call to the next Region at once. It returns when ctx has ended and call has. Nil means none.
	Around func(ctx context.Context, region string, call func(context.Context) error) error

	// Observe hears the result of every request, of Receive only errors and, with a zero duration, successes:
	// (*failover.Controller).Observe for one. Nil means nobody.
	Observe func(region string, err error, took time.Duration)
}

// A Regional is one queue per Region seen as one transport. It sends to the first usable Region, home first, and to the
// next when that fails: after a lost reply a copy of the same call ID may exist in both. It receives from every Region
// of its map that answers, home first, so that neither a standby's own queue nor one stranded in a
// recovering Region waits for a decision. Everything about a message goes to the Region it came from.
type Regional struct {
	route   func() (regions []string, writer string)
	config  RegionalConfig
	regions map[string]*regionTransport
	names   []string // sorted
	limits  Limits
	prompt  bool // so are all its Regions
}

// NewRegional returns a transport over transports, by Region. route says which Regions are usable, home first:
// (*failover.Controller).Route for one. Regions without a transport are passed over.
func NewRegional(route func() (regions []string, writer string), transports map[string]Transport, config RegionalConfig) (*Regional, error) {
	if route == nil || len(transports) == 0 {
		return nil, errors.New("queue: NewRegional: needs a route and at least one transport")
	}
	config = blaming(config)
	config.Name = cmp.Or(config.Name, "regional")
	config.AttemptTimeout = cmp.Or(config.AttemptTimeout, time.Second)
	if config.AttemptTimeout < 10*time.Millisecond {
		return nil, fmt.Errorf("queue: RegionalConfig.AttemptTimeout: %v is below the minimum 10ms", config.AttemptTimeout)
	}
	r := &Regional{route: route, config: config, regions: map[string]*regionTransport{}, names: slices.Sorted(maps.Keys(transports)), prompt: true}
	for i, name := range r.names {
		t := transports[name]
		if t == nil {
			return nil, fmt.Errorf("queue: NewRegional: Region %q: nil Transport", name)
		}
		r.regions[name] = &regionTransport{Transport: t, region: name, config: &r.config, prompt: prompt(t)}
		r.prompt = r.prompt && prompt(t)
		if err := r.merge(t.Limits(), i == 0); err != nil {
			return nil, err
		}
	}
	return r, r.checkPinned()
}

// merge keeps the smallest of every limit.
func (r *Regional) merge(l Limits, first bool) error {
	if first {
		r.limits = l
		r.limits.Region = ""
		return nil
	}
	if l.FIFO != r.limits.FIFO {
		return errors.New("queue: NewRegional: FIFO and standard queues mixed")
	}
	m := &r.limits
	m.Batch, m.BatchBytes, m.MessageBytes = min(m.Batch, l.Batch), min(m.BatchBytes, l.BatchBytes), min(m.MessageBytes, l.MessageBytes)
	m.MaxDelay, m.MaxLease, m.Retention = min(m.MaxDelay, l.MaxDelay), min(m.MaxLease, l.MaxLease), min(m.Retention, l.Retention)
	return nil
}

func (r *Regional) checkPinned() error {
	_, known := r.regions[r.config.Pinned]
	switch {
	case r.limits.FIFO && !known:
		return fmt.Errorf("queue: RegionalConfig.Pinned: %q is no Region of these FIFO queues", r.config.Pinned)
	case !r.limits.FIFO && r.config.Pinned != "":
		return errors.New("queue: RegionalConfig.Pinned is for FIFO queues")
	}
	return nil
}

// Limits are the smallest of all Regions; Region is the home of the moment.
func (r *Regional) Limits() Limits {
	l := r.limits
	if regions, _ := r.route(); len(regions) > 0 {
		l.Region = regions[0]
	}
	return l
}

// usable returns the Region of that name if it takes messages: one that has a queue, and the pinned one alone if one is.
func (r *Regional) usable(name string) *regionTransport {
	if r.config.Pinned != "" && name != r.config.Pinned {
		return nil
	}
	return r.regions[name]
}

// Send tries the usable Regions in order; only what one Region did not acknowledge goes to the next.
func (r *Regional) Send(ctx context.Context, messages []Outgoing) []SendResult {
	regions, _ := r.route()
	for i, name := range regions {
		if t := r.usable(name); t != nil {
			return r.sendOn(ctx, messages, t.Send(ctx, messages), regions[i+1:])
		}
	}
	refused := &SendError{Name: r.config.Name, Region: r.config.Pinned, Err: ErrHeld}
	if r.config.Pinned == "" {
		refused = &SendError{Name: r.config.Name, Err: errors.New("no usable Region")}
	}
	results := make([]SendResult, len(messages))
	for i := range results {
		results[i].Err = refused
	}
	return results
}

// sendOn tries regions with what the first one, whose results it is given, did not acknowledge.
func (r *Regional) sendOn(ctx context.Context, messages []Outgoing, results []SendResult, regions []string) []SendResult {
	var todo []int
	for i := range results {
		if err := results[i].Err; err != nil && !outcome.Permanent(err) {
			todo = append(todo, i)
		}
	}
	for _, name := range regions {
		if len(todo) == 0 || ctx.Err() != nil {
			break
		}
		if t := r.usable(name); t != nil {
			todo = keepRegion(results, todo, t.Send(ctx, pick(messages, todo)))
		}
	}
	return results
}

func pick(messages []Outgoing, todo []int) []Outgoing {
	out := make([]Outgoing, len(todo))
	for j, i := range todo {
		out[j] = messages[i]
	}
	return out
}

// keepRegion stores what another Region said to messages that one before it did not acknowledge, and returns those to be tried in the next.
func keepRegion(results []SendResult, todo []int, sent []SendResult) (left []int) {
	for j, i := range todo {
		before := results[i].Err
		results[i] = sent[j]
		switch err := sent[j].Err; {
		case err == nil:
			results[i].Copies = outcome.Of(before) == outcome.Unknown || sent[j].Copies
		case outcome.Permanent(err):
		default:
			results[i].Err = errors.Join(before, err)
			left = append(left, i)
		}
	}
	return left
}

// Receive asks the Regions in turn, home first, without waiting, and then waits at home in slices of a second. A
// [Worker] does better: it polls every Region at once.
func (r *Regional) Receive(ctx context.Context, q ReceiveRequest) ([]*Message, error) {
	deadline := time.Now().Add(q.Wait)
	for {
		var errs []error
		for i, t := range r.ordered() {
			ask := q
			ask.Wait = 0
			if i == 0 && q.Wait > 0 {
				ask.Wait = max(0, min(time.Second, time.Until(deadline)))
			}
			got, err := t.Receive(ctx, ask)
			if len(got) > 0 {
				return got, nil
			}
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if time.Until(deadline) <= 0 {
			return nil, allFailed(errs)
		}
		if errs[0] != nil { // home does not wait for us
			sleep(ctx, min(time.Second, time.Until(deadline)))
		}
	}
}

// allFailed joins errs if none is nil.
func allFailed(errs []error) error {
	if slices.Contains(errs, nil) {
		return nil
	}
	return errors.Join(errs...)
}

// ordered returns every Region: usable ones first, home before all.
func (r *Regional) ordered() []*regionTransport {
	regions, _ := r.route()
	list := make([]*regionTransport, 0, len(r.names))
	for _, name := range append(slices.Clone(regions), r.names...) {
		if t := r.regions[name]; t != nil && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// sources makes a Worker poll every Region by itself.
func (r *Regional) sources() []source {
	list := make([]source, 0, len(r.names))
	for _, t := range r.ordered() {
		list = append(list, source{region: t.region, transport: t})
	}
	return list
}

// A source is one queue that a worker polls.
type source struct {
	region    string
	transport Transport
}

// sourcesOf returns the queues of t: one, or one per Region.
func sourcesOf(t Transport) []source {
	if r, ok := t.(interface{ sources() []source }); ok {
		return r.sources()
	}
	return []source{{t.Limits().Region, t}}
}

// Extend, Release, Delete and Dead go to the Regions the messages came from.
func (r *Regional) Extend(ctx context.Context, messages []*Message, lease time.Duration) []error {
	return byRegion(r, messages, func(m *Message) string { return m.Region },
		func(t Transport, some []*Message) []error { return t.Extend(ctx, some, lease) })
}

// Release implements [Transport].
func (r *Regional) Release(ctx context.Context, releases []Release) []error {
	return byRegion(r, releases, func(x Release) string { return x.Message.Region },
		func(t Transport, some []Release) []error { return t.Release(ctx, some) })
}

// Delete implements [Transport].
func (r *Regional) Delete(ctx context.Context, messages []*Message) []error {
	return byRegion(r, messages, func(m *Message) string { return m.Region },
		func(t Transport, some []*Message) []error { return t.Delete(ctx, some) })
}

// Dead implements [Transport].
func (r *Regional) Dead(ctx context.Context, letters []DeadLetter) []error {
	return byRegion(r, letters, func(l DeadLetter) string { return l.Message.Region },
		func(t Transport, some []DeadLetter) []error { return t.Dead(ctx, some) })
}

// byRegion splits items, keeping their order, and puts the errors back together.
func byRegion[T any](r *Regional, items []T, region func(T) string, do func(Transport, []T) []error) []error {
	at := map[string][]int{}
	for i, item := range items {
		at[region(item)] = append(at[region(item)], i)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(at)) {
		some := make([]T, len(at[name]))
		for j, i := range at[name] {
			some[j] = items[i]
		}
		var got []error
		if t := r.regions[name]; t != nil {
			got = do(t, some)
		} else {
			got = allFail(len(some), fmt.Errorf("queue %q: message of unknown Region %q", r.config.Name, name))
		}
		if got == nil {
			continue
		}
		if errs == nil {
			errs = make([]error, len(items))
		}
		for j, i := range at[name] {
			errs[i] = got[j]
		}
	}
	return errs
}

// Stats adds the Regions up and lists each. Those that do not answer are Unverified, not zero.
func (r *Regional) Stats(ctx context.Context) (Depth, error) {
	sum := Depth{Regions: map[string]Depth{}}
	var errs []error
	for _, name := range r.names {
		d, err := r.regions[name].Stats(ctx)
		if err != nil {
			sum.Unverified = append(sum.Unverified, name)
			errs = append(errs, err)
			continue
		}
		sum.Regions[name] = d
		sum.Visible += d.Visible
		sum.InFlight += d.InFlight
		sum.Delayed += d.Delayed
	}
	if len(errs) == len(r.names) {
		return sum, errors.Join(errs...)
	}
	return sum, nil
}

// A regionTransport is one Region's queue with its breaker, its deadline and its observer.
type regionTransport struct {
	Transport
	region string
	config *RegionalConfig
	prompt bool
}

// A request is what is asked of one Region. run returns the error that says how the Region is doing.
type request interface {
	run(ctx context.Context) error
}

type requestFunc func(context.Context) error

func (f requestFunc) run(ctx context.Context) error { return f(ctx) }

// do runs one request.
func (t *regionTransport) do(ctx context.Context, r request) error {
	if t.config.Around == nil {
		return t.attempt(ctx, r)
	}
	return t.config.Around(ctx, t.region, func(ctx context.Context) error { return t.attempt(ctx, r) })
}

// attempt runs r within AttemptTimeout; a queue that keeps nobody waiting needs no limit.
func (t *regionTransport) attempt(ctx context.Context, r request) error {
	if !t.prompt {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.config.AttemptTimeout)
		defer cancel()
	}
	if t.config.Observe == nil {
		return r.run(ctx)
	}
	began := time.Now()
	err := r.run(ctx)
	t.config.Observe(t.region, err, time.Since(began))
	return err
}

// Send reports a refusal by Around as not run.
func (t *regionTransport) Send(ctx context.Context, messages []Outgoing) []SendResult {
	s := &sending{t: t, messages: messages}
	err := t.do(ctx, s)
	if s.results != nil {
		return s.results
	}
	results := make([]SendResult, len(messages))
	for i := range results {
		results[i] = SendResult{Region: t.region, Err: &SendError{Name: t.config.Name, Region: t.region, Outcome: unlessNotRun(err), Err: err}}
	}
	return results
}

// A sending is the request to send messages.
type sending struct {
	t        *regionTransport
	messages []Outgoing
	results  []SendResult  // nil until it has run
	room     [1]SendResult // for the result of one message, which most requests have, of a queue in memory
}

func (s *sending) run(ctx context.Context) error {
	if m, ok := s.t.Transport.(*Memory); ok {
		s.results = m.sendInto(ctx, s.messages, s.room[:0])
	} else {
		s.results = s.t.Transport.Send(ctx, s.messages)
	}
	for i := range s.results {
		s.results[i].Region = s.t.region
	}
	return regionError(len(s.results), func(i int) error { return s.results[i].Err })
}

// regionError is what a batch says about the Region: nothing if any message went through or was itself at fault.
func regionError(n int, nth func(int) error) error {
	var first error
	for i := range n {
		err := nth(i)
		if err == nil || outcome.Permanent(err) || errors.Is(err, ErrLeaseLost) {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// Receive is not wrapped in Around: a long poll is neither slow nor a probe.
func (t *regionTransport) Receive(ctx context.Context, q ReceiveRequest) ([]*Message, error) {
	got, err := t.Transport.Receive(ctx, q)
	for _, m := range got {
		m.Region = t.region
	}
	if t.config.Observe != nil && ctx.Err() == nil {
		t.config.Observe(t.region, err, 0)
	}
	return got, err
}

func (t *regionTransport) Extend(ctx context.Context, messages []*Message, lease time.Duration) []error {
	return t.each(ctx, len(messages), func(ctx context.Context) []error { return t.Transport.Extend(ctx, messages, lease) })
}

func (t *regionTransport) Release(ctx context.Context, releases []Release) []error {
	return t.each(ctx, len(releases), func(ctx context.Context) []error { return t.Transport.Release(ctx, releases) })
}

func (t *regionTransport) Delete(ctx context.Context, messages []*Message) []error {
	return t.each(ctx, len(messages), func(ctx context.Context) []error { return t.Transport.Delete(ctx, messages) })
}

func (t *regionTransport) Dead(ctx context.Context, letters []DeadLetter) []error {
	return t.each(ctx, len(letters), func(ctx context.Context) []error { return t.Transport.Dead(ctx, letters) })
}

func (t *regionTransport) each(ctx context.Context, n int, call func(context.Context) []error) (errs []error) {
	ran := false
	err := t.do(ctx, requestFunc(func(ctx context.Context) error {
		errs, ran = call(ctx), true
		return regionError(len(errs), func(i int) error { return errs[i] })
	}))
	if !ran {
		return allFail(n, err)
	}
	return errs
}

func (t *regionTransport) Stats(ctx context.Context) (d Depth, err error) {
	err = t.do(ctx, requestFunc(func(ctx context.Context) error {
		d, err = t.Transport.Stats(ctx)
		return err
	}))
	return d, err
}
