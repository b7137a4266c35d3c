package shed

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Class is how important a request is. Config has no class that is unset: the zero value, in a Config, means its default.
type Class uint8

const (
	classUnset    Class = iota
	Sheddable           // can wait for hours: batch, prefetch
	SheddablePlus       // can wait for minutes
	Critical            // a user waits
	CriticalPlus        // the last to be refused: money, health, safety
)

var classNames = [...]string{"unset", "sheddable", "sheddable-plus", "critical", "critical-plus"}

// String returns "sheddable", "sheddable-plus", "critical" or "critical-plus".
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ParseClass is the inverse of [Class.String].
func ParseClass(s string) (Class, bool) {
	for c := Sheddable; c <= CriticalPlus; c++ {
		if classNames[c] == s {
			return c, true
		}
	}
	return classUnset, false
}

type classKey struct{}

// With returns a context whose request is of class c, for [From], [Shedder.Admit] and outgoing requests.
func With(ctx context.Context, c Class) context.Context {
	return context.WithValue(ctx, classKey{}, c)
}

// From returns the class of ctx's request; ok is false if nothing says it.
func From(ctx context.Context) (c Class, ok bool) {
	c, ok = ctx.Value(classKey{}).(Class)
	return c, ok
}

const (
	// HeaderDeadline is the time a request has left, in milliseconds.
	HeaderDeadline = "Request-Deadline-Ms"

	headerBaggage = "Baggage"
	member        = "holdfast.criticality"
)

// FromHeader returns the class that h claims; ok is false if it claims none or not a class.
func FromHeader(h http.Header) (c Class, ok bool) {
	for _, line := range h[headerBaggage] {
		for len(line) > 0 {
			var item string
			item, line, _ = strings.Cut(line, ",")
			item, _, _ = strings.Cut(item, ";") // properties
			key, value, found := strings.Cut(item, "=")
			if found && strings.TrimSpace(key) == member {
				return ParseClass(strings.TrimSpace(value))
			}
		}
	}
	return classUnset, false
}

// SetHeader makes h claim class c. Other members of the baggage stay.
func SetHeader(h http.Header, c Class) {
	kept := []string{member + "=" + c.String()}
	for _, line := range h[headerBaggage] {
		for item := range strings.SplitSeq(line, ",") {
			key, _, _ := strings.Cut(item, "=")
			if item = strings.TrimSpace(item); item != "" && strings.TrimSpace(key) != member {
				kept = append(kept, item)
			}
		}
	}
	h.Set(headerBaggage, strings.Join(kept, ","))
}

// maxDeadline bounds what is believed of a header.
const maxDeadline = time.Hour

// Left returns the time that h says is left, at most an hour; ok is false if it says nothing that makes sense.
func Left(h http.Header) (left time.Duration, ok bool) {
	values := h[HeaderDeadline]
	if len(values) == 0 {
		return 0, false
	}
	ms, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(max(ms, 0), maxDeadline.Milliseconds())) * time.Millisecond, true
}
