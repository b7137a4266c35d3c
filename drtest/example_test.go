package drtest_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

func ExampleTimeline() {
	s := drtest.Timeline("a bad day",
		drtest.At(5*time.Minute, fault.RegionDown("us-east-1", fault.ModeBlackhole)).For(time.Hour),
		drtest.When(drtest.OnMark(history.MarkPromoted, "orders-dr").Then(10*time.Second), fault.Gray("payments.west", 0.2)).For(time.Minute),
	)
	fmt.Println(s.Validate())
	fmt.Println(s.Go())
	// Output:
	// <nil>
	// drtest.Timeline("a bad day",
	// 	drtest.At(5*time.Minute, fault.RegionDown("us-east-1", fault.ModeBlackhole)).For(time.Hour),
	// 	drtest.When(drtest.OnMark("promoted", "orders-dr").Then(10*time.Second), fault.Gray("payments.west", 0.2)).For(time.Minute),
	// )
}

func ExampleScenario_UnmarshalJSON() {
	var s drtest.Scenario
	err := json.Unmarshal([]byte(`{"version": 1, "name": "typo", "events": [
		{"at": "5m", "for": "1h", "fault": {"kind": "region-down", "region": "us-east-1", "mode": "vanished"}}
	]}`), &s)
	fmt.Println(err)
	// Output:
	// drtest: Scenario "typo": events[0]: simnet: unknown mode "vanished", want one of ["up" "blackhole" "refuse" "reset" "hang"]
}

func ExampleEvent_Flap() {
	e := drtest.At(time.Minute, fault.Partition("us-east-1", fault.Others)).For(10*time.Minute).Flap(20*time.Second, 40*time.Second)
	fmt.Println(e.Fault, "for", e.Length)
	// Output:
	// us-east-1 and all others are partitioned for 10m0s
}

// Explore returns what it came to, to be printed.
func ExampleExploration() {
	x := drtest.Exploration{
		Name: "orders", Seeds: 5000, Operations: 22_527_000, Virtual: 1249 * time.Hour, CPU: 322 * time.Second,
		Fired: map[fault.Kind]int{fault.KindRegionDown: 1264, fault.KindPartition: 1353},
	}
	fmt.Print(&x)
	// Output:
	// orders: 5000 seeds, 22527000 operations, 1249h0m0s of virtual time, 5m22s of processor time
	// faults: partition 1353, region-down 1264
	// regressions replayed: 0
	// violations: none
}
