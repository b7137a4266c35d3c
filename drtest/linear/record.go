package linear

import (
	"slices"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Record runs one call of an object and records it under a key of it. Client says who calls, for pictures. Input and
// output are as the object's model understands them and must not change afterwards. A call that has not returned when the World ends, or
// that ends its goroutine, is one of unknown outcome. Record returns what call returned.
func Record(w *drtest.World, object, key string, client int, input any, call func() (output any, err error)) (any, error) {
	c := history.Call{Object: object, Key: key, Client: client, Input: input, Start: w.Elapsed()}
	end := w.History().BeginCall(c)
	output, err := call()
	if err != nil && notRun(err) {
		end(nil)
		return output, err
	}
	c.Output, c.End, c.Known = output, w.Elapsed(), err == nil
	end(&c)
	return output, err
}

// notRun reports whether an error says that the call did nothing.
func notRun(err error) bool {
	return outcome.Of(err) == outcome.NotRun || refused(err)
}

// refused reports whether a store of a World refused the call. Of several errors, as of a client that tries one store
// after the other, all must say that nothing was done.
func refused(err error) bool {
	for err != nil {
		if err == drtest.ErrReadOnly || err == drtest.ErrFenced { //nolint:errorlint // the chain is walked here
			return true
		}
		switch e := err.(type) { //nolint:errorlint // as above
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !notRun(err) })
		default:
			return false
		}
	}
	return false
}

// Registers are the keys of one object, each of which holds one value or none. It is safe for concurrent use.
type Registers struct {
	w    *drtest.World
	name string
}

// NewRegisters returns the registers of an object. In the beginning they hold nothing.
func NewRegisters(w *drtest.World, name string) *Registers { return &Registers{w, name} }

// step is what a call of a register does.
type step uint8

const (
	stepRead step = iota
	stepWrite
	stepDelete
	stepSwap
)

// input is what a register is asked.
type input struct {
	step     step
	from, to value
}

// value is what a register holds; the zero value is nothing.
type value struct {
	text string
	ok   bool
}

// output is what a register answers.
type output struct {
	value   value // of a read
	swapped bool  // of a swap
}

// Write records that a client sets a key, by a call that returns nil if it did.
func (r *Registers) Write(client int, key, text string, call func() error) error {
	return r.record(client, key, input{step: stepWrite, to: value{text, true}}, func() (output, error) { return output{}, call() })
}

// Delete records that a client empties a key.
func (r *Registers) Delete(client int, key string, call func() error) error {
	return r.record(client, key, input{step: stepDelete}, func() (output, error) { return output{}, call() })
}

// Read records that a client reads a key. It returns what call returned.
func (r *Registers) Read(client int, key string, call func() (text string, ok bool, err error)) (text string, ok bool, err error) {
	err = r.record(client, key, input{step: stepRead}, func() (output, error) {
		var e error
		text, ok, e = call()
		return output{value: value{text, ok}}, e
	})
	return text, ok, err
}

// Swap records that a client sets a key to another value if it holds one that it expects. It returns what call returned.
func (r *Registers) Swap(client int, key, from, to string, call func() (swapped bool, err error)) (swapped bool, err error) {
	err = r.record(client, key, input{stepSwap, value{from, true}, value{to, true}}, func() (output, error) {
		var e error
		swapped, e = call()
		return output{swapped: swapped}, e
	})
	return swapped, err
}

func (r *Registers) record(client int, key string, in input, call func() (output, error)) error {
	_, err := Record(r.w, r.name, key, client, in, func() (any, error) { return call() })
	return err
}
