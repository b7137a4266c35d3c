package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/holdfast-go/holdfast/idempotency"
)

// A hooked replica runs something between a caller's step and the store, once.
type hooked struct {
	idempotency.Replica
	beforeBegin, beforeComplete, beforeRenew, afterLoad func()

	corrupt, corruptPrefix string // keys that hold something else, by ID
	badNotes               int    // how many notes cannot be read
}

func (h *hooked) damaged(id string) bool {
	return h.corrupt != "" && id == h.corrupt || h.corruptPrefix != "" && strings.HasPrefix(id, h.corruptPrefix)
}

func once(hook *func()) {
	if do := *hook; do != nil {
		*hook = nil
		do()
	}
}

func (h *hooked) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	once(&h.beforeBegin)
	if h.damaged(c.Key.ID) {
		return idempotency.Answer{}, idempotency.ErrCorrupt
	}
	return h.Replica.Begin(ctx, c)
}

func (h *hooked) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	once(&h.beforeComplete)
	return h.Replica.Complete(ctx, c)
}

func (h *hooked) Unsynced(ctx context.Context) iter.Seq2[idempotency.Mark, error] {
	return func(yield func(idempotency.Mark, error) bool) {
		for range h.badNotes {
			if !yield(idempotency.Mark{}, idempotency.ErrCorrupt) {
				return
			}
		}
		h.Replica.Unsynced(ctx)(yield)
	}
}

func (h *hooked) Renew(ctx context.Context, r idempotency.Renewal) (idempotency.Status, error) {
	once(&h.beforeRenew)
	return h.Replica.Renew(ctx, r)
}

func (h *hooked) Load(ctx context.Context, k idempotency.Key) (idempotency.Record, error) {
	r, err := h.Replica.Load(ctx, k)
	once(&h.afterLoad)
	return r, err
}

func (h *hooked) Put(ctx context.Context, k idempotency.Key, r idempotency.Record) error {
	if h.damaged(k.ID) {
		return idempotency.ErrCorrupt
	}
	return h.Replica.Put(ctx, k, r)
}

// hook puts a hooked replica into a Region.
func (r *region) hook() *hooked {
	h := &hooked{Replica: r.Replica}
	r.Replica = h
	return h
}

func (two *twoRegions) resync(t *testing.T) {
	t.Helper()
	if err := two.Resync(t.Context()); err != nil {
		t.Errorf("Resync = %v", err)
	}
}

// noted fails the test when the writer has notes and UnprotectedSince does not say so.
func (two *twoRegions) noted(t *testing.T) {
	t.Helper()
	if marks := two.east.marks(t); len(marks) != 1 {
		t.Fatalf("marks = %v, want one", marks)
	}
	if two.UnprotectedSince().IsZero() {
		t.Error("UnprotectedSince is zero while a key is noted as missed")
	}
}

func TestUnprotectedSinceOutlastsARacingResync(t *testing.T) {
	bubble(t, "between a copy that failed and its note", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		two.east.hook().beforeRenew = func() {
			two.west.setDown(false)
			two.resync(t) // finds no note yet
		}
		claim(t, two.Regional, key("a"), time.Minute)
		two.noted(t)
	})
	bubble(t, "between the decision to leave the copy out and the write", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		claim(t, two.Regional, key("first"), time.Minute)
		two.east.hook().beforeBegin = func() {
			two.west.setDown(false)
			two.resync(t)
		}
		claim(t, two.Regional, key("a"), time.Minute)
		two.noted(t)
	})
}

func TestResyncBringsBackNoReleasedClaim(t *testing.T) {
	bubble(t, "released between load and put", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		h := claim(t, two.Regional, key("a"), time.Minute)
		two.west.setDown(false)
		time.Sleep(2 * time.Second)
		two.east.hook().afterLoad = func() {
			if s, err := two.Release(t.Context(), idempotency.Release{Holder: h}); err != nil || s != idempotency.StatusGranted {
				t.Errorf("Release = %v, %v", s, err)
			}
		}
		two.resync(t)
		if got := two.west.state(t); got != idempotency.StateAbsent {
			t.Errorf("the replica knows a released key as %v", got)
		}
	})
}

