package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPulse()
		time.Sleep(10 * time.Second)
		if late := p.stop(); late != (lateness{}) {
			t.Errorf("late by %v where time is virtual", late)
		}
	})
	all := make([]time.Duration, 200)
	for i := range all {
		all[i] = time.Duration(i) * time.Millisecond
	}
	if got, want := latenessOf(all), (lateness{198 * time.Millisecond, 199 * time.Millisecond}); got != want {
		t.Errorf("latenessOf = %v, want %v", got, want)
	}
}

func TestOnlyWhatFailedIsExplained(t *testing.T) {
	busy, calm := lateness{300 * time.Millisecond, time.Second}, lateness{time.Millisecond, time.Second}
	if err := busy.explain(nil); err != nil {
		t.Errorf("a drill that passed on a busy machine = %v", err)
	}
	if err := busy.explain(errBroken); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "too busy") {
		t.Errorf("a drill that failed on a busy machine = %v", err)
	}
	if err := calm.explain(errBroken); err != errBroken {
		t.Errorf("a drill that failed on a calm machine = %v", err)
	}
}
