package steps_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// book runs the steps and prints how they ended.
func book(list ...runbook.Step) {
	b, err := runbook.New("book", list...)
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := b.Run(context.Background(), "run-1", runbook.Config{Journal: runbook.NewMemoryJournal(), By: "ann", PollEvery: 10 * time.Millisecond})
	for _, s := range report.Steps {
		fmt.Println(s.Name, s.State)
	}
	if err != nil {
		fmt.Println(err)
	}
}

func ExampleSmokeTest() {
	tries := 0
	book(steps.SmokeTest("place an order", func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("503")
		}
		return nil
	}))
	// Output: place an order done
}

func ExampleFenceOldWriter() {
	fenced := false
	book(steps.FenceOldWriter("fence the old writer",
		func(context.Context) error { fenced = true; return nil },
		func(context.Context) (bool, error) { return fenced, nil }))
	// Output: fence the old writer done
}

func ExampleCommand() {
	ran := false
	step := steps.Command("sync", func(context.Context) (bool, error) { return ran, nil }, "echo", "$HOME is not expanded: there is no shell")
	do := step.Do
	step.Do = func(ctx context.Context) error { ran = true; return do(ctx) }
	book(step)
	// Output: sync done
}

func ExampleSyncKeys() {
	unsynced := 3
	book(steps.SyncKeys("sync keys",
		func(context.Context) error { unsynced = 0; return nil },
		func(context.Context) (int, error) { return unsynced, nil }))
	// Output: sync keys done
}

func ExampleParity() {
	images := map[failover.Region]string{"us-east-1": "v42", "us-west-2": "v41"}
	flags := map[failover.Region]map[string]string{"us-east-1": {"checkout": "on", "search": "on"}, "us-west-2": {"checkout": "on"}}
	parity := steps.Parity("parity", "us-east-1", "us-west-2",
		steps.Image(func(_ context.Context, r failover.Region) (string, error) { return images[r], nil }),
		steps.Flags(func(_ context.Context, r failover.Region) (map[string]string, error) { return flags[r], nil }))
	_, err := parity.Check(context.Background())
	fmt.Println(err)
	// Output:
	// image differs: "v42" in us-east-1, "v41" in us-west-2
	// flag search differs: "on" in us-east-1, nothing in us-west-2
}

func ExamplePagerDuty() {
	step := steps.PagerDuty("page", nil, steps.Incident{RoutingKey: "key", Summary: "Region lost", Source: "orders", Severity: "bad"})
	fmt.Println(step.Preflight(context.Background()))
	// Output: severity "bad" is none of critical, error, warning, info
}
