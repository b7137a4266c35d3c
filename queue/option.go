package queue

import "time"

// An Option changes one deferred call. Later options win.
type Option struct {
	kind     optionKind
	text     string
	at       time.Time
	duration time.Duration
}

type optionKind uint8

const (
	optionDelay optionKind = iota + 1
	optionAt
	optionID
	optionGroup
	optionTenant
	optionExpires
)

// Delay makes the call run not before d has passed. SQS delays up to 15 minutes by itself; longer delays are hops.
// Negative values, values over a year and any delay on a FIFO queue are errors of Defer.
func Delay(d time.Duration) Option { return Option{kind: optionDelay, duration: d} }

// At makes the call run not before t. A time in the past is no delay.
func At(t time.Time) Option { return Option{kind: optionAt, at: t} }

// ID sets the call ID instead of a new UUIDv7: deferring twice under one ID is one call to a worker with Once.
// 1 to 128 printable ASCII characters.
func ID(id string) Option { return Option{kind: optionID, text: id} }

// Group sets the FIFO group: the calls of a group run one at a time, in order. An error of Defer when the queue is
// not FIFO; required when it is.
func Group(group string) Option { return Option{kind: optionGroup, text: group} }

// Tenant names on whose behalf the call runs, for fairness: SQS fair queues, and PerTenant in the worker.
func Tenant(tenant string) Option { return Option{kind: optionTenant, text: tenant} }

// Expires makes the call pointless after t: a worker that finds it later deletes it, counts it as expired
// and does not run it.
func Expires(t time.Time) Option { return Option{kind: optionExpires, at: t} }

// MaxDelay is the longest delay [Delay] and [At] take.
const MaxDelay = 365 * 24 * time.Hour

// apply fills e and returns the *InvalidError of the first bad option.
func apply(e *Envelope, options []Option) error {
	for i := range options {
		o := &options[i]
		switch o.kind {
		case optionDelay:
			if o.duration < 0 {
				return e.invalid("Delay", "is negative")
			}
			e.NotBefore = time.Time{}
			if o.duration > 0 {
				e.NotBefore = e.Time.Add(o.duration)
			}
		case optionAt:
			e.NotBefore = o.at
		case optionID:
			e.ID = o.text
			if p := checkID(o.text); p != "" {
				return e.invalid("ID", p)
			}
		case optionGroup:
			e.Group = o.text
			if p := checkID(o.text); p != "" {
				return e.invalid("Group", p)
			}
		case optionTenant:
			e.Tenant = o.text
			if p := checkID(o.text); p != "" {
				return e.invalid("Tenant", p)
			}
		case optionExpires:
			e.Expires = o.at
		}
	}
	return e.checkTimes()
}

func (e *Envelope) checkTimes() error {
	if !e.NotBefore.After(e.Time) {
		e.NotBefore = time.Time{}
	}
	switch {
	case e.NotBefore.Sub(e.Time) > MaxDelay:
		return e.invalid("Delay", "is longer than a year")
	case e.Expires.IsZero():
		return nil
	case !e.Expires.After(e.Time):
		return e.invalid("Expires", "has passed")
	case e.Expires.Before(e.NotBefore):
		return e.invalid("Expires", "is before the call may run")
	}
	return nil
}

func (e *Envelope) invalid(field, problem string) error {
	return &InvalidError{Call: e.Name, CallID: e.ID, Field: field, Problem: problem}
}
