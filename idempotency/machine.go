package idempotency

import "time"

// A row is a record with absolute times, in nanoseconds of its store's clock. Its methods are the
// steps of the state machine; the caller holds the lock and has dropped rows whose retention has passed.
type row struct {
	state       State
	prior       State
	attempt     int
	fence       Fence
	owner       Owner
	fingerprint Sum
	leaseUntil  int64
	begun       int64
	expires     int64
	checkpoint  []byte
	result      []byte
}

// nobody owns a row whose attempt was put back.
var nobody Owner

// mint returns the fence of a claim made at now: above the previous one, and above every fence of
// this key that was deleted, as long as the clock does not step back behind it.
type mint func(previous uint64) uint64

// begin claims an existing row.
func (r *row) begin(c *Claim, now int64, next mint) Status {
	switch {
	case r.fingerprint != c.Key.Fingerprint:
		return StatusMismatch
	case r.state == StateDone:
		return StatusDone
	case r.state == StateInFlight && r.owner == c.Owner: // sent again after a lost reply
		r.leaseUntil = now + int64(c.Lease)
		return StatusGranted
	case r.state == StateInFlight && r.leaseUntil > now && c.Epoch <= r.fence.Epoch:
		return StatusInFlight
	case r.state == StateInFlight && !c.TakeAbandoned:
		return StatusAbandoned
	case r.state == StateHeld && !c.TakeHeld:
		return StatusHeld
	case c.Epoch < r.fence.Epoch:
		return StatusStale
	}
	r.prior = r.state
	r.grant(c, now, next)
	return StatusGranted
}

// grant makes c the owner of a new attempt.
func (r *row) grant(c *Claim, now int64, next mint) {
	fence := Fence{c.Epoch, c.Fence.N}
	if fence.N == 0 || fence.Compare(r.fence) <= 0 {
		fence.N = next(r.fence.N)
	}
	r.state, r.fence, r.owner, r.fingerprint = StateInFlight, fence, c.Owner, c.Key.Fingerprint
	r.attempt++
	r.begun, r.leaseUntil, r.expires = now, now+int64(c.Lease), now+int64(c.Retention)
}

// complete stores a result in an existing row.
func (r *row) complete(c *Completion, now int64) Status {
	switch {
	case r.owner == c.Owner && r.state == StateDone:
		return StatusGranted
	case r.state == StateDone:
		return StatusDone
	case r.owner != c.Owner && r.owner != nobody:
		return StatusFenced
	}
	r.finish(c, now)
	return StatusGranted
}

func (r *row) finish(c *Completion, now int64) {
	r.state, r.prior, r.owner, r.result, r.checkpoint = StateDone, StateAbsent, c.Owner, c.Result, nil
	r.begun, r.expires = now, now+int64(c.Retention)
}

// completed is the row of a result whose record was lost: nobody else owns the key and the result is true.
func completed(c *Completion, now int64) row {
	r := row{attempt: 1, fence: c.Fence, fingerprint: c.Key.Fingerprint}
	r.finish(c, now)
	return r
}

func (r *row) renew(c *Renewal, now int64) Status {
	if r.state != StateInFlight || r.owner != c.Owner {
		return StatusFenced
	}
	r.leaseUntil, r.expires = now+int64(c.Lease), now+int64(c.Retention)
	if c.Checkpoint != nil {
		r.checkpoint = c.Checkpoint
	}
	return StatusGranted
}

// release ends an attempt. remove says that nothing is left to remember.
func (r *row) release(c *Release, now int64) (s Status, remove bool) {
	switch {
	case r.owner != c.Owner || r.state == StateDone:
		return StatusFenced, false
	case r.state == StateHeld:
		return StatusGranted, false // sent again
	case c.Hold:
		r.state, r.expires = StateHeld, now+int64(c.Retention)
		return StatusGranted, false
	case r.prior == StateAbsent:
		return StatusGranted, true
	}
	// Put back what the attempt before left: its effect is as unknown as it was.
	r.state, r.owner, r.leaseUntil = r.prior, nobody, now
	return StatusGranted, false
}

// held is the row of an attempt whose outcome is unknown and whose record was lost.
func held(c *Release, now int64) row {
	return row{
		state: StateHeld, attempt: 1, fence: c.Fence, owner: c.Owner, fingerprint: c.Key.Fingerprint,
		begun: now, expires: now + int64(c.Retention),
	}
}

// outranks reports whether a record of a peer knows more than r: a result first, then the later attempt, then, of
// one attempt, that it is held, then the later heartbeat. Heartbeats are compared by the time since the
// attempt began, which the way from peer to peer does not change.
func outranks(peer *Record, r *row) bool {
	if (peer.State == StateDone) != (r.state == StateDone) {
		return peer.State == StateDone
	}
	if c := peer.Fence.Compare(r.fence); c != 0 {
		return c > 0
	}
	if peer.State != r.state {
		return peer.State == StateHeld
	}
	return r.state != StateDone && peer.Owner == r.owner && int64(peer.Running+peer.Lease) > r.leaseUntil-r.begun
}

// record returns the row as others see it.
func (r *row) record(now int64) Record {
	return Record{
		State: r.state, Attempt: r.attempt, Fence: r.fence, Owner: r.owner, Fingerprint: r.fingerprint, Prior: r.prior,
		Lease: time.Duration(r.leaseUntil - now), Running: time.Duration(now - r.begun), Retention: time.Duration(r.expires - now),
		Checkpoint: r.checkpoint, Result: r.result,
	}
}

// rowOf is the reverse of record.
func rowOf(r *Record, now int64) row {
	return row{
		state: r.State, attempt: r.Attempt, fence: r.Fence, owner: r.Owner, fingerprint: r.Fingerprint, prior: r.Prior,
		leaseUntil: now + int64(r.Lease), begun: now - int64(r.Running), expires: now + int64(r.Retention),
		checkpoint: r.Checkpoint, result: r.Result,
	}
}
