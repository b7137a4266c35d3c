package queue

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// Nothing runs in circles: whatever a handler asks for, a message is not handed out again within a second.
func TestNothingRunsInCircles(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		config HandlerConfig
	}{
		"a snooze of nothing":        {Snooze(0), HandlerConfig{}},
		"a snooze into the past":     {Snooze(-time.Hour), HandlerConfig{}},
		"a hint of nothing":          {hinted{errPlain}, HandlerConfig{MaxAttempts: 100}},
		"a back-off of nothing":      {errPlain, HandlerConfig{MaxAttempts: 100, Backoff: fixed(0)}},
		"a back-off of a nanosecond": {errPlain, HandlerConfig{MaxAttempts: 100, Backoff: fixed(1)}},
		"a dependency that is away":  {nil, HandlerConfig{Ready: func() (time.Duration, bool) { return 0, false }}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStation(t, MemoryConfig{})
				j := newJournal()
				Handle(s.mux, billing, func(context.Context, charge) error { j.add("run"); return tt.err }, tt.config)
				counted := &counting{Transport: s.memory}
				Handle(s.mux, repeated, func(context.Context, charge) error { return nil }, HandlerConfig{}) // keeps the queue polled
				s.runOn(counted, WorkerConfig{})
				s.send()
				time.Sleep(time.Minute)
				s.close()
				for i := 1; i < len(j.at); i++ {
					if wait := j.at[i] - j.at[i-1]; wait < time.Second {
						t.Fatalf("run again after %v, want at least a second", wait)
					}
				}
				if n := counted.got.Load(); n < 2 || n > 62 || tt.err != nil && j.len() < 2 {
					t.Errorf("received %d times and run %d times in a minute, want 2 to 62", n, j.len())
				}
			})
		})
	}
}

// counting counts messages that are handed out.
type counting struct {
	Transport
	got atomic.Int64
}

func (c *counting) Receive(ctx context.Context, r ReceiveRequest) ([]*Message, error) {
	got, err := c.Transport.Receive(ctx, r)
	c.got.Add(int64(len(got)))
	return got, err
}

// hinted is an error that says when to come back.
type hinted struct{ error }

func (hinted) RetryAfter() time.Duration { return 1 }
