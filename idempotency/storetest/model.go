package storetest

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-go/holdfast/idempotency"
)

// The model is the row table again, written for one key and for an observer who knows only when steps were sent and
// answered. Whether a lease had passed he knows only within these bounds; in between the model takes either answer.

// tick is the coarsest that a store may count leases in.
const tick = int64(time.Millisecond)

type step uint8

const (
	stepBegin step = iota
	stepComplete
	stepRenew
	stepRelease
	stepHold
	stepSnapshot // the record as it is now is what a restore brings back
	stepRestore  // writes since the snapshot are lost
)

var stepNames = [...]string{"begin", "complete", "renew", "release", "hold", "snapshot", "restore"}

type modelInput struct {
	step        step
	owner       int
	take        bool
	lease       int64
	value       string // result or checkpoint
	fence       idempotency.Fence
	call        int64
	fingerprint int
}

type modelOutput struct {
	status  idempotency.Status
	attempt int
	prior   idempotency.State
	saved   string
	result  string
	fence   idempotency.Fence
	ret     int64 // the store's clock read at most this
}

// modelState is what may be known of the key. Fields that a state does not use are zero, so that equal
// knowledge compares equal.
type modelState struct {
	state, prior idempotency.State
	attempt      int
	owner        int // 0 for nobody
	fingerprint  int
	fence        idempotency.Fence
	leaseMin     int64 // the lease has certainly not passed before
	leaseMax     int64 // and certainly has after
	saved        string
	result       string
	snapshot     *modelState
}

var model = porcupine.Model{
	Init: func() any { return modelState{} },
	Step: func(state, in, out any) (bool, any) {
		next, ok := state.(modelState).step(in.(modelInput), out.(modelOutput))
		return ok, next
	},
	Equal: func(a, b any) bool { return equalStates(a.(modelState), b.(modelState)) },
	DescribeOperation: func(in, out any) string {
		i, o := in.(modelInput), out.(modelOutput)
		return fmt.Sprintf("%v by owner %d, fingerprint %d, take %t, lease %v in [%d, %d] -> %v, attempt %d, prior %v, saved %q, result %q, %v",
			stepNames[i.step], i.owner, i.fingerprint, i.take, time.Duration(i.lease), i.call, o.ret, o.status, o.attempt, o.prior, o.saved, o.result, o.fence)
	},
}

func equalStates(a, b modelState) bool {
	if (a.snapshot == nil) != (b.snapshot == nil) || a.snapshot != nil && *a.snapshot != *b.snapshot {
		return false
	}
	a.snapshot, b.snapshot = nil, nil
	return a == b
}

// step returns the state that follows s if the store answered out. ok is false if it may not answer so.
func (s modelState) step(in modelInput, out modelOutput) (modelState, bool) {
	switch in.step {
	case stepBegin:
		return s.begin(in, out)
	case stepComplete:
		return s.complete(in, out)
	case stepRenew:
		return s.renew(in, out)
	case stepRelease, stepHold:
		return s.release(in, out)
	case stepSnapshot:
		saved := s
		saved.snapshot = nil
		s.snapshot = &saved
		return s, true
	}
	restored := *s.snapshot
	restored.snapshot = s.snapshot
	restored.leaseMin, restored.leaseMax = 0, math.MaxInt64 // measured anew when it came back
	if restored.state != idempotency.StateInFlight {
		restored.leaseMin, restored.leaseMax = 0, 0
	}
	return restored, true
}

// only returns s as the state that follows if ok.
func only(ok bool, s modelState) (modelState, bool) { return s, ok }

func (s modelState) begin(in modelInput, out modelOutput) (modelState, bool) {
	inFlight := s.state == idempotency.StateInFlight
	mayLive, mayPass := inFlight && in.call <= s.leaseMax, inFlight && out.ret >= s.leaseMin
	switch out.status {
	case idempotency.StatusMismatch:
		return only(s.state != idempotency.StateAbsent && s.fingerprint != in.fingerprint, s)
	case idempotency.StatusDone:
		return only(s.state == idempotency.StateDone && s.fingerprint == in.fingerprint && s.result == out.result, s)
	case idempotency.StatusInFlight:
		return only(mayLive && s.owner != in.owner && s.fingerprint == in.fingerprint, s)
	case idempotency.StatusAbandoned:
		return only(mayPass && !in.take && s.owner != in.owner && s.fingerprint == in.fingerprint, s)
	case idempotency.StatusHeld:
		return only(s.state == idempotency.StateHeld && !in.take && s.fingerprint == in.fingerprint, s)
	case idempotency.StatusGranted:
		return s.granted(in, out, mayPass)
	}
	return s, false
}

