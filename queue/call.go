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
	var e Envelope
	buf, err := c.envelope(&e, &args, options)
	if err != nil {
		return Receipt{CallID: e.ID}, err
	}
	defer c.free(buf)
	if client, ok := d.(*Client); ok && client != nil {
		return client.deferTraced(ctx, &e) // spares copies of e
	}
	return d.Defer(ctx, e)
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
	var e Envelope
	buf, err := c.envelope(&e, &args, options)
	if err != nil {
		return Receipt{CallID: e.ID}, err
	}
	defer c.free(buf)
	return d.Try(ctx, e, func(ctx context.Context) error { return now(ctx, args) })
}

// envelope fills e with args and options. Its Data is in buf, to be given to free.
func (c Call[A]) envelope(e *Envelope, args *A, options []Option) (buf *arguments[A], err error) {
	now := time.Now().UTC()
	e.Name, e.Time, e.Repeatable, e.Version = c.name, now, c.repeatable, envelopeVersion
	if len(options) > 0 {
		if err := apply(e, options); err != nil {
			return nil, err
		}
	}
	if e.ID == "" {
		e.ID = newID(now)
	}
	if c.name == "" {
		return nil, e.invalid("call", "was not made by Define")
	}
	buf = c.arguments.Get().(*arguments[A])
	if e.Data, err = buf.encode(args); err != nil {
		c.free(buf)
		return nil, e.invalid("arguments", err.Error())
	}
	return buf, nil
}

// free gives buf back unless it has grown out of proportion.
func (c Call[A]) free(buf *arguments[A]) {
	if buf.bytes.Cap() <= 64<<10 {
		c.arguments.Put(buf)
	}
}

// An arguments keeps an encoder and a place for the value, so that encoding allocates nothing but what the value needs.
type arguments[A any] struct {
	value   A
	bytes   bytes.Buffer
	encoder *json.Encoder
}

func newArguments[A any]() *arguments[A] {
	a := &arguments[A]{}
	a.encoder = json.NewEncoder(&a.bytes)
	a.encoder.SetEscapeHTML(false)
	return a
}

// encode returns value as JSON, in a's memory.
func (a *arguments[A]) encode(value *A) ([]byte, error) {
	a.bytes.Reset()
	a.value = *value
	err := a.encoder.Encode(&a.value)
	var zero A
	a.value = zero // keeps nothing of the caller's alive
	b := a.bytes.Bytes()
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	return b, err
}
