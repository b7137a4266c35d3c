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
	To         string       `json:"to,omitempty"`
	OneWay     bool         `json:"one_way,omitempty"`
	Host       string       `json:"host,omitempty"`
	Op         string       `json:"op,omitempty"`
	Store      string       `json:"store,omitempty"`
	Process    string       `json:"process,omitempty"`
	Mode       *simnet.Mode `json:"mode,omitempty"`
	Share      float64      `json:"share,omitempty"`
	Status     int          `json:"status,omitempty"`
	RetryAfter Duration     `json:"retry_after,omitzero"`
	Delay      Duration     `json:"delay,omitzero"`
	Jitter     Duration     `json:"jitter,omitzero"`
}

// MarshalJSON returns the fault as an object that holds the fields its kind uses.
func (f Fault) MarshalJSON() ([]byte, error) {
	w := wire{
		Kind: f.Kind, Region: f.Region, To: f.To, OneWay: f.OneWay, Host: f.Host, Op: f.Op, Store: f.Store, Process: f.Process,
		Share: f.Share, Status: f.Status, RetryAfter: Duration(f.RetryAfter), Delay: Duration(f.Delay), Jitter: Duration(f.Jitter),
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
		Kind: w.Kind, Region: w.Region, To: w.To, OneWay: w.OneWay, Host: w.Host, Op: w.Op, Store: w.Store, Process: w.Process,
		Share: w.Share, Status: w.Status, RetryAfter: time.Duration(w.RetryAfter), Delay: time.Duration(w.Delay), Jitter: time.Duration(w.Jitter),
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

// unused returns an error for a field that is set and that the kind does not know.
func (f Fault) unused(k kind) error {
	for _, field := range []string{"region", "to", "one_way", "host", "op", "store", "process", "mode", "share", "status", "retry_after", "delay", "jitter"} {
		if !slices.Contains(k.names, field) && !slices.Contains(k.others, field) && f.text(field) != "" {
			return bad(field, "a %s fault has no such field", f.Kind)
		}
	}
	return nil
}

// text returns a field by its JSON name; "" if it has its zero value.
func (f Fault) text(field string) string {
	set := func(v any, zero bool) string {
		if zero {
			return ""
		}
		return fmt.Sprint(v)
	}
	switch field {
	case "region":
		return f.Region
	case "to":
		return f.To
	case "one_way":
		return set(f.OneWay, !f.OneWay)
	case "host":
		return f.Host
	case "op":
		return f.Op
	case "store":
		return f.Store
	case "process":
		return f.Process
	case "mode":
		return set(uint8(f.Mode), f.Mode == 0)
	case "share":
		return set(f.Share, f.Share == 0)
	case "status":
		return set(f.Status, f.Status == 0)
	case "retry_after":
		return set(f.RetryAfter, f.RetryAfter == 0)
	case "delay":
		return set(f.Delay, f.Delay == 0)
	default:
		return set(f.Jitter, f.Jitter == 0)
	}
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
