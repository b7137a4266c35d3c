package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A wire is a Fault in JSON.
type wire struct {
	Kind       Kind         `json:"kind"`
	Region     string       `json:"region,omitempty"`
	Zone       string       `json:"zone,omitempty"`
	To         string       `json:"to,omitempty"`
	OneWay     bool         `json:"one_way,omitempty"`
	Host       string       `json:"host,omitempty"`
	Op         string       `json:"op,omitempty"`
	Store      string       `json:"store,omitempty"`
	Process    string       `json:"process,omitempty"`
	Mode       *simnet.Mode `json:"mode,omitempty"`
	Failure    Failure      `json:"failure,omitempty"`
	Share      float64      `json:"share,omitempty"`
	Status     int          `json:"status,omitempty"`
	RetryAfter Duration     `json:"retry_after,omitzero"`
	Delay      Duration     `json:"delay,omitzero"`
	Jitter     Duration     `json:"jitter,omitzero"`
	PerSecond  float64      `json:"per_second,omitempty"`
	Recovery   Duration     `json:"recovery,omitzero"`
}

// MarshalJSON returns the fault as an object that holds the fields its kind uses.
func (f Fault) MarshalJSON() ([]byte, error) {
	w := wire{
		Kind: f.Kind, Region: f.Region, Zone: f.Zone, To: f.To, OneWay: f.OneWay, Host: f.Host, Op: f.Op, Store: f.Store, Process: f.Process,
		Failure: f.Failure, Share: f.Share, Status: f.Status, RetryAfter: Duration(f.RetryAfter), Delay: Duration(f.Delay),
		Jitter: Duration(f.Jitter), PerSecond: f.PerSecond, Recovery: Duration(f.Recovery),
	}
	if f.Mode != 0 {
		w.Mode = &f.Mode
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads a fault. Fields no fault has are an error. It does not validate.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var w wire
	if err := Strict(data, &w); err != nil {
		return err
	}
	*f = Fault{
		Kind: w.Kind, Region: w.Region, Zone: w.Zone, To: w.To, OneWay: w.OneWay, Host: w.Host, Op: w.Op, Store: w.Store, Process: w.Process,
		Failure: w.Failure, Share: w.Share, Status: w.Status, RetryAfter: time.Duration(w.RetryAfter), Delay: time.Duration(w.Delay),
		Jitter: time.Duration(w.Jitter), PerSecond: w.PerSecond, Recovery: time.Duration(w.Recovery),
	}
	if w.Mode != nil {
		f.Mode = *w.Mode
	}
	return nil
}

// Strict decodes one JSON value into v and refuses unknown fields and what follows.
func Strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more after the value")
	}
	return nil
}

// A field is one of a fault, under its JSON name.
type field struct {
	name string
	text func(Fault) string // "" if it has its zero value
}

// fields are all but the kind.
var fields = []field{
	{"region", func(f Fault) string { return f.Region }},
	{"zone", func(f Fault) string { return f.Zone }},
	{"to", func(f Fault) string { return f.To }},
	{"one_way", func(f Fault) string { return set(f.OneWay) }},
	{"host", func(f Fault) string { return f.Host }},
	{"op", func(f Fault) string { return f.Op }},
	{"store", func(f Fault) string { return f.Store }},
	{"process", func(f Fault) string { return f.Process }},
	{"mode", func(f Fault) string { return set(uint8(f.Mode)) }},
	{"failure", func(f Fault) string { return string(f.Failure) }},
	{"share", func(f Fault) string { return set(f.Share) }},
	{"status", func(f Fault) string { return set(f.Status) }},
	{"retry_after", func(f Fault) string { return set(f.RetryAfter) }},
	{"delay", func(f Fault) string { return set(f.Delay) }},
	{"jitter", func(f Fault) string { return set(f.Jitter) }},
	{"per_second", func(f Fault) string { return set(f.PerSecond) }},
	{"recovery", func(f Fault) string { return set(f.Recovery) }},
}

// set returns a value as text; "" if it is zero.
func set[T comparable](v T) string {
	var zero T
	if v == zero {
		return ""
	}
	return fmt.Sprint(v)
}

// unused returns an error for a field that is set and that the kind does not know.
func (f Fault) unused(k kind) error {
	for _, x := range fields {
		if !slices.Contains(k.names, x.name) && !slices.Contains(k.others, x.name) && x.text(f) != "" {
			return bad(x.name, "a %s fault has no such field", f.Kind)
		}
	}
	return nil
}

// missing returns an error for a field that the kind needs and that is not set.
func (f Fault) missing(k kind) error {
	for _, x := range fields {
		if slices.Contains(k.names, x.name) && x.text(f) == "" {
			return bad(x.name, "missing")
		}
	}
	return nil
}

// Go returns the Go expression that makes the fault.
func (f Fault) Go() string {
	if k, ok := kinds[f.Kind]; ok {
		return k.code(f)
	}
	return fmt.Sprintf("fault.Fault{Kind: %q}", string(f.Kind))
}

// Duration is a time.Duration that is text in JSON ("1m30s") and an expression as a string
// ("90*time.Second").
type Duration time.Duration

// MarshalText returns the duration as time.ParseDuration reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// String returns the shortest Go expression for the duration.
func (d Duration) String() string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{
		{time.Hour, "time.Hour"},
		{time.Minute, "time.Minute"},
		{time.Second, "time.Second"},
		{time.Millisecond, "time.Millisecond"},
		{time.Microsecond, "time.Microsecond"},
		{time.Nanosecond, "time.Nanosecond"},
	} {
		if n := time.Duration(d) / unit.size; d != 0 && time.Duration(d)%unit.size == 0 {
			return strings.TrimPrefix(fmt.Sprintf("%d*%s", n, unit.name), "1*")
		}
	}
	return "0"
}
