package idempotency

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// A call is one use of a guard. Its function knows the result's type; the rest does not. It holds all that a first attempt takes, so that this is one
// allocation.
type call struct {
	*core
	terms     *Terms
	ctx       context.Context // the caller's
	key       Key
	retention time.Duration
	function  function
	flight    flight // its own; not the one that it waits for
	first     run    // what leads the flight, if it is granted

	deadline time.Time // of waiting; zero until the first wait
	claimBy  time.Time // of waiting for another call's claim; zero until the first
	left     bool      // the caller left a detached function, which may still write the value kept
}

// A function is the user's, with the value that it returned.
type function interface {
	run(context.Context) error   // keeps the value
	pack(context.Context) []byte // the envelope of the value kept
	adopt(found any) error       // keeps a value that Reconcile found
}

// execute returns the envelope to replay, or nil when the value kept or err is the call's result.
func (c *call) execute() (stored []byte, info Info, err error) {
	if !c.key.ok() {
		c.counts.add(endInvalid)
		return nil, info, keyError(c.config.Name, c.key, c.key.problem())
	}
	for _, m := range [...]*Memory{c.memory, c.local} { // local knows calls of an outage that no other process has heard of
		if m == nil {
			continue
		}
		if stored, ok := m.peek(&c.key); ok {
			return c.replay(stored)
		}
	}
	for {
		f, mine := c.flights.join(&c.key, &c.flight)
		if mine {
			return c.lead(f)
		}
		if f.fingerprint != c.key.Fingerprint {
			return nil, info, c.refuse(endMismatch, ErrMismatch, nil)
		}
		if err := c.await(f); err != nil {
			return nil, info, err
		}
		if f.result != nil {
			return c.replay(f.result)
		}
	}
}

func (c *call) replay(stored []byte) ([]byte, Info, error) {
	c.counts.add(endReplayed)
	return stored, Info{Replayed: true, Stored: true}, nil
}

// refuse counts and makes the error of a call that gets no result.
func (c *call) refuse(e ending, reason, cause error) *Error {
	c.counts.add(e)
	return c.refusal(c.key, reason, cause)
}

// await waits for another call of this process.
func (c *call) await(f *flight) error {
	select {
	case <-f.done:
		return nil
	default:
	}
	running := time.Since(f.begun)
	if within(c.ctx, c.core, &c.key) {
		e := c.refuse(endInFlight, ErrInFlight, errors.New("it is the call that this one is made from"))
		e.Wait = askAgain(running, c.config.Lease)
		return e
	}
	left, ok := c.patience()
	if !ok && c.config.Wait == 0 {
		return c.awaitClaim(f)
	}
	if !ok {
		e := c.refuse(endInFlight, ErrInFlight, nil)
		e.Wait = askAgain(running, c.config.Lease)
		return e
	}
	c.counts.waits.Add(1)
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-f.done:
		return nil
	case <-timer.C:
		e := c.refuse(endInFlight, ErrInFlight, nil)
		e.Wait = askAgain(time.Since(f.begun), c.config.Lease)
		return e
	case <-c.ctx.Done():
		return c.refuse(endInFlight, ErrInFlight, context.Cause(c.ctx))
	}
}

// awaitClaim is await for calls that do not wait: they learn what the store says of the key, from the call that is asking
// it. Its result may be stored, or its owner in another process.
func (c *call) awaitClaim(f *flight) error {
	if c.claimBy.IsZero() {
		c.claimBy = time.Now().Add(c.config.StoreTimeout)
	}
	timer := time.NewTimer(time.Until(c.claimBy))
	defer timer.Stop()
	select {
	case <-f.done:
		if f.refused == nil {
			return nil
		}
		e := c.refuse(endInFlight, ErrInFlight, nil)
		e.Fence, e.Wait = f.refused.Fence, f.refused.Wait
		return e
	case <-f.granted:
	case <-timer.C:
	case <-c.ctx.Done():
		return c.refuse(endInFlight, ErrInFlight, context.Cause(c.ctx))
	}
	e := c.refuse(endInFlight, ErrInFlight, nil)
	e.Wait = askAgain(time.Since(f.begun), c.config.Lease)
	return e
}

// patience returns how long the call may still wait. ok is false if not at all.
func (c *call) patience() (left time.Duration, ok bool) {
	if c.config.Wait == Unlimited {
		return Unlimited, true
	}
	if c.deadline.IsZero() {
		c.deadline = time.Now().Add(c.config.Wait)
	}
	left = time.Until(c.deadline)
	return left, left > 0
}

