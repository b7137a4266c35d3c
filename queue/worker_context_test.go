package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type contextKey struct{}

// TestRunContext: it behaves as context.WithCancelCause's, whether anybody asked for Done before it ended, after it, or never.
func TestRunContext(t *testing.T) {
	for name, early := range map[string]bool{"asked before the end": true, "asked after the end": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c runContext
				c.begin(context.WithValue(context.Background(), contextKey{}, "value"), time.Now().Add(time.Hour))
				if c.Value(contextKey{}) != "value" || c.inner != nil || c.Err() != nil {
					t.Errorf("value %v, inner %v, error %v, want the base's value and nothing made", c.Value(contextKey{}), c.inner, c.Err())
				}
				var child context.Context = &c
				if early {
					var cancel context.CancelFunc
					child, cancel = context.WithCancel(&c)
					defer cancel()
					<-time.After(time.Minute)
					if child.Err() != nil {
						t.Error("the child ended early")
					}
				}
				c.stop(ErrLeaseLost)
				c.stop(ErrDraining) // too late
				<-child.Done()
				if err, cause := child.Err(), context.Cause(child); err != context.Canceled || cause != ErrLeaseLost {
					t.Errorf("ended with %v, cause %v, want canceled and ErrLeaseLost", err, cause)
				}
				if !c.runs() {
					t.Error("a handler that was stopped and has not returned does not run")
				}
				c.end()
				if c.runs() || context.Cause(&c) != ErrLeaseLost {
					t.Errorf("after the end: runs %v, cause %v", c.runs(), context.Cause(&c))
				}
			})
		})
	}
}

func TestRunContextTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c runContext
		c.begin(context.Background(), time.Now().Add(time.Minute))
		c.arm(time.Second) // too far away
		if c.timer != nil {
			t.Error("a timer for a deadline beyond the horizon")
		}
		c.arm(time.Hour)
		began := time.Now()
		<-c.Done()
		if took := time.Since(began); took != time.Minute || !errors.Is(context.Cause(&c), ErrTimeout) {
			t.Errorf("ended after %v with %v, want a minute and ErrTimeout", took, context.Cause(&c))
		}
		c.end()
	})
}
