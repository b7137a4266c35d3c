package drtest_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

var everyFault = drtest.Timeline("every fault",
	drtest.At(0, fault.RegionDown("a", fault.ModeBlackhole)).For(time.Hour),
	drtest.At(90*time.Second, fault.Partition("a", "b")),
	drtest.At(time.Millisecond, fault.PartitionOneWay("a", fault.Others)).For(time.Second),
	drtest.At(time.Minute, fault.Latency("a", "b", 250*time.Millisecond).WithJitter(time.Millisecond)).For(time.Minute).Ramp(10*time.Second),
	drtest.At(time.Minute, fault.Gray("api", 0.25).On("POST /orders").WithStatus(502)).For(time.Minute).Flap(time.Second, 2*time.Second),
	drtest.At(time.Minute, fault.Throttle("queue", 1, 503, 2*time.Second).On("SendMessage")).For(time.Minute),
	drtest.At(time.Minute, fault.ReplicationLag("db", time.Minute)).For(time.Minute),
	drtest.When(drtest.OnMark(history.MarkPromoted, "db").Then(time.Second), fault.ReplicationPause("db")),
	drtest.When(drtest.OnFailures(10), fault.Crash("worker")),
	drtest.At(time.Minute, fault.ClockSkew("a", -time.Hour)).For(time.Minute),
	drtest.At(time.Hour, fault.AZDown("a", "1", fault.ModeRefuse).Recovering(30*time.Minute, 20*time.Millisecond, 0.05)).For(30*time.Minute),
	drtest.At(time.Hour, fault.AZDown("a", "2", fault.ModeBlackhole)).For(30*time.Minute),
	drtest.At(time.Hour, fault.Loss("a", "b", 0.05)).For(time.Minute).Ramp(time.Second),
	drtest.At(time.Hour, fault.Bandwidth("a", fault.Others, 1_000_000)).For(time.Minute),
	drtest.At(time.Hour, fault.DNS("a", "api", fault.FailNotFound)).For(time.Minute),
	drtest.At(time.Hour, fault.DNS("b", "", fault.FailStale)).For(time.Minute),
	drtest.At(time.Hour, fault.TLS("api", fault.FailUnknownAuthority)).For(time.Minute),
	drtest.At(time.Hour, fault.ReplicationBreak("db")).For(time.Minute),
	drtest.At(time.Hour, fault.Duplicate("queue", 0.01).On("SendMessage")).For(time.Minute),
	drtest.At(time.Hour, fault.Poison("queue", 0.01)).For(time.Minute),
	drtest.At(time.Hour, fault.ControlPlaneDown("a")).For(time.Minute),
	drtest.At(time.Hour, fault.CapacityLimit("api", 12.5)).For(time.Minute),
	drtest.At(time.Hour, fault.RegionCapacity("b", 100)).For(time.Minute),
	drtest.At(time.Hour, fault.FlagStoreDown("flags")).For(time.Minute),
)

func TestScenarioSurvivesJSON(t *testing.T) {
	data, err := json.MarshalIndent(everyFault, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "scenario.json", string(data)+"\n")
	var back drtest.Scenario
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, everyFault) {
		t.Errorf("read back:\n%+v\nwant:\n%+v", back, everyFault)
	}
}

func TestScenarioAsGo(t *testing.T) {
	golden(t, "scenario.go.txt", everyFault.Go()+"\n")
}

