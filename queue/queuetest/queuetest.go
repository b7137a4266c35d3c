// Package queuetest has what tests of code that defers calls need: a [Recorder] in place of a client, and the conformance
// kit [TestTransport] for implementers of [queue.Transport].
package queuetest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/holdfast-go/holdfast/queue"
)

// A Recorder is a [queue.Deferrer] that keeps calls instead of sending them. The zero value is ready to use, and safe
// for concurrent use.
//
//	var rec queuetest.Recorder
//	placeOrder(ctx, &rec, order)
//	if got := queuetest.Deferred(t, &rec, Charge); len(got) != 1 || got[0].Cents != 4200 { … }
type Recorder struct {
	// Err, if set, is returned by every Defer, as a *queue.NotDeferredError.
	Err error

	mu    sync.Mutex // guards calls
	calls []queue.Envelope
}

// Defer implements [queue.Deferrer].
func (r *Recorder) Defer(_ context.Context, e queue.Envelope) (queue.Receipt, error) {
	if r.Err != nil {
		return queue.Receipt{CallID: e.ID}, &queue.NotDeferredError{Call: e.Name, CallID: e.ID, Err: r.Err}
	}
	e.Data = slices.Clone(e.Data) // ours only until we return
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, e)
	return queue.Receipt{CallID: e.ID, Via: queue.ViaMemory}, nil
}

// Try implements [queue.Deferrer]: it runs now and records the call if that fails.
func (r *Recorder) Try(ctx context.Context, e queue.Envelope, now func(context.Context) error) (queue.Receipt, error) {
	if now(ctx) == nil {
		return queue.Receipt{CallID: e.ID, Via: queue.ViaRan}, nil
	}
	return r.Defer(ctx, e)
}

// Calls returns the envelopes of all recorded calls, in order.
func (r *Recorder) Calls() []queue.Envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Deferred returns the arguments of the recorded calls of one kind, in order.
func Deferred[A any](t testing.TB, r *Recorder, call queue.Call[A]) []A {
	t.Helper()
	var all []A
	for _, e := range r.Calls() {
		if e.Name != call.Name() {
			continue
		}
		var args A
		if err := json.Unmarshal(e.Data, &args); err != nil {
			t.Errorf("queuetest: call %s: %v", e.ID, err)
		}
		all = append(all, args)
	}
	return all
}