func (s modelState) granted(in modelInput, out modelOutput, mayPass bool) (modelState, bool) {
	resent := s.state == idempotency.StateInFlight && s.owner == in.owner
	switch {
	case s.state != idempotency.StateAbsent && s.fingerprint != in.fingerprint, s.state == idempotency.StateDone:
		return s, false
	case resent && (out.attempt != s.attempt || out.fence != s.fence):
		return s, false
	case !resent && s.state != idempotency.StateAbsent && (!in.take || s.state == idempotency.StateInFlight && !mayPass):
		return s, false
	case !resent && s.state != idempotency.StateAbsent && out.fence.Compare(s.fence) <= 0:
		return s, false
	}
	if !resent {
		s.prior = s.state
		s.attempt++
	}
	s.state, s.owner, s.fingerprint, s.fence = idempotency.StateInFlight, in.owner, in.fingerprint, out.fence
	s.leaseMin, s.leaseMax = in.call+in.lease-tick, out.ret+in.lease+tick
	return only(out.attempt == s.attempt && out.prior == s.prior && out.saved == s.saved, s)
}

func (s modelState) complete(in modelInput, out modelOutput) (modelState, bool) {
	done := s
	done.state, done.prior, done.owner, done.result, done.saved = idempotency.StateDone, idempotency.StateAbsent, in.owner, in.value, ""
	done.leaseMin, done.leaseMax = 0, 0
	switch {
	case s.state == idempotency.StateAbsent:
		done.attempt, done.fingerprint, done.fence = 1, in.fingerprint, in.fence
		return only(out.status == idempotency.StatusGranted, done)
	case s.state == idempotency.StateDone && s.owner == in.owner:
		return only(out.status == idempotency.StatusGranted, s)
	case s.state == idempotency.StateDone:
		return only(out.status == idempotency.StatusDone && out.result == s.result, s)
	case s.owner == in.owner || s.owner == 0:
		return only(out.status == idempotency.StatusGranted, done)
	}
	return only(out.status == idempotency.StatusFenced, s)
}

func (s modelState) renew(in modelInput, out modelOutput) (modelState, bool) {
	if s.state != idempotency.StateInFlight || s.owner != in.owner {
		return only(out.status == idempotency.StatusFenced, s)
	}
	s.leaseMin, s.leaseMax = in.call+in.lease-tick, out.ret+in.lease+tick
	if in.value != "" {
		s.saved = in.value
	}
	return only(out.status == idempotency.StatusGranted, s)
}

func (s modelState) release(in modelInput, out modelOutput) (modelState, bool) {
	hold := in.step == stepHold
	switch {
	case s.state == idempotency.StateAbsent && !hold:
		return only(out.status == idempotency.StatusAbsent, s)
	case s.state == idempotency.StateAbsent:
		snapshot := s.snapshot
		s = modelState{state: idempotency.StateHeld, attempt: 1, owner: in.owner, fingerprint: in.fingerprint, fence: in.fence, snapshot: snapshot}
		return only(out.status == idempotency.StatusGranted, s)
	case s.owner != in.owner || s.state == idempotency.StateDone:
		return only(out.status == idempotency.StatusFenced, s)
	case s.state == idempotency.StateHeld:
		return only(out.status == idempotency.StatusGranted, s)
	case hold:
		s.state, s.leaseMin, s.leaseMax = idempotency.StateHeld, 0, 0
	case s.prior == idempotency.StateAbsent:
		s = modelState{snapshot: s.snapshot}
	default: // what the attempt before left is put back
		s.state, s.owner, s.leaseMin, s.leaseMax = s.prior, 0, 0, 0
	}
	return only(out.status == idempotency.StatusGranted, s)
}

// check reports whether the history of one key fits the model.
func check(history []porcupine.Operation) bool { return porcupine.CheckOperations(model, history) }
