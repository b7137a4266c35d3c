package storetest

import (
	"context"
	"crypto/rand"
	"iter"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// A Subject is a store to be checked. It is empty, and no other test uses it.
type Subject struct {
	Store idempotency.Store

	// Advance moves the store's clock on by d; it then stands still otherwise. Nil means that the clock
	// runs as time does, and the kit sleeps.
	Advance func(d time.Duration)

	// Lose empties the store, as a restart without persistence does. Nil leaves those cases out, by name.
	Lose func()
}

// New makes a subject. It registers its clean-up with t.
type New func(t *testing.T) Subject

// Run runs every case as a subtest.
func Run(t *testing.T, newSubject New) {
	for name, test := range All() {
		t.Run(name, func(t *testing.T) { test(t, newSubject) })
	}
}

// All yields the cases by name, in the order of the state machine's rows.
func All() iter.Seq2[string, func(*testing.T, New)] {
	return func(yield func(string, func(*testing.T, New)) bool) {
		for _, c := range cases {
			if !yield(c.name, func(t *testing.T, newSubject New) { c.test(newKit(t, newSubject(t))) }) {
				return
			}
		}
	}
}

type testCase struct {
	name string
	test func(*kit)
}

var cases = []testCase{
	{"row 1 an absent key is granted", (*kit).absentKeyIsGranted},
	{"row 1 a key past its retention is granted anew", (*kit).retentionPasses},
	{"row 2 a done key gives its result", (*kit).doneKeyGivesItsResult},
	{"row 2 results of every size and byte come back", (*kit).resultsComeBack},
	{"row 3 another fingerprint is a mismatch in every state", (*kit).mismatch},
	{"row 4 a resent Begin knows itself", (*kit).resentBegin},
	{"row 5 a live lease is in flight", (*kit).inFlight},
	{"row 6 a passed lease is abandoned", (*kit).abandoned},
	{"row 6 a takeover fences the owner before", (*kit).takeover},
	{"row 6a a held key is refused or taken over", (*kit).heldKey},
	{"row 7 a late Complete counts while nobody took over", (*kit).lateComplete},
	{"row 8 Complete of an absent key stores the result", (*kit).completeAbsent},
	{"row 9 a resent Complete is granted", (*kit).resentComplete},
	{"row 10 Complete under another owner is fenced", (*kit).completeFenced},
	{"row 11 Complete after another's result gives that result", (*kit).completeAfterOther},
	{"row 12 Renew extends the owner's lease only", (*kit).renew},
	{"row 12 Renew saves a checkpoint", (*kit).checkpoint},
	{"row 14 Release deletes the owner's claim only", (*kit).release},
	{"row 14 Release puts an abandoned attempt back", (*kit).releaseRestoresAbandoned},
	{"row 14 Release puts a held attempt back", (*kit).releaseRestoresHeld},
	{"row 16 Hold of a lost record holds the key", (*kit).holdAbsent},
	{"a claim for existing keys creates none", (*kit).existing},
	{"a later epoch takes claims of an earlier one", (*kit).epochs},
	{"fences grow over attempts and deletions", (*kit).fencesGrow},
	{"a fence given by a peer is used", (*kit).givenFence},
	{"keys that look alike are different", (*kit).keysAreDistinct},
	{"one of many claims wins", (*kit).oneClaimWins},
	{"row 23 watchers hear of the end", (*kit).watch},
	{"replies lost at every step change nothing", (*kit).lostReplies},
	{"an emptied store keeps no lease", (*kit).emptied},
	{"replica: records are copied unless the target knows more", (*kit).put},
	{"replica: discard spares results and later fences", (*kit).discard},
	{"replica: missed writes are listed until cleared", (*kit).unsynced},
	{"replica: a claim hears of a result that the peer has missed", (*kit).notedWrites},
	{"histories fit the model", (*kit).histories},
	{"histories with lost writes fit the model", (*kit).historiesWithLostWrites},
}

const (
	long  = time.Minute // a lease that no case outlives
	short = 100 * time.Millisecond
	kept  = 10 * time.Minute // retention
)

// A kit is one case's subject with the helpers to talk to it.
type kit struct {
	*testing.T
	Subject
	ctx   context.Context
	clock *clock
}

func newKit(t *testing.T, s Subject) *kit {
	k := &kit{T: t, Subject: s, ctx: t.Context(), clock: &clock{base: time.Now(), move: s.Advance}}
	k.Advance = k.clock.advance
	return k
}

func key(id string) idempotency.Key {
	return idempotency.Key{Scope: "tenant", Op: "POST /orders", ID: id, Fingerprint: idempotency.Raw([]byte("body"))}
}

// newClaim claims key(id) for a new owner that takes nothing over.
func newClaim(id string, lease time.Duration) idempotency.Claim {
	c := idempotency.Claim{Key: key(id), Lease: lease, Retention: kept}
	_, _ = rand.Read(c.Owner[:])
	return c
}

func taking(c idempotency.Claim) idempotency.Claim {
	c.TakeAbandoned, c.TakeHeld = true, true
	return c
}

func (k *kit) begin(c idempotency.Claim, want idempotency.Status) idempotency.Record {
	k.Helper()
	a, err := k.Store.Begin(k.ctx, c)
	if err != nil {
		k.Fatalf("Begin(%q) = %v, want %v", c.Key.ID, err, want)
	}
	if a.Status != want {
		k.Fatalf("Begin(%q) = %v (record %+v), want %v", c.Key.ID, a.Status, a.Record, want)
	}
	return a.Record
}

// grant claims key(id) for a new owner.
func (k *kit) grant(id string, lease time.Duration) idempotency.Holder {
	k.Helper()
	c := taking(newClaim(id, lease))
	return holder(c, k.begin(c, idempotency.StatusGranted))
}

func holder(c idempotency.Claim, r idempotency.Record) idempotency.Holder {
	return idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: r.Fence}
}

func (k *kit) complete(h idempotency.Holder, result string, want idempotency.Status) idempotency.Record {
	k.Helper()
	a, err := k.Store.Complete(k.ctx, idempotency.Completion{Holder: h, Result: []byte(result), Retention: kept})
	if err != nil || a.Status != want {
		k.Fatalf("Complete(%q) = %v, %v, want %v", h.Key.ID, a.Status, err, want)
	}
	return a.Record
}

func (k *kit) renewed(h idempotency.Holder, lease time.Duration, checkpoint []byte, want idempotency.Status) {
	k.Helper()
	s, err := k.Store.Renew(k.ctx, idempotency.Renewal{Holder: h, Lease: lease, Retention: kept, Checkpoint: checkpoint})
	if err != nil || s != want {
		k.Fatalf("Renew(%q) = %v, %v, want %v", h.Key.ID, s, err, want)
	}
}

func (k *kit) released(h idempotency.Holder, hold bool, want idempotency.Status) {
	k.Helper()
	s, err := k.Store.Release(k.ctx, idempotency.Release{Holder: h, Hold: hold, Retention: kept})
	if err != nil || s != want {
		k.Fatalf("Release(%q, hold %t) = %v, %v, want %v", h.Key.ID, hold, s, err, want)
	}
}

// expire lets leases of length short pass.
func (k *kit) expire() { k.Advance(short + short/10) }
