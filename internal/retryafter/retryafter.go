// Package retryafter reads the Retry-After header (RFC 9110, section 10.2.3).
package retryafter

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// Parse returns the wait that h asks for, in seconds or as a date, and whether it asks for one. A date is compared with the
// header's own Date if there is one, so that the clocks of both sides need not agree, else with now. Dates in the
// past are a wait of zero; a number too large for a Duration is the largest.
func Parse(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	if wait, ok = seconds(value); ok {
		return wait, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return max(0, at.Sub(now)), true
}

const maxSeconds = int64(math.MaxInt64 / time.Second)

// seconds reads digits alone: no sign, no fraction.
func seconds(value string) (time.Duration, bool) {
	var n int64
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > maxSeconds {
			n = maxSeconds
		}
	}
	return time.Duration(n) * time.Second, true
}
