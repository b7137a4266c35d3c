package embedded

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/retry"
)

// answering answers every request with 200.
type answering struct{}

func (answering) RoundTrip(*http.Request) (*http.Response, error) {
	return httptest.NewRecorder().Result(), nil
}

// An attempt that repeats a request is told from one whose attempts before were refused on their way out: that is the first.
func TestOnlyWhatWasSentIsRepeated(t *testing.T) {
	refused := holdfast.NotRun(errors.New("refused by a breaker"))
	for name, tt := range map[string]struct {
		sends []bool // by the attempt
		want  []bool // Again, by the request
	}{
		"one attempt":                        {sends: []bool{true}, want: []bool{false}},
		"three":                              {sends: []bool{true, true, true}, want: []bool{false, true, true}},
		"the first two are refused":          {sends: []bool{false, false, true}, want: []bool{false}},
		"the first is refused":               {sends: []bool{false, true, true}, want: []bool{false, true}},
		"the second is refused":              {sends: []bool{true, false, true}, want: []bool{false, true}},
		"all are refused, and none is noted": {sends: []bool{false}, want: nil},
	} {
		log := &requestLog{}
		sends := tt.sends
		policy := &retry.Policy{Name: "payments", MaxAttempts: len(sends), Backoff: retry.Constant(0), Budget: retry.NoBudget}
		err := policy.Do(t.Context(), func(ctx context.Context) error {
			send := sends[0]
			sends = sends[1:]
			if !send {
				return refused
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://payments.internal/charges", nil)
			r.Header.Set("Idempotency-Key", "charge-1")
			_, err := counted{answering{}, log, "p, life 1", "p", ofOrder}.RoundTrip(r)
			return errors.Join(err, refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("%s: %v, want that it was refused", name, err)
		}
		var got []bool
		for _, r := range log.requests {
			got = append(got, r.Again)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
			continue
		}
		for i, again := range got {
			if again != tt.want[i] {
				t.Errorf("%s: request %d repeats another: %t, want %t", name, i+1, again, tt.want[i])
			}
		}
	}
}
