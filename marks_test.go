package holdfast

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

var errPlain = errors.New("plain")

func TestMarksKeepTheErrorReachable(t *testing.T) {
	typed := &TimeoutError{After: time.Second, Err: errPlain}
	marks := map[string]func(error) error{
		"Permanent": Permanent, "NotRun": NotRun, "Unknown": Unknown,
		"After": func(err error) error { return After(err, time.Second) },
	}
	for name, mark := range marks {
		t.Run(name, func(t *testing.T) {
			if mark(nil) != nil {
				t.Errorf("%s(nil) is not nil", name)
			}
			err := mark(typed)
			if !errors.Is(err, errPlain) {
				t.Errorf("errors.Is(%v, errPlain) = false", err)
			}
			if got, ok := errors.AsType[*TimeoutError](err); !ok || got != typed {
				t.Errorf("errors.AsType(%v) = %v, %t", err, got, ok)
			}
		})
	}
}

func TestOutcomeOf(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want Outcome
	}{
		{"nil", nil, OutcomeRan},
		{"plain", errPlain, OutcomeRan},
		{"not run", NotRun(errPlain), OutcomeNotRun},
		{"unknown", Unknown(errPlain), OutcomeUnknown},
		{"outermost not run", NotRun(Unknown(errPlain)), OutcomeNotRun},
		{"outermost unknown", Unknown(NotRun(errPlain)), OutcomeUnknown},
		{"permanent is transparent", Permanent(NotRun(errPlain)), OutcomeNotRun},
		{"after is transparent", After(io.EOF, time.Second), OutcomeUnknown},
		{"both transparent", Permanent(After(errPlain, 0)), OutcomeRan},
		{"joined", errors.Join(NotRun(errPlain), errPlain, Unknown(errPlain)), OutcomeUnknown},
		{"deadline", fmt.Errorf("get: %w", context.DeadlineExceeded), OutcomeUnknown},
		{"timed out before it was sent", &TimeoutError{Err: NotRun(errPlain)}, OutcomeNotRun},
		{"timed out", &TimeoutError{Err: context.DeadlineExceeded}, OutcomeUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := OutcomeOf(tt.err); got != tt.want {
				t.Errorf("OutcomeOf(%v) = %v, want %v", tt.err, got, tt.want)
			}
		})
	}
}

func TestPermanentAndAfterSurviveOtherMarks(t *testing.T) {
	err := NotRun(fmt.Errorf("x: %w", Permanent(After(errPlain, 2*time.Second))))
	if !outcome.Permanent(err) {
		t.Error("Permanent is lost under NotRun")
	}
	if d, ok := outcome.RetryAfter(err); !ok || d != 2*time.Second {
		t.Errorf("RetryAfter = %v, %t, want 2s, true", d, ok)
	}
	if d, _ := outcome.RetryAfter(After(errPlain, -time.Second)); d != 0 {
		t.Errorf("RetryAfter of a negative wait = %v, want 0", d)
	}
}

func TestOutcomeString(t *testing.T) {
	for o, want := range map[Outcome]string{OutcomeRan: "ran", OutcomeNotRun: "not run", OutcomeUnknown: "unknown", 9: "Outcome(9)"} {
		if got := o.String(); got != want {
			t.Errorf("Outcome(%d).String() = %q, want %q", o, got, want)
		}
	}
}

func TestOutcomeOfMarkedErrorAllocatesNothing(t *testing.T) {
	err := fmt.Errorf("x: %w", Unknown(errPlain))
	if got := testing.AllocsPerRun(100, func() { OutcomeOf(err) }); got != 0 {
		t.Errorf("OutcomeOf allocates %v times, want 0", got)
	}
}