func TestResyncCopiesACheckpoint(t *testing.T) {
	for _, end := range []idempotency.State{idempotency.StateInFlight, idempotency.StateHeld} {
		bubble(t, end.String(), func(t *testing.T) {
			two := newTwoRegions(t)
			h := claim(t, two.Regional, key("a"), time.Minute)
			time.Sleep(5 * time.Second)
			two.west.setDown(true)
			if s, err := two.Renew(t.Context(), idempotency.Renewal{Holder: h, Lease: time.Minute, Retention: time.Hour, Checkpoint: []byte("half")}); err != nil || s != idempotency.StatusGranted {
				t.Fatalf("Renew = %v, %v", s, err)
			}
			two.west.setDown(false)
			time.Sleep(2 * time.Second)
			if end == idempotency.StateHeld {
				_, _ = two.Release(t.Context(), idempotency.Release{Holder: h, Hold: true, Retention: time.Hour})
			}
			two.resync(t)
			r, err := two.west.Replica.Load(t.Context(), key("a"))
			if err != nil || r.State != end || string(r.Checkpoint) != "half" {
				t.Errorf("the replica knows %v with checkpoint %q, %v, want %v with half", r.State, r.Checkpoint, err, end)
			}
		})
	}
}

func TestOneBadKeyKeepsNoOtherFromBeingCopied(t *testing.T) {
	bubble(t, "resync goes on", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.setDown(true)
		for i := range 30 {
			claim(t, two.Regional, key(fmt.Sprint(i)), time.Minute)
		}
		two.west.hook().corrupt = "17"
		two.west.setDown(false)
		if err := two.Resync(t.Context()); !errors.Is(err, idempotency.ErrCorrupt) || two.UnprotectedSince().IsZero() {
			t.Errorf("Resync = %v, unprotected since %v, want an error and a time", err, two.UnprotectedSince())
		}
		for i := range 30 {
			if r, _ := two.west.Replica.Load(t.Context(), key(fmt.Sprint(i))); i != 17 && r.State != idempotency.StateInFlight {
				t.Errorf("key %d: the replica knows %v", i, r.State)
			}
		}
	})
	bubble(t, "the replica counts as there", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.hook().corrupt = "bad"
		claim(t, two.Regional, key("bad"), time.Minute)
		claim(t, two.Regional, key("a"), time.Minute)
		if got := two.west.state(t); got != idempotency.StateInFlight {
			t.Errorf("after a bad key the replica knows the next one as %v", got)
		}
	})
}