func TestScenarioErrorsNameTheEvent(t *testing.T) {
	ok := drtest.At(0, fault.RegionDown("ok", fault.ModeRefuse)).For(time.Second)
	for _, tt := range []struct {
		event drtest.Event
		want  string
	}{
		{drtest.At(-1, fault.Crash("p")), "events[1].at: -1ns is negative"},
		{drtest.At(0, fault.Crash("p")).For(-1), "events[1].for: -1ns is negative"},
		{drtest.At(0, fault.Crash("")), "events[1].fault.process: missing"},
		{drtest.At(0, fault.Fault{Kind: "meteor"}), `events[1].fault.kind: unknown fault "meteor"`},
		{drtest.At(0, fault.RegionDown("a", 0)), "events[1].fault.mode: up is no way to be down"},
		{drtest.At(0, fault.RegionDown("a", 77)), "events[1].fault.mode: Mode(77) is no way"},
		{drtest.At(0, fault.Partition("a", "a")), `events[1].fault.to: "a" is both ends`},
		{drtest.At(0, fault.Partition(fault.Others, "a")), "events[1].fault.region:"},
		{drtest.At(0, fault.Latency("a", "b", 0)), "events[1].fault.delay: missing"},
		{drtest.At(0, fault.Latency("a", "b", -1)), "events[1].fault.delay: -1ns is negative"},
		{drtest.At(0, fault.Latency("a", "b", 1).WithJitter(-1)), "events[1].fault.jitter: -1ns is negative"},
		{drtest.At(0, fault.Gray("h", 1.5)), "events[1].fault.share: 1.5 is not"},
		{drtest.At(0, fault.Gray("h", 0)), "events[1].fault.share: 0 is not"},
		{drtest.At(0, fault.Gray("h", 1).WithStatus(200)), "events[1].fault.status: 200 is not"},
		{drtest.At(0, fault.Throttle("h", 1, 429, -1)), "events[1].fault.retry_after: -1ns is negative"},
		{drtest.At(0, fault.ReplicationLag("s", 0)), "events[1].fault.delay: 0s is not positive"},
		{drtest.At(0, fault.ClockSkew("r", 0)), "events[1].fault.delay: missing"},
		{drtest.At(0, fault.Crash("p").WithStatus(500)), "events[1].fault.status: a crash fault has no such field"},
		{drtest.At(0, fault.Crash("p")).Ramp(1), "events[1].ramp: a crash fault has no degree"},
		{drtest.At(0, fault.AZDown("a", "", fault.ModeHang)), "events[1].fault.zone: missing"},
		{drtest.At(0, fault.AZDown("a", "b/c", fault.ModeHang)), `events[1].fault.zone: "b/c" has a slash`},
		{drtest.At(0, fault.AZDown("a", "b", 0)), "events[1].fault.mode: up is no way"},
		{drtest.At(0, fault.AZDown("a", "b", fault.ModeHang).Recovering(-1, 0, 0)), "events[1].fault.recovery: -1ns is not"},
		{drtest.At(0, fault.AZDown("a", "b", fault.ModeHang).Recovering(1, 0, 0)), "events[1].fault.recovery: 1ns without symptoms"},
		{drtest.At(0, fault.AZDown("a", "b", fault.ModeHang).Recovering(0, 1, 0)), "events[1].fault.recovery: missing"},
		{drtest.At(0, fault.AZDown("a", "b", fault.ModeHang).Recovering(1, 1, 2)), "events[1].fault.share: 2 is not"},
		{drtest.At(0, fault.Loss("a", "b", 1)), "events[1].fault.share: 1 is not above 0 and below 1"},
		{drtest.At(0, fault.Bandwidth("a", "b", 0)), "events[1].fault.per_second: 0 is no whole number"},
		{drtest.At(0, fault.DNS("", "h", fault.FailStale)), "events[1].fault.region: missing"},
		{drtest.At(0, fault.DNS("a", "h", fault.FailExpired)), `events[1].fault.failure: "expired" is not known`},
		{drtest.At(0, fault.TLS("h", "")), `events[1].fault.failure: "" is not known`},
		{drtest.At(0, fault.ReplicationBreak("")), "events[1].fault.store: missing"},
		{drtest.At(0, fault.Duplicate("h", 1.5)), "events[1].fault.share: 1.5 is not"},
		{drtest.At(0, fault.Poison("", 1)), "events[1].fault.host: missing"},
		{drtest.At(0, fault.ControlPlaneDown("")), "events[1].fault.region: missing"},
		{drtest.At(0, fault.CapacityLimit("", 1)), "events[1].fault.host: want a host or a region"},
		{drtest.At(0, fault.CapacityLimit("h", 0)), "events[1].fault.per_second: 0 is not"},
		{drtest.At(0, fault.FlagStoreDown("")), "events[1].fault.host: missing"},
		{drtest.At(0, fault.Gray("h", 1)).Ramp(-1), "events[1].ramp: -1ns is negative"},
		{drtest.At(0, fault.Gray("h", 1)).For(1).Ramp(2), "events[1].ramp: 2ns is longer"},
		{drtest.At(0, fault.Gray("h", 1)).Flap(1, 1), "events[1].flap: needs a length"},
		{drtest.At(0, fault.Gray("h", 1)).For(9).Flap(1, 0), "events[1].flap: on and off"},
		{drtest.At(0, fault.Gray("h", 1)).For(9).Flap(1, 1).Ramp(1), "events[1].flap: cannot be ramped"},
		{drtest.When(drtest.Cond{}, fault.Crash("p")), "events[1].when: want a mark"},
		{drtest.When(drtest.OnFailures(-1), fault.Crash("p")), "events[1].when.fails: -1 is negative"},
		{ok, "events[1].at: overlaps events[0] on the same target: region-down ok"},
	} {
		err := drtest.Timeline("bad", ok, tt.event).Validate()
		se, typed := errors.AsType[*drtest.ScenarioError](err)
		if !typed || se.Event != 1 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Validate(%+v) = %v, want %q", tt.event, err, tt.want)
		}
	}
}

