package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// A Call is a typed handle of a deferred call: the one value both sides share. Arguments travel as JSON.
type Call[A any] struct {
	name       string
	repeatable bool
	arguments  *sync.Pool // of *arguments[A]
}

// A CallOption changes a [Call] at its definition.
type CallOption struct{ repeatable bool }

// Repeatable declares that running the call twice is as good as once. [Call.Try] then defers after an unknown
// outcome even without Once, and a worker's Once may run it again when a drain or time-out stopped it.
func Repeatable() CallOption { return CallOption{repeatable: true} }

// Define makes a handle for calls of the given name, such as "billing.charge.v1": a name with a version, because
// messages outlive deployments. It panics if the name has other characters than letters, digits, '.', '_' and '-',
// or more than 100. Define the same name with the same type on both sides. Arguments are encoded and decoded through
// a pointer to A, so that methods such as MarshalJSON may have pointer receivers.
func Define[A any](name string, options ...CallOption) Call[A] {
	if p := checkName(name); p != "" {
		panic(fmt.Sprintf("queue: Define(%q): name %s", name, p))
	}
	c := Call[A]{name: name, arguments: &sync.Pool{New: func() any { return newArguments[A]() }}}
	for _, o := range options {
		c.repeatable = c.repeatable || o.repeatable
	}
	return c
}

// Name returns the name given to [Define].
func (c Call[A]) Name() string { return c.name }

// A Deferrer takes calls: a [*Client], or queuetest's Recorder.
type Deferrer interface {
	// Defer puts the call in a queue or spool. It may use e.Data only until it returns.
	Defer(ctx context.Context, e Envelope) (Receipt, error)

	// Try runs now, and defers the call when now did not run or may safely run again.
	Try(ctx context.Context, e Envelope, now func(context.Context) error) (Receipt, error)
}

// Defer puts the call in a queue and returns how safe it is there. It blocks until a queue or the spool
// has acknowledged it, at most until ctx ends.
//
// Errors: [*InvalidError] for arguments or options no queue can carry; [*NotDeferredError], matching
// [ErrNotDeferred], when nothing took it: its outcome says whether a copy may exist nevertheless, and deferring
// again with [ID](receipt.CallID) is safe either way. The receipt names the call ID in every case.
func (c Call[A]) Defer(ctx context.Context, d Deferrer, args A, options ...Option) (Receipt, error) {
	buf := c.take()
	if err := buf.fill(c, args, options); err != nil {
		defer c.free(buf)
		return Receipt{CallID: buf.envelope.ID}, err
	}
	if client, ok := d.(*Client); ok {
		return c.deferOn(ctx, client, buf)
	}
	defer c.free(buf)
	return d.Defer(ctx, buf.envelope)
}

// deferOn is Client.Defer, which gives buf back before it waits: the next call finds it in the processor's cache.
func (c Call[A]) deferOn(ctx context.Context, client *Client, buf *arguments[A]) (r Receipt, err error) {
	var d deferral
	ctx, err = d.begin(ctx, client, &buf.envelope)
	c.free(buf)
	if err == nil {
		err = d.finish(ctx, &r)
	}
	return r, d.end(&r, err)
}

// Try runs now and, if that did not run, defers the call under the same ID:
//
//   - nil: the receipt says [ViaRan].
//   - An error whose outcome is not run (a breaker's refusal, a failed dial): deferred.
//   - A permanent error, or the caller's own cancel: returned; nothing is deferred.
//   - Any other error, or an unknown outcome: deferred if the client has Once or the call is [Repeatable], because then
//     a second run is recognised or harmless. Otherwise returned, with Receipt.Ambiguous, and nothing is deferred.
//
// With ClientConfig.Once, now runs under the key "<call name>/<call ID>", the same that the worker uses. When
// ctx's deadline ended now, the call is still deferred, within SendTimeout.
func (c Call[A]) Try(ctx context.Context, d Deferrer, args A, now func(context.Context, A) error, options ...Option) (Receipt, error) {
	buf := c.take()
	defer c.free(buf)
	if err := buf.fill(c, args, options); err != nil {
		return Receipt{CallID: buf.envelope.ID}, err
	}
	run := func(ctx context.Context) error { return now(ctx, args) }
	if client, ok := d.(*Client); ok {
		return client.try(ctx, &buf.envelope, run)
	}
	return d.Try(ctx, buf.envelope, run)
}

// take returns an empty buffer, to be given to free.
func (c Call[A]) take() *arguments[A] {
	if c.arguments == nil { // was not made by Define
		return newArguments[A]()
	}
	return c.arguments.Get().(*arguments[A])
}

// free gives buf back unless it has grown out of proportion.
func (c Call[A]) free(buf *arguments[A]) {
	if c.arguments != nil && buf.bytes.Cap() <= 64<<10 {
		buf.envelope = Envelope{}
		c.arguments.Put(buf)
	}
}

// An arguments is what making the message of a call needs: its envelope, which is too large for the stack of everybody who
// waits, and an encoder with a place for the value, so that encoding allocates nothing but what the value needs.
type arguments[A any] struct {
	envelope Envelope
	value    A
	bytes    bytes.Buffer
	encoder  *json.Encoder
}

func newArguments[A any]() *arguments[A] {
	a := &arguments[A]{}
	a.encoder = json.NewEncoder(&a.bytes)
	a.encoder.SetEscapeHTML(false)
	return a
}

// fill makes the envelope of a call with args and options.
func (a *arguments[A]) fill(c Call[A], args A, options []Option) (err error) {
	e := &a.envelope
	e.Name, e.Time, e.Repeatable, e.Version = c.name, time.Now().UTC(), c.repeatable, envelopeVersion
	if len(options) > 0 {
		if err := apply(e, options); err != nil {
			return err
		}
	}
	if e.ID == "" {
		e.ID = newID(e.Time)
	}
	if c.name == "" {
		return e.invalid("call", "was not made by Define")
	}
	if e.Data, err = a.encode(args); err != nil {
		return e.invalid("arguments", err.Error())
	}
	return nil
}

// encode returns value as JSON, in a's memory.
func (a *arguments[A]) encode(value A) ([]byte, error) {
	a.bytes.Reset()
	a.value = value
	err := a.encoder.Encode(&a.value)
	var zero A
	a.value = zero // keeps nothing of the caller's alive
	b := a.bytes.Bytes()
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	return b, err
}