// A process that still takes east for the writer ends its attempt after west, in a later epoch, has taken the key over
// without reaching east.
func TestALateWriterGivesWay(t *testing.T) {
	type world struct {
		old, next *idempotency.Regional
		east      *region
		first     idempotency.Holder
		second    idempotency.Holder
	}
	start := func(t *testing.T) world {
		east, west := newRegion(t), newRegion(t)
		as := func(writer string, east idempotency.Store) *idempotency.Regional {
			r, err := idempotency.NewRegional(func() ([]string, string) { return nil, writer }, map[string]idempotency.Store{"east": east, "west": west}, idempotency.RegionalConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		far := &region{Replica: east} // east, as west reaches it
		w := world{old: as("east", east), next: as("west", far), east: far}
		begin := func(r *idempotency.Regional, epoch uint64) idempotency.Holder {
			c := idempotency.Claim{Key: key("a"), Owner: idempotency.Owner{byte(epoch)}, Epoch: epoch, Lease: time.Minute, Retention: time.Hour, TakeAbandoned: true}
			a, err := r.Begin(t.Context(), c)
			if err != nil || a.Status != idempotency.StatusGranted {
				t.Fatalf("Begin in epoch %d = %v, %v", epoch, a.Status, err)
			}
			return idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: a.Record.Fence}
		}
		w.first = begin(w.old, 4)
		far.setDown(true)
		w.second = begin(w.next, 5)
		return w
	}
	complete := func(t *testing.T, r *idempotency.Regional, h idempotency.Holder, result string) idempotency.Answer {
		t.Helper()
		a, err := r.Complete(t.Context(), idempotency.Completion{Holder: h, Result: []byte(result), Retention: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	agree := func(t *testing.T, w world) {
		t.Helper()
		w.east.setDown(false)
		time.Sleep(2 * time.Second)
		if err := w.next.Resync(t.Context()); err != nil {
			t.Error(err)
		}
		for _, r := range []*idempotency.Regional{w.old, w.next} {
			a, err := r.Begin(t.Context(), idempotency.Claim{Key: key("a"), Owner: idempotency.Owner{9}, Existing: true})
			if err != nil || string(a.Record.Result) != "new" {
				t.Errorf("afterwards a Region says %v %q, %v, want the new result", a.Status, a.Record.Result, err)
			}
		}
	}
	bubble(t, "while the new one runs", func(t *testing.T) {
		w := start(t)
		if a := complete(t, w.old, w.first, "old"); a.Status != idempotency.StatusFenced {
			t.Errorf("the late owner's Complete = %v, want fenced", a.Status)
		}
		if a := complete(t, w.next, w.second, "new"); a.Status != idempotency.StatusGranted {
			t.Errorf("the new owner's Complete = %v, want granted", a.Status)
		}
		agree(t, w)
	})
	bubble(t, "after the new one ended", func(t *testing.T) {
		w := start(t)
		complete(t, w.next, w.second, "new")
		if a := complete(t, w.old, w.first, "old"); a.Status != idempotency.StatusDone || string(a.Record.Result) != "new" {
			t.Errorf("the late owner's Complete = %v %q, want done and the new result", a.Status, a.Record.Result)
		}
		agree(t, w)
	})
	bubble(t, "at its next heartbeat", func(t *testing.T) {
		w := start(t)
		s, err := w.old.Renew(t.Context(), idempotency.Renewal{Holder: w.first, Lease: time.Minute, Retention: time.Hour})
		if err != nil || s != idempotency.StatusFenced {
			t.Errorf("the late owner's Renew = %v, %v, want fenced", s, err)
		}
	})
}

func TestNewRegionalRefusesAReplicaWithoutAStore(t *testing.T) {
	_, err := idempotency.NewRegional(func() ([]string, string) { return nil, "east" }, map[string]idempotency.Store{"east": newRegion(t)},
		idempotency.RegionalConfig{ReplicaOf: func(string) string { return "wset" }})
	if err == nil {
		t.Error("a replica Region without a store is accepted: its keys would have no second copy")
	}
}

// die makes the process that calls it end on the spot: no deferred step of the store follows.
func die() { runtime.Goexit() }

// dies runs do, which dies.
func dies(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}

// A process dies when its result is in the writer's Region and not in the replica's.
func TestAResultThatOneRegionHas(t *testing.T) {
	start := func(t *testing.T) (*twoRegions, idempotency.Holder) {
		two := newTwoRegions(t)
		h := claim(t, two.Regional, key("a"), time.Minute)
		two.west.hook().beforeComplete = die
		dies(func() { _, _ = two.Complete(t.Context(), completion(h, "x")) })
		if got := two.west.state(t); got != idempotency.StateInFlight || two.east.state(t) != idempotency.StateDone {
			t.Fatalf("the Regions know the key as %v and %v, want done and in flight", two.east.state(t), got)
		}
		return two, h
	}
	other := func(t *testing.T, two *twoRegions) *twoRegions {
		r, err := idempotency.NewRegional(two.route, map[string]idempotency.Store{"east": two.east, "west": two.west}, idempotency.RegionalConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return &twoRegions{Regional: r, east: two.east, west: two.west}
	}
	replay := func(t *testing.T, r *idempotency.Regional) {
		t.Helper()
		a, err := r.Begin(t.Context(), idempotency.Claim{Key: key("a"), Owner: idempotency.Owner{7}, Lease: time.Minute, Retention: time.Hour, TakeAbandoned: true})
		if err != nil || a.Status != idempotency.StatusDone || string(a.Record.Result) != "x" {
			t.Fatalf("Begin = %v %q, %v, want done and the result", a.Status, a.Record.Result, err)
		}
	}
	bubble(t, "is brought to the other before it is replayed", func(t *testing.T) {
		two, _ := start(t)
		next := other(t, two)
		replay(t, next.Regional)
		if got := two.west.state(t); got != idempotency.StateDone {
			t.Errorf("the replica knows a replayed result as %v", got)
		}
		if marks := two.east.marks(t); len(marks) != 0 || !next.UnprotectedSince().IsZero() {
			t.Errorf("marks %v, unprotected since %v, want none", marks, next.UnprotectedSince())
		}
		two.east.setDown(true)
		two.failover("west")
		replay(t, next.Regional)
	})
	bubble(t, "is brought by the next resync", func(t *testing.T) {
		two, _ := start(t)
		next := other(t, two)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- next.Run(ctx) }()
		time.Sleep(61 * time.Second)
		cancel()
		if err := <-done; err != nil || two.west.state(t) != idempotency.StateDone || len(two.east.marks(t)) != 0 {
			t.Errorf("Run = %v, the replica knows %v, marks %v", err, two.west.state(t), two.east.marks(t))
		}
	})
	bubble(t, "is replayed while the other is out, and said to be unprotected", func(t *testing.T) {
		two, _ := start(t)
		next := other(t, two)
		two.west.setDown(true)
		replay(t, next.Regional)
		replay(t, next.Regional) // the second time the copy is not asked
		if next.UnprotectedSince().IsZero() || len(two.east.marks(t)) != 1 {
			t.Errorf("unprotected since %v, marks %v", next.UnprotectedSince(), two.east.marks(t))
		}
		two.west.setDown(false)
		next.resync(t)
		if got := two.west.state(t); got != idempotency.StateDone || !next.UnprotectedSince().IsZero() {
			t.Errorf("after Resync the replica knows %v, unprotected since %v", got, next.UnprotectedSince())
		}
	})
	bubble(t, "is noted for no longer than it takes", func(t *testing.T) {
		two := newTwoRegions(t)
		h := claim(t, two.Regional, key("a"), time.Minute)
		two.west.hook().beforeComplete = func() {
			if len(two.east.marks(t)) != 1 {
				t.Error("no note while the replica has not answered")
			}
		}
		if _, err := two.Complete(t.Context(), completion(h, "x")); err != nil || len(two.east.marks(t)) != 0 {
			t.Errorf("Complete = %v, marks %v, want none", err, two.east.marks(t))
		}
	})
}

func completion(h idempotency.Holder, result string) idempotency.Completion {
	return idempotency.Completion{Holder: h, Result: []byte(result), Retention: time.Hour}
}

// Keys and notes that are damaged are counted and keep no other from being copied, however many they are.
func TestDamageBlocksNoResync(t *testing.T) {
	bubble(t, "of hundreds of keys", func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		two := &twoRegions{east: newRegion(t), west: newRegion(t), writer: "east"}
		var err error
		two.Regional, err = idempotency.NewRegional(two.route, map[string]idempotency.Store{"east": two.east, "west": two.west},
			idempotency.RegionalConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
		if err != nil {
			t.Fatal(err)
		}
		two.west.setDown(true)
		for i := range 500 {
			claim(t, two.Regional, key(fmt.Sprintf("bad %d", i)), time.Hour)
		}
		for i := range 500 {
			claim(t, two.Regional, key(fmt.Sprint(i)), time.Hour)
		}
		two.west.hook().corruptPrefix = "bad"
		two.east.hook().badNotes = 3
		two.west.setDown(false)
		err = two.Resync(t.Context())
		if !errors.Is(err, idempotency.ErrCorrupt) || !strings.Contains(err.Error(), "503 damaged") {
			t.Errorf("Resync = %v, want 503 damaged", err)
		}
		if got := metrics(t, reader)["regional.damaged"]; got != 503 {
			t.Errorf("regional.damaged = %d, want 503", got)
		}
		for i := range 500 {
			if r, _ := two.west.Replica.Load(t.Context(), key(fmt.Sprint(i))); r.State != idempotency.StateInFlight {
				t.Fatalf("key %d: the replica knows %v", i, r.State)
			}
		}
		two.west.Replica.(*hooked).corruptPrefix = ""
		two.east.Replica.(*hooked).badNotes = 0
		two.resync(t)
		if got := metrics(t, reader)["regional.damaged"]; got != 0 || !two.UnprotectedSince().IsZero() {
			t.Errorf("after the repair regional.damaged = %d, unprotected since %v", got, two.UnprotectedSince())
		}
	})
	bubble(t, "and are looked at once a minute", func(t *testing.T) {
		two := newTwoRegions(t)
		two.west.hook().corruptPrefix = "bad"
		claim(t, two.Regional, key("bad"), time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- two.Run(ctx) }()
		time.Sleep(time.Minute)
		before := two.east.taken()
		time.Sleep(10 * time.Minute)
		if n := two.east.taken() - before; n > 40 {
			t.Errorf("%d steps in ten minutes for one damaged key", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
