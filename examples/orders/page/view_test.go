package page_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A shown is what the tests read of GET /state.
type shown struct {
	Trouble  string
	Events   []page.Event
	Series   map[string][][]float64
	Decision struct {
		Writer, Epoch, Says, Why, Guard string
		Phase                           struct{ Text, Tone string }
		Move, Last                      *struct {
			ID, Kind string
			Waiting  bool
			Total    int64 `json:"total_ms"`
		}
		Exposure *int64 `json:"exposure_ms"`
		Steps    []struct {
			Name    string
			Skipped bool
		}
	}
	Regions []struct {
		Name                             string
		Role, Health, Writes             struct{ Text, Tone string }
		Features, Dependencies, Breakers []struct{ Name, Text, Tone, Why string }
		QueueNote                        string `json:"queue_note"`
		SpoolNote                        string `json:"spool_note"`
	}
	Actions []struct {
		ID            string
		Pressed, Undo bool
		Why           string
	}
}

func look(t *testing.T, p *page.Page) (s shown) {
	t.Helper()
	w := serve(p, httptest.NewRequest(http.MethodGet, "/state", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusOK {
		t.Fatalf("GET /state = %d %s: %v", w.Code, w.Body, err)
	}
	return s
}

// see shows one State.
func see(t *testing.T, s page.State, actions ...page.Action) (v shown) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v = look(t, running(t, page.Config{State: func() page.State { return s }, Authorize: anybody, Actions: actions}))
	})
	return v
}

func TestDecisionInEveryPhase(t *testing.T) {
	move := &failover.Transition{ID: "m-1", From: east, To: west, By: "ada", Reason: "test", Cut: time.Unix(9, 0)}
	tests := []struct {
		phase             failover.Phase
		writer            string
		text, tone        string
		east, west        string // their roles
		waiting, underWay bool
	}{
		{failover.PhaseSteady, east, "Steady", "good", "Writer", "Standby", false, false},
		{failover.PhaseAwaitApproval, east, "Approval", "warn", "Writer", "Standby", true, true},
		{failover.PhaseDraining, east, "Drain", "warn", "Writer", "Standby", false, true},
		{failover.PhaseFenced, "", "Fence", "bad", "Fenced", "Taking over", false, true},
		{failover.PhasePromoting, "", "Promote", "bad", "Fenced", "Taking over", false, true},
		{failover.PhaseOpen, west, "Open", "warn", "Fenced", "Writer", false, true},
		{failover.PhaseRamping, west, "Ramp", "warn", "Fenced", "Writer", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.phase.String(), func(t *testing.T) {
			s := page.State{
				Decision: failover.Status{DecisionID: "d", Epoch: "0001000000000003", Phase: tt.phase, Writer: tt.writer},
				Regions:  []page.Region{{Name: east}, {Name: west}},
			}
			if tt.underWay {
				s.Decision.Transition = move
			}
			v := see(t, s)
			d := v.Decision
			if d.Phase.Text != tt.text || d.Phase.Tone != tt.tone || d.Writer != tt.writer || d.Epoch != "3" || d.Says == "" {
				t.Errorf("decision = %+v, want %s (%s) with writer %q", d, tt.text, tt.tone, tt.writer)
			}
			if (d.Move != nil) != tt.underWay || d.Move != nil && d.Move.Waiting != tt.waiting {
				t.Errorf("move = %+v, want waiting %v", d.Move, tt.waiting)
			}
			if v.Regions[0].Role.Text != tt.east || v.Regions[1].Role.Text != tt.west {
				t.Errorf("roles = %q, %q, want %q, %q", v.Regions[0].Role.Text, v.Regions[1].Role.Text, tt.east, tt.west)
			}
		})
	}
}

func TestDecisionTellsWhatIsNotKnown(t *testing.T) {
	if d := see(t, page.State{}).Decision; d.Phase.Text != "No decision" || d.Exposure != nil || d.Move != nil {
		t.Errorf("the decision of nobody = %+v", d)
	}
	d := see(t, page.State{Decision: failover.Status{
		DecisionID: "d", Epoch: "0002000000000005", Conflict: "two decisions of one epoch", Refused: "the witness is silent",
		Exposure: failover.Exposure{Known: true, Bound: 1400 * time.Millisecond},
		Last:     &failover.Transition{ID: "m-1", Auto: true, Took: []failover.PhaseTime{{Phase: "detect", Took: time.Second}, {Phase: "fence", Took: 2 * time.Second}}},
	}}).Decision
	if d.Why != "two decisions of one epoch" || d.Guard != "the witness is silent" || *d.Exposure != 1400 || d.Epoch != "2/5" || d.Last.Total != 3000 || d.Last.Kind != "automatic" {
		t.Errorf("decision = %+v, last %+v", d, d.Last)
	}
	suspect := see(t, page.State{Decision: failover.Status{DecisionID: "d", SelfSuspect: true}}).Decision
	if suspect.Why == "" {
		t.Error("a process that suspects itself does not say so")
	}
}

func TestStepsOfAMove(t *testing.T) {
	for kind, tt := range map[string]struct {
		move *failover.Transition
		want []string // skipped
	}{
		"none":                   {nil, []string{"Drain", "Ramp"}},
		"by hand":                {&failover.Transition{}, []string{"Drain", "Ramp"}},
		"planned":                {&failover.Transition{Planned: true}, nil},
		"automatic":              {&failover.Transition{Auto: true, Cut: time.Unix(1, 0)}, []string{"Approval", "Drain", "Ramp"}},
		"automatic and approved": {&failover.Transition{Auto: true, Second: "grace", Cut: time.Unix(1, 0)}, []string{"Drain", "Ramp"}},
	} {
		var skipped []string
		for _, s := range see(t, page.State{Decision: failover.Status{DecisionID: "d", Transition: tt.move}}).Decision.Steps {
			if s.Skipped {
				skipped = append(skipped, s.Name)
			}
		}
		if !reflect.DeepEqual(skipped, tt.want) {
			t.Errorf("a move %s skips %q, want %q", kind, skipped, tt.want)
		}
	}
}

