package retry

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errNotRun  = &marked{error: errors.New("not run"), notRun: true}
	errUnknown = io.EOF // of unknown outcome by its type, and transient
)

// outcomes are the answers that an Error for several attempts must give.
var outcomes = []struct {
	name            string
	errs            []error
	notRun, unknown bool
}{
	{"unknown then not run", []error{errUnknown, errNotRun}, false, true},
	{"not run then unknown", []error{errNotRun, errUnknown}, false, true},
	{"not run twice", []error{errNotRun, errNotRun}, true, false},
	{"answered", []error{errDown, errDown}, false, false},
	{"answered then not run", []error{errDown, errNotRun}, false, false},
}

func TestRetryAnswersForAllAttempts(t *testing.T) {
	for _, tt := range outcomes {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fn, _ := script(tt.errs...)
				_, err := Do(t.Context(), &Policy{MaxAttempts: len(tt.errs)}, fn)
				checkOutcome(t, err, tt.notRun, tt.unknown, tt.errs)
			})
		})
	}
}

func TestHedgeAnswersForAllAttempts(t *testing.T) {
	for _, tt := range outcomes {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &Hedging[int]{Repeatable: true, Delay: time.Second}
				_, err := Hedge(t.Context(), h, func(ctx context.Context) (int, error) {
					time.Sleep(time.Minute) // both are under way before the first fails
					return 0, tt.errs[From(ctx).Number-1]
				})
				checkOutcome(t, err, tt.notRun, tt.unknown, tt.errs)
			})
		})
	}
}

func checkOutcome(t *testing.T, err error, notRun, unknown bool, errs []error) {
	t.Helper()
	e := asError(t, err, ReasonAttempts)
	if e.NotRun() != notRun || e.OutcomeUnknown() != unknown {
		t.Errorf("NotRun = %t, OutcomeUnknown = %t, want %t, %t", e.NotRun(), e.OutcomeUnknown(), notRun, unknown)
	}
	if e.Attempts != len(errs) || !errors.Is(err, errs[len(errs)-1]) {
		t.Errorf("Error = %+v, want %d attempts, the last with %v", e, len(errs), errs[len(errs)-1])
	}
}
