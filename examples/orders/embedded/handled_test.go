package embedded

import (
	"testing"

	"github.com/holdfast-go/holdfast/failover"
)

// What a call is sent for again counts beside it, where it was sent to be put off: what may run at once is what goes in circles.
func TestPutsTellCopiesFromCircles(t *testing.T) {
	for name, tt := range map[string]struct {
		sent, now int
		given     int // up
		want      Puts
	}{
		"once":                       {sent: 1, want: Puts{Calls: 1}},
		"once, at once":              {sent: 1, now: 1, want: Puts{Calls: 1}},
		"put off three times":        {sent: 3, want: Puts{Calls: 1, Copies: 2}},
		"at once three times":        {sent: 3, now: 3, want: Puts{Calls: 1}},
		"at once, and put off twice": {sent: 3, now: 1, want: Puts{Calls: 1, Copies: 2}},
		"sent, and buried twice":     {sent: 1, given: 2, want: Puts{Calls: 1, Buried: 2}},
	} {
		f := &Fleet{}
		handled := func(what string, times int) {
			if times > 0 {
				f.handles.times[Handled{What: what, Region: West, ID: "c", Second: 7}] = times
			}
		}
		f.handles.times = map[Handled]int{}
		handled(Sent, tt.sent)
		handled(SentNow, tt.now)
		handled(buried, tt.given)
		handled(received, 9)
		got := f.Puts()
		if got[West][7] != tt.want || len(got[West]) != 1 || len(got[East]) != 0 {
			t.Errorf("%s: %+v, want %+v in the seventh second of %s alone", name, got, tt.want, failover.Region(West))
		}
	}
}