// askAgain advises to wait as long as the call has run: at least a second, at most until the lease can have passed.
func askAgain(running, lease time.Duration) time.Duration {
	return max(time.Second, min(running, lease))
}

// lead makes the call for all of this process that wait for f.
func (c *call) lead(f *flight) (stored []byte, info Info, err error) {
	left := false
	defer func() {
		if !left { // refused, or a store panicked
			c.flights.leave(&c.key, f, nil)
		}
	}()
	r := &c.first
	r.call = c
	if err := c.begin(&r.grant); err != nil {
		if e, ok := err.(*Error); ok && e.Reason == ErrInFlight { //nolint:errorlint // begin returns it bare
			f.refused = e
		}
		return nil, info, err
	}
	if r.stored != nil {
		left = true
		c.flights.leave(&c.key, f, r.stored)
		return c.replay(r.stored)
	}
	left = true
	c.flights.grant(f)
	if c.terms.MaxRun > 0 {
		return r.detached()
	}
	return r.inline(c.ctx, time.Time{})
}

// A grant is what begin got: a result to replay, or the right to run.
type grant struct {
	stored    []byte // replay this
	granter   Store  // nil if the attempt is unprotected
	holder    Holder
	past      past
	sent      time.Time // when the granting request was sent
	reconcile bool
}

// A past is what a record says of the attempts of its key.
type past struct {
	attempt    int // which one this is
	prior      State
	checkpoint []byte
}

// begin fills in g. It is a function of its own because what the claim takes on the stack is then gone when the user's function runs, which may make
// such a call itself.
//
//go:noinline
func (c *call) begin(g *grant) (err error) {
	*g, err = c.claimed()
	return err
}

// claimed claims the key and waits for owners in other processes, as far as the call may wait.
func (c *call) claimed() (grant, error) {
	claim, ambiguous := c.claim()
	store := c.store
	var w remoteWait
	defer w.stop()
	for sent := c.flight.begun; ; sent = time.Now() { // the flight has begun just now
		a, err := c.send(store, claim)
		if err != nil {
			if store, err = c.outage(store, claim, err); err != nil {
				return grant{}, err
			}
			if store == nil {
				return grant{holder: Holder{Key: c.key, Owner: claim.Owner}, sent: sent}, nil
			}
			continue
		}
		switch a.Status {
		case StatusGranted:
			return c.granted(store, claim, a.Record, sent, ambiguous)
		case StatusDone:
			return c.found(a.Record)
		case StatusInFlight:
			if err := c.waitRemote(store, &w, a.Record); err != nil {
				return grant{}, err
			}
		default:
			return grant{}, c.denied(a, claim)
		}
	}
}

// claim says what the call may take, by policy and epoch. ambiguous: a missing record may have been lost.
func (c *call) claim() (claim Claim, ambiguous bool) {
	claim = Claim{
		Key: c.key, Lease: c.config.Lease, Retention: c.retention, Wait: c.config.Wait > 0,
		TakeHeld: c.config.OnUnknown != PolicyRefuse, TakeAbandoned: c.onAbandoned() != PolicyRefuse,
	}
	_, _ = rand.Read(claim.Owner[:]) // never fails
	if c.config.Epoch == nil {
		return claim, false
	}
	epoch, since := c.config.Epoch()
	claim.Epoch = epoch
	if epoch == 0 {
		claim.Existing, claim.TakeHeld, claim.TakeAbandoned = true, false, false
		return claim, false
	}
	ambiguous = c.ambiguous(since)
	claim.Existing = ambiguous && c.onAmbiguous() == PolicyRefuse
	return claim, ambiguous
}

// ambiguous reports whether the key was made so shortly before the epoch that its record may have been
// lost with the Region that had the epoch before.
func (c *call) ambiguous(since time.Time) bool {
	if c.config.Lag == nil || since.IsZero() {
		return false
	}
	lag := c.config.Lag()
	at, ok := mintedAt(c.key.ID)
	return ok && lag > 0 && at.Before(since) && at.After(since.Add(-lag))
}

func (c *call) onAbandoned() Policy {
	return firstPolicy(c.config.OnAbandoned, c.terms.OnAbandoned, PolicyRerun)
}

func (c *call) onAmbiguous() Policy {
	return firstPolicy(c.config.OnAmbiguous, c.terms.OnAmbiguous, PolicyRefuse)
}