func TestScenarioJSONErrors(t *testing.T) {
	for _, tt := range []struct{ data, want string }{
		{`{`, "unexpected end"},
		{`{"version":1,"name":"x","evnets":[]}`, `unknown field "evnets"`},
		{`{"version":2,"name":"x","events":[]}`, `version: 2 is newer than this drtest, which knows 1`},
		{`{"version":1,"name":"x","events":[{"at":"1s","fault":{"kind":"crash","process":"p"}},{"at":"1s","fault":{"kind":"crash","proces":"p"}}]}`, `events[1]: unknown field "proces"`}, //nolint:misspell // so it is told
		{`{"version":1,"name":"x","events":[{"at":"1s","four":"1s","fault":{"kind":"crash","process":"p"}}]}`, `events[0]: unknown field "four"`},
		{`{"version":1,"name":"x","events":[{"at":"soon","fault":{"kind":"crash","process":"p"}}]}`, `events[0]: time: invalid duration "soon"`},
		{`{"version":1,"name":"x","events":[{"at":"1s","fault":{"kind":"region-down","region":"a","mode":"gone"}}]}`, `events[0]: simnet: unknown mode "gone"`},
		{`{"version":7,"name":"x","galaxy":1,"events":[{"at":"1s","warp":2,"fault":{"kind":"meteor","crater":"3km"}}]}`, `version: 7 is newer than this drtest`},
		{`{"version":0,"name":"x","events":[]}`, `version: 0 is not known, want 1`},
		{`{"version":1,"name":"x","events":[{"at":"1s","fault":{"kind":"meteor"}}]}`, `events[0].fault.kind: unknown fault "meteor"`},
		{`{"version":1,"name":"x","events":[{"at":"1s","fault":{"kind":"region-down","region":"a"}}]}`, `events[0].fault.mode: up is no way to be down`},
	} {
		var s drtest.Scenario
		if err := json.Unmarshal([]byte(tt.data), &s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Unmarshal(%s) = %v, want %q", tt.data, err, tt.want)
		}
	}
}

func FuzzScenario(f *testing.F) {
	data, err := json.Marshal(everyFault)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"name":"x","events":[{"at":"1s","fault":{"kind":"crash","process":"p"},"for":"1h"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s drtest.Scenario
		if json.Unmarshal(data, &s) != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("Unmarshal lets through what Validate refuses: %v", err)
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("a scenario that was read cannot be written: %v", err)
		}
		var again drtest.Scenario
		if err := json.Unmarshal(out, &again); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("read %+v, wrote %s, read %+v: %v", s, out, again, err)
		}
		_ = s.Go()
	})
}