func TestRegionTakesThePackagesOwnStatus(t *testing.T) {
	v := see(t, page.State{
		Decision: failover.Status{DecisionID: "d", Writer: west, Health: map[string]failover.Health{east: failover.HealthUnhealthy}, Gray: []string{east}},
		Regions: []page.Region{{
			Name: east, Role: "Former writer",
			Status: failover.Status{Self: east, Writer: east, Why: "this process holds no lease"},
			Modes: degrade.Status{
				Features:     []degrade.FeatureStatus{{Name: "checkout", Level: degrade.ReadOnly, Cause: degrade.CauseDependency, Detail: "db is down"}},
				Dependencies: []degrade.DependencyStatus{{Name: "db", State: degrade.StateDown}, {Name: "pay", State: degrade.StateDown, Stub: true}},
			},
			Breakers: map[string]breaker.Stats{"sqs": {State: breaker.StateOpen, Wait: 2500 * time.Millisecond}, "pay": {Mode: breaker.ModeClosed}},
			Queue:    &queue.Depth{Visible: 3, InFlight: 2, Delayed: 1, Unverified: []string{west}},
			Spool:    queue.SpoolStats{Messages: 7, Full: true},
		}},
	})
	r := v.Regions[0]
	if r.Role.Text != "Former writer" || r.Health.Text != "Unhealthy, gray" || r.Health.Tone != "bad" || r.Writes.Text != "Stopped" || r.Writes.Tone != "bad" {
		t.Errorf("role, health, writes = %v, %v, %v", r.Role, r.Health, r.Writes)
	}
	if f := r.Features[0]; f.Text != "Read-only" || f.Tone != "warn" || f.Why != "dependency: db is down" {
		t.Errorf("feature = %+v", f)
	}
	if db, pay := r.Dependencies[0], r.Dependencies[1]; db.Text != "Down" || db.Tone != "bad" || pay.Text != "Stub" || pay.Tone != "info" {
		t.Errorf("dependencies = %+v", r.Dependencies)
	}
	if pay, sqs := r.Breakers[0], r.Breakers[1]; pay.Why != "forced: closed" || sqs.Text != "Open" || sqs.Why != "asks again in 3s" {
		t.Errorf("breakers = %+v", r.Breakers)
	}
	if r.QueueNote != "3 waiting, 2 in work, 1 delayed; no answer from us-west-2" || r.SpoolNote != "full: new calls are refused" {
		t.Errorf("notes = %q, %q", r.QueueNote, r.SpoolNote)
	}
	if last := v.Series[east][0]; last[5] != 6 || last[6] != 7 || last[7] != -1 {
		t.Errorf("point = %v, want 6 queued, 7 spooled, no lag", last)
	}
}

func TestActionsSayWhyTheyCannotBeUsed(t *testing.T) {
	v := see(t, page.State{Faults: []page.Fault{{ID: "sqs"}, {ID: "lag"}}},
		page.Action{ID: "sqs", Label: "SQS", Fault: "sqs", Do: nothing, Undo: nothing, Unavailable: func(page.State) string { return "never" }},
		page.Action{ID: "lag", Label: "Lag", Fault: "lag", Do: nothing},
		page.Action{ID: "approve", Label: "Approve", Pending: true, Do: nothing},
		page.Action{ID: "move", Label: "Move", Do: nothing, Unavailable: func(s page.State) string { return "the writer is " + s.Decision.Writer }},
	)
	for i, want := range []struct {
		pressed, undo bool
		why           string
	}{{true, true, ""}, {true, false, "it is active already"}, {false, false, "no move waits for approval"}, {false, false, "the writer is "}} {
		if a := v.Actions[i]; a.Pressed != want.pressed || a.Undo != want.undo || a.Why != want.why {
			t.Errorf("action = %+v, want %+v", a, want)
		}
	}
}

func TestRates(t *testing.T) {
	counters := []page.Traffic{{OK: 1000}, {OK: 1100, Failed: 7}, {OK: 1100, Failed: 7, Unknown: 3}, {OK: 40}}
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := running(t, page.Config{Every: 2 * time.Second, State: func() page.State {
			now := counters[min(calls, len(counters)-1)]
			calls++
			return page.State{Regions: []page.Region{{Name: east, Traffic: now, Lag: failover.LagSample{ReplicatedThrough: time.Unix(10, 0), MeasuredAt: time.Unix(10, 250e6)}}}}
		}})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		want := [][]float64{
			{0, 0, 0, 0, 0, -1, 0, 250}, // nothing to compare with
			{50, 0, 0, 3.5, 0, -1, 0, 250},
			{0, 0, 0, 0, 1.5, -1, 0, 250},
			{20, 0, 0, 0, 0, -1, 0, 250}, // a process that began anew
		}
		if got := look(t, p).Series[east]; !reflect.DeepEqual(got, want) {
			t.Errorf("series = %v, want %v", got, want)
		}
		time.Sleep(time.Hour)
		if n := len(look(t, p).Series[east]); n != 120 {
			t.Errorf("after an hour %d points are kept, want 120", n)
		}
	})
}