func firstPolicy(policies ...Policy) Policy {
	for _, p := range policies {
		if p != PolicyDefault {
			return p
		}
	}
	return PolicyDefault
}

// send makes the claim, within StoreTimeout where there is a network.
func (c *call) send(store Store, claim Claim) (Answer, error) {
	ctx := c.ctx
	if !instant(store) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.StoreTimeout)
		defer cancel()
	}
	a, err := store.Begin(ctx, claim)
	if err == nil && store == c.store {
		c.answered()
	}
	return a, err
}

// granted checks what the store gave: a lease that has all but passed on its way, where there is one, is worth nothing.
func (c *call) granted(store Store, claim Claim, r Record, sent time.Time, ambiguous bool) (grant, error) {
	g := grant{granter: store, past: past{r.Attempt, r.Prior, r.Checkpoint}, sent: sent, holder: Holder{Key: c.key, Owner: claim.Owner, Fence: r.Fence}}
	if !instant(store) && time.Since(sent) > c.config.Lease-c.config.Heartbeat {
		c.unclaimLater(g.holder, c.retention)
		e := c.refuse(endUnavailable, ErrUnavailable, errors.New("the claim took as long as the lease"))
		e.Wait = probeEvery
		return grant{}, e
	}
	switch r.Prior {
	case StateHeld:
		g.reconcile = c.config.OnUnknown == PolicyReconcile
	case StateInFlight:
		g.reconcile = c.onAbandoned() == PolicyReconcile
	default:
		g.reconcile = ambiguous && r.Attempt == 1 && c.onAmbiguous() == PolicyReconcile
	}
	return g, nil
}

// found hands on a stored result if it is one. What is not stays in the store: somebody may be able to read it.
func (c *call) found(r Record) (grant, error) {
	if _, err := parseEnvelope(r.Result); err != nil {
		return grant{}, c.refuse(endCorrupt, ErrCorrupt, err)
	}
	return grant{stored: r.Result}, nil
}

// denied turns the store's no into an error.
func (c *call) denied(a Answer, claim Claim) error {
	how, reason, cause, wait := endUnknown, ErrUnknownOutcome, error(nil), time.Duration(0)
	switch a.Status {
	case StatusMismatch:
		how, reason = endMismatch, ErrMismatch
	case StatusHeld:
		cause = errors.New("it ended without an answer")
	case StatusAbandoned:
		cause = errors.New("its owner died")
		if c.config.Epoch != nil && claim.Epoch == 0 {
			how, reason, wait = endNotWriter, ErrNotWriter, probeEvery
		}
	case StatusAbsent:
		cause = errors.New("its record may be lost with the old Region")
		if claim.Epoch == 0 {
			how, reason, cause, wait = endNotWriter, ErrNotWriter, nil, probeEvery
		}
	case StatusStale:
		how, reason, wait = endNotWriter, ErrNotWriter, probeEvery
	default:
		how, reason, cause = endCorrupt, ErrCorrupt, errors.New("the store answered "+a.Status.String())
	}
	e := c.refuse(how, reason, cause)
	e.Fence, e.Wait = a.Record.Fence, wait
	return e
}

// outage decides what follows a store that failed: another store, nil for no protection, or an error.
func (c *call) outage(store Store, claim Claim, err error) (Store, error) {
	if c.ctx.Err() != nil {
		c.unclaimLater(Holder{Key: c.key, Owner: claim.Owner}, c.retention) // the claim may have arrived
		e := c.refuse(endUnavailable, ErrUnavailable, errors.Join(context.Cause(c.ctx), err))
		return nil, e
	}
	if errors.Is(err, ErrCorrupt) {
		return nil, c.refuse(endCorrupt, ErrCorrupt, err)
	}
	if errors.Is(err, ErrNotWriter) {
		e := c.refuse(endNotWriter, ErrNotWriter, err)
		e.Wait = probeEvery
		return nil, e
	}
	reason := ErrUnavailable
	if errors.Is(err, ErrStoreFull) {
		reason = ErrStoreFull
	} else {
		c.failed(err)
	}
	switch {
	case c.config.OnOutage == OutageFailOpen:
		return nil, nil
	case c.config.OnOutage == OutageLocal && store == c.store:
		return c.local, nil
	}
	if reason == ErrUnavailable { //nolint:errorlint // one of a closed set, bare
		c.unclaimLater(Holder{Key: c.key, Owner: claim.Owner}, c.retention)
	}
	e := c.refuse(endUnavailable, reason, err)
	e.Wait = probeEvery
	return nil, e
}
