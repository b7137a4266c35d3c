package retryafter

import (
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		h    http.Header
		want time.Duration
		ok   bool
	}{
		{"none", header(), 0, false},
		{"empty", header("Retry-After", " "), 0, false},
		{"seconds", header("Retry-After", "120"), 2 * time.Minute, true},
		{"zero", header("Retry-After", "0"), 0, true},
		{"surrounded by blanks", header("Retry-After", " 7 "), 7 * time.Second, true},
		{"negative", header("Retry-After", "-1"), 0, false},
		{"fraction", header("Retry-After", "1.5"), 0, false},
		{"years", header("Retry-After", "99999999999999999999999"), time.Duration(maxSeconds) * time.Second, true},
		{"words", header("Retry-After", "soon"), 0, false},
		{"date", header("Retry-After", "Sun, 01 Mar 2026 12:00:30 GMT"), 30 * time.Second, true},
		{"date in the past", header("Retry-After", "Sun, 01 Mar 2026 11:00:00 GMT"), 0, true},
		{"RFC 850 date", header("Retry-After", "Sunday, 01-Mar-26 12:01:00 GMT"), time.Minute, true},
		{"asctime date", header("Retry-After", "Sun Mar  1 12:00:05 2026"), 5 * time.Second, true},
		{"by the server's clock", header("Retry-After", "Sun, 01 Mar 2026 09:00:30 GMT", "Date", "Sun, 01 Mar 2026 09:00:00 GMT"), 30 * time.Second, true},
		{"with a broken Date", header("Retry-After", "Sun, 01 Mar 2026 12:00:30 GMT", "Date", "today"), 30 * time.Second, true},
		{"year 9999", header("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), math.MaxInt64, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := Parse(tt.h, now); got != tt.want || ok != tt.ok {
				t.Errorf("Parse(%v) = %v, %t, want %v, %t", tt.h, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "-1", "1.5", "99999999999999999999", "Sun, 01 Mar 2026 12:00:30 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Sunday, 01-Mar-26 12:01:00 GMT", "\x00"} {
		f.Add(seed, "")
		f.Add(seed, "Sun, 01 Mar 2026 12:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		wait, ok := Parse(http.Header{"Retry-After": {value}, "Date": {date}}, now)
		if wait < 0 || !ok && wait != 0 {
			t.Errorf("Parse(%q, %q) = %v, %t", value, date, wait, ok)
		}
		if n, err := strconv.ParseUint(value, 10, 32); err == nil && (!ok || wait != time.Duration(n)*time.Second) {
			t.Errorf("Parse(%q) = %v, %t, want %d seconds", value, wait, ok, n)
		}
	})
}
