package page_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/failover"
)

// told returns what a log that was written to shows, as "kind tone text (detail)".
func told(t *testing.T, write func(*page.Log)) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := page.NewLog(0)
		write(log)
		p := running(t, page.Config{State: emptyState, Events: log})
		time.Sleep(time.Second)
		for _, e := range look(t, p).Events {
			lines = append(lines, fmt.Sprintf("%s %s %s (%s)", e.Kind, e.Tone, e.Text, e.Detail))
		}
	})
	return lines
}

func TestLogFollowsDecisions(t *testing.T) {
	healthy := map[string]failover.Health{east: failover.HealthHealthy, west: failover.HealthHealthy}
	down := map[string]failover.Health{east: failover.HealthUnhealthy, west: failover.HealthHealthy}
	move := &failover.Transition{ID: "m-1", From: east, To: west, By: "witness", Reason: "east is gone"}
	const base = 1 << 48
	got := told(t, func(l *page.Log) {
		l.Watch(slices.Values([]failover.Decision{
			{Epoch: 0, Phase: failover.PhaseSteady},
			{Epoch: base | 3, Phase: failover.PhaseSteady, Writer: east, Health: healthy},
			{Epoch: base | 3, Phase: failover.PhaseSteady, Writer: east, Health: healthy, Sequence: 9}, // no news
			{Epoch: base | 3, Phase: failover.PhaseSteady, Writer: east, Health: down},
			{Epoch: base | 3, Phase: failover.PhaseAwaitApproval, Writer: east, Health: down, Transition: move},
			{Epoch: base | 4, Phase: failover.PhaseFenced, Health: down, Transition: move},
			{Epoch: base | 4, Phase: failover.PhasePromoting, Health: down, Transition: move},
			{Epoch: base | 5, Phase: failover.PhaseOpen, Writer: west, Health: down, Transition: move},
			{Epoch: base | 5, Phase: failover.PhaseSteady, Writer: west, Health: down},
			{Epoch: base | 5, Phase: failover.PhaseSteady, Writer: west, Health: healthy, Conflict: "two decisions"},
			{Epoch: base | 5, Phase: failover.PhaseDraining, Writer: west, Transition: &failover.Transition{ID: "m-2", From: west, To: east, By: "ada", Reason: "home"}, Conflict: "two decisions"},
			{Epoch: base | 7, Phase: failover.PhaseRamping, Writer: east, Transition: &failover.Transition{ID: "m-2", From: west, To: east}, Conflict: "two decisions"},
		}))
	})
	want := []string{
		"decision good us-east-1 writes (epoch 3)",
		"health bad us-east-1 is unhealthy (before: healthy)",
		"decision warn A move to us-west-2 waits for approval (epoch 3, asked by witness: east is gone)",
		"decision bad Writes are cut: us-east-1 is fenced (epoch 4)",
		"decision bad Promoting us-west-2 (epoch 4)",
		"decision warn us-west-2 writes; the smoke test runs (epoch 5)",
		"decision good us-west-2 writes (epoch 5)",
		"health good us-east-1 is healthy (before: unhealthy)",
		"decision bad Writes are stopped (two decisions)",
		"decision warn Reads move from us-west-2 to us-east-1 (epoch 5, asked by ada: home)",
		"decision warn Reads come back to us-east-1 in steps (epoch 7)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("timeline:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLogFollowsLevelsAndBreakers(t *testing.T) {
	got := told(t, func(l *page.Log) {
		levels, breakers := l.Levels(east), l.Breakers(east)
		levels(degrade.Event{Kind: degrade.EventLevel, Name: "checkout", From: "normal", To: "read-only", Cause: degrade.CauseDependency, Detail: "db is down"})
		levels(degrade.Event{Kind: degrade.EventDependency, Name: "db", From: "ok", To: "down"})
		levels(degrade.Event{Kind: degrade.EventOverride, Name: "checkout", By: "ada", Detail: "sale"})
		breakers(breaker.Transition{Name: "sqs", Key: east, From: breaker.StateClosed, To: breaker.StateOpen, Reason: "9 of 10 failed"})
		breakers(breaker.Transition{Name: "pay", From: breaker.StateOpen, To: breaker.StateHalfOpen, By: "ada"})
	})
	want := []string{
		"level warn checkout: normal → read-only (dependency: db is down)",
		"level bad db: ok → down ()",
		"level info checkout: override (sale, by ada)",
		"breaker bad Breaker sqs/us-east-1: closed → open (9 of 10 failed)",
		"breaker warn Breaker pay: open → half-open (ada)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("timeline:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := page.NewLog(5)
		p := running(t, page.Config{State: emptyState, Events: log})
		time.Sleep(time.Second)
		for i := range 100 { // before Run can look
			log.Add(page.Event{Text: fmt.Sprint(i)})
		}
		log.Add(page.Event{Text: strings.Repeat("ä", 1000)})
		time.Sleep(time.Second)
		events := look(t, p).Events
		if n := len(events); n != 5 {
			t.Fatalf("%d events are shown, want 5", n)
		}
		if long := events[4]; long.Text != strings.Repeat("ä", 300)+"…" || long.Kind != page.KindNote || long.Tone != page.ToneInfo || long.At.IsZero() {
			t.Errorf("the long event = %+v", long)
		}
	})
}

func TestAFloodIsToldInFewFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := page.NewLog(50)
		s := streaming(t, page.Config{State: emptyState, Events: log})
		w := s.watch(t, "")
		defer w.close()
		w.want("snapshot")
		time.Sleep(950 * time.Millisecond)
		go func() {
			for i := range 2000 { // 2,000 a second
				log.Add(page.Event{Text: fmt.Sprint(i)})
				time.Sleep(500 * time.Microsecond)
			}
		}()
		frames, left := 0, false
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			m, ok := w.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			if m.kind == "events" {
				frames++
				left = left || strings.Contains(m.data, "events were left out")
			}
		}
		if frames == 0 || frames > 11 || !left {
			t.Errorf("2,000 events a second were told in %d frames, left out %v; want at most 11 that say so", frames, left)
		}
	})
}

func TestLogIsSafeForConcurrentUse(t *testing.T) {
	log := page.NewLog(0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				log.Add(page.Event{Text: "x"})
			}
		})
	}
	wg.Wait()
}
