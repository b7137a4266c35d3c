package fault_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

func TestFaultsDescribeThemselves(t *testing.T) {
	for _, tt := range []struct {
		f      fault.Fault
		text   string
		target string
		degree bool
	}{
		{fault.RegionDown("a", fault.ModeHang), "a is down (hang)", "region-down a", false},
		{fault.Partition("a", "b"), "a and b are partitioned", "partition a b", false},
		{fault.PartitionOneWay("a", fault.Others), "a cannot reach all others", "partition a *", false},
		{fault.Latency("a", "b", time.Second), "1s+0s more between a and b", "latency a b", true},
		{fault.Gray("h", 0.125), "h answers 12.5 % of everything with 500", "gray h", true},
		{fault.Throttle("h", 1, 429, 0).On("GET /x"), "h throttles 100 % of GET /x with 429", "throttle h GET /x", true},
		{fault.ReplicationLag("s", time.Minute), "s replicates 1m0s later", "replication-lag s", true},
		{fault.ReplicationPause("s"), "replication to s is paused", "replication-pause s", false},
		{fault.Crash("p"), "process p is dead", "crash p", false},
		{fault.ClockSkew("a", -time.Second), "clocks of a are off by -1s", "clock-skew a", true},
		{fault.AZDown("a", "1", fault.ModeReset), "a/1 is down (reset)", "az-down a 1", false},
		{fault.Loss("b", "a", 0.05), "5 % of the packets between b and a are lost", "loss a b", true},
		{fault.Bandwidth("a", "b", 1000), "1000 bytes a second between a and b", "bandwidth a b", false},
		{fault.DNS("a", "", fault.FailTimeout), "look-ups of every name in a fail (timeout)", "dns a", false},
		{fault.TLS("h", fault.FailExpired), "handshakes of h fail (expired)", "tls h", false},
		{fault.ReplicationBreak("s"), "replication to s is broken", "replication-break s", false},
		{fault.Duplicate("h", 0.5).On("Send"), "h gets 50 % of Send twice", "duplicate h Send", true},
		{fault.Poison("h", 1), "h gets something unreadable beside 100 % of everything", "poison h", true},
		{fault.ControlPlaneDown("a"), "the control plane of a is down", "control-plane-down a", false},
		{fault.CapacityLimit("h", 10), "h can take 10 requests a second", "capacity-limit h", false},
		{fault.RegionCapacity("a", 0.5), "a can take 0.5 requests a second", "capacity-limit a", false},
		{fault.Slow("h", time.Second).On("GET /x"), "h takes 1s longer for GET /x", "slow h GET /x", true},
		{fault.LostReply("h", 0.25), "h loses its answers to 25 % of everything", "lost-reply h", true},
		{fault.FlagStoreDown("h"), "the flag store h is down", "flag-store-down h", false},
	} {
		if err := tt.f.Validate(); err != nil {
			t.Errorf("%v: %v", tt.f, err)
		}
		if got := tt.f.String(); got != tt.text {
			t.Errorf("String = %q, want %q", got, tt.text)
		}
		if got := tt.f.Target(); got != tt.target {
			t.Errorf("Target = %q, want %q", got, tt.target)
		}
		if got := tt.f.Degree(); got != tt.degree {
			t.Errorf("Degree of %v = %v", tt.f, got)
		}
		data, err := json.Marshal(tt.f)
		var back fault.Fault
		if err != nil || json.Unmarshal(data, &back) != nil || back != tt.f {
			t.Errorf("%v became %s became %v", tt.f, data, back)
		}
	}
}

func TestUnknownKind(t *testing.T) {
	f := fault.Fault{Kind: "meteor"}
	fe, ok := errors.AsType[*fault.FieldError](f.Validate())
	if !ok || fe.Field != "kind" || f.String() != `unknown fault "meteor"` || f.Go() != `fault.Fault{Kind: "meteor"}` {
		t.Errorf("%v, %v, %s", fe, f, f.Go())
	}
	if _, err := json.Marshal(fault.RegionDown("a", 99)); err == nil {
		t.Error("an unknown mode can be written")
	}
}

func TestStrength(t *testing.T) {
	f := fault.Latency("a", "b", 100*time.Millisecond).WithJitter(10 * time.Millisecond).At(0.3)
	if f.Delay != 30*time.Millisecond || f.Jitter != 3*time.Millisecond {
		t.Errorf("a third of the strength: %+v", f)
	}
	if got := fault.Gray("h", 0.5).At(0.5).Share; got != 0.25 {
		t.Errorf("half of the strength: share %v", got)
	}
}

func TestDurationAsGo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", time.Second: "time.Second", 90 * time.Second: "90*time.Second", time.Hour: "time.Hour",
		1500 * time.Microsecond: "1500*time.Microsecond", 7: "7*time.Nanosecond", -time.Minute: "-1*time.Minute",
	} {
		if got := fault.Duration(d).String(); got != want {
			t.Errorf("Duration(%v) = %s, want %s", d, got, want)
		}
	}
}

// A partition of two Regions is the same whoever is named first; one direction is not the other.
func TestTargetOfALinkHasNoOrder(t *testing.T) {
	if a, b := fault.Partition("a", "b").Target(), fault.Partition("b", "a").Target(); a != b {
		t.Errorf("%q and %q", a, b)
	}
	if a, b := fault.Latency("a", "b", 1).Target(), fault.Latency("b", "a", 1).Target(); a != b {
		t.Errorf("%q and %q", a, b)
	}
	if a, b := fault.PartitionOneWay("a", "b").Target(), fault.PartitionOneWay("b", "a").Target(); a == b {
		t.Errorf("%q twice", a)
	}
}

// Every kind has a constructor in the table above, and names the fields that it needs.
func TestKinds(t *testing.T) {
	if got := len(fault.Kinds()); got != 22 {
		t.Errorf("%d kinds, want 22: %q", got, fault.Kinds())
	}
	for _, k := range fault.Kinds() {
		if err := (fault.Fault{Kind: k}).Validate(); err == nil {
			t.Errorf("a %s fault without a field is valid", k)
		}
	}
}

func TestSymptoms(t *testing.T) {
	f := fault.AZDown("a", "1", fault.ModeHang).Recovering(time.Minute, time.Second, 0.1)
	s, ok := f.Symptoms()
	if !ok || s.String() != "a/1 recovers: 1s more, 10 % refused" {
		t.Errorf("Symptoms = %v, %v", s, ok)
	}
	if _, ok := s.Symptoms(); ok {
		t.Error("symptoms have symptoms")
	}
	if _, ok := fault.AZDown("a", "1", fault.ModeHang).Symptoms(); ok {
		t.Error("a zone without a recovery has symptoms")
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		f    fault.Fault
		want []string
	}{
		{fault.Partition("a", fault.Others), []string{"a"}},
		{fault.AZDown("a", "1", fault.ModeHang), []string{"a/1"}},
		{fault.DNS("a", "h", fault.FailStale), []string{"a", "h"}},
		{fault.Crash("p"), []string{"p"}},
		{fault.ReplicationPause("s"), []string{"s"}},
	} {
		if got := tt.f.Names(); !slices.Equal(got, tt.want) {
			t.Errorf("Names of %v = %q, want %q", tt.f, got, tt.want)
		}
	}
}
