package caller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// late is a context whose deadline has passed and whose timer has not fired yet.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now(), true }

func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		caused, cancelCause := context.WithCancelCause(t.Context())
		cancelCause(errors.New("shutting down"))
		expired, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waiting, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		time.Sleep(time.Second)
		tests := []struct {
			name string
			ctx  context.Context
			want End
		}{
			{"background", context.Background(), Waiting},
			{"deadline ahead", waiting, Waiting},
			{"cancelled", cancelled, Cancelled},
			{"cancelled with a cause", caused, Cancelled},
			{"deadline passed", expired, Expired},
			{"deadline passed, not yet noticed", late{context.Background()}, Expired},
		}
		for _, tt := range tests {
			if got := Ended(tt.ctx); got != tt.want {
				t.Errorf("%s: Ended = %d, want %d", tt.name, got, tt.want)
			}
		}
	})
}

func TestNeutral(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name    string
		timeout time.Duration // of the caller; 0 = it cancels
		attempt time.Duration // of the attempt; 0 = none
		limits  []time.Duration
		want    bool
	}{
		{"cancelled", 0, 0, []time.Duration{500 * ms}, true},
		{"too little time", 499 * ms, 0, []time.Duration{500 * ms}, true},
		{"just enough time", 500 * ms, 0, []time.Duration{500 * ms}, false},
		{"the smallest limit counts", 200 * ms, 0, []time.Duration{500 * ms, 100 * ms}, false},
		{"unset limits do not count", 200 * ms, 0, []time.Duration{500 * ms, 0}, true},
		{"no limit at all", 1 * ms, 0, nil, false},
		{"a whole short attempt", time.Hour, 100 * ms, []time.Duration{500 * ms}, false},
		{"an attempt cut by the caller", 50 * ms, 100 * ms, []time.Duration{500 * ms}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.timeout > 0 {
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				if tt.attempt > 0 {
					ctx, cancel = WithAttemptTimeout(ctx, tt.attempt, nil)
					defer cancel()
				}
				toLive := ToLive(ctx, time.Now())
				if Neutral(ctx, toLive, tt.limits...) {
					t.Fatal("neutral while the caller waits")
				}
				if tt.timeout == 0 {
					cancel()
				} else {
					<-ctx.Done()
				}
				if got := Neutral(ctx, toLive, tt.limits...); got != tt.want {
					t.Errorf("Neutral = %t, want %t", got, tt.want)
				}
			})
		})
	}
}

func TestWithoutDeadlineACallLivesForever(t *testing.T) {
	if got := ToLive(context.Background(), time.Now()); got != Forever {
		t.Errorf("ToLive = %v, want Forever", got)
	}
}

func TestNeutralAllocatesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := testing.AllocsPerRun(100, func() { Neutral(ctx, time.Second, time.Second, time.Minute) }); got != 0 {
		t.Errorf("Neutral allocates %v times, want 0", got)
	}
}

func TestACancelWhoseCauseIsADeadlineIsOne(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	below, stop := context.WithCancel(ctx)
	defer stop()
	cancel(fmt.Errorf("no answer: %w", context.DeadlineExceeded))
	if Ended(ctx) != Expired || Ended(below) != Expired {
		t.Errorf("Ended = %d, below %d, want %d", Ended(ctx), Ended(below), Expired)
	}
}
