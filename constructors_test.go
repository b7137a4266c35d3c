package holdfast_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/limit"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/shed"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/retry"
)

// Nothing starts in a constructor: what was made and used, and never run, leaves no goroutine behind. A bubble fails its test if one is left.
func TestConstructorsStartNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { everything(t) })
}

// Every package is clean of bubbles: what one made and ran leaves nothing behind, not a channel, a timer or a lock, that the next would meet.
func TestTwoBubblesInOneProcess(t *testing.T) {
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			stage := everything(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := holdfast.Run(ctx, stage); err != nil {
				t.Errorf("Run = %v", err)
			}
		})
	}
}

// everything makes one of each and uses what can be used before it runs. It returns what runs.
func everything(t *testing.T) holdfast.Stage {
	ok := func(context.Context) error { return nil }
	const east, west = "us-east-1", "us-west-2"
	controller := holdfast.Must(failover.NewController(failover.ControllerConfig{Regions: []string{east, west}, Self: east, Coordinator: failover.NewMemoryCoordinator(east, west)}))
	members := []failover.Member[int]{{Region: east, Probe: func(context.Context, int) error { return nil }}, {Region: west, Probe: func(context.Context, int) error { return nil }}}
	db := holdfast.Must(failover.New(controller, members, failover.ClientConfig{}))
	_ = db.Read(t.Context(), func(context.Context, int) error { return nil })
	store := holdfast.Must(idempotency.NewMemory(idempotency.MemoryConfig{}))
	guard := holdfast.Must(idempotency.New(holdfast.Must(idempotency.NewRegional(controller.Route, map[string]idempotency.Store{east: store}, idempotency.RegionalConfig{})), idempotency.Config{}))
	_ = guard.Once(t.Context(), "a/1", ok)
	memory := holdfast.Must(queue.NewMemory(queue.MemoryConfig{}))
	regional := holdfast.Must(queue.NewRegional(controller.Route, map[string]queue.Transport{east: memory}, queue.RegionalConfig{}))
	client := holdfast.Must(queue.NewClient(regional, queue.ClientConfig{}))
	_, _ = client.Ready()
	mux := queue.NewMux()
	queue.Handle(mux, queue.Define[int]("a.b.v1"), func(context.Context, int) error { return nil }, queue.HandlerConfig{})
	worker := holdfast.Must(queue.NewWorker(regional, mux, queue.WorkerConfig{}))
	modes := holdfast.Must(degrade.New(degrade.Config{}))
	feature := modes.Feature("checkout", degrade.FeatureConfig{Reads: modes.Dependency("db", degrade.DependencyConfig{Ready: func() (time.Duration, bool) { return 0, true }})})
	holdfast.Must(degrade.NewStale(feature, func(context.Context, string) (int, error) { return 1, nil }, degrade.StaleConfig{IfError: time.Minute}))
	holdfast.Must(shed.New(shed.Config{MaxInFlight: 10}))
	closed := holdfast.Must(breaker.New(breaker.Config{}))
	_ = closed.Do(t.Context(), ok)
	holdfast.Must(breaker.NewGroup(breaker.Config{}, breaker.GroupConfig{}))
	holdfast.Must(breaker.NewBulkhead(breaker.BulkheadConfig{}))
	holdfast.Must(limit.NewAdaptive(limit.AdaptiveConfig{}))
	holdfast.Must(retry.NewBudget(retry.BudgetConfig{}))
	return holdfast.Stage{guard.Run, worker.Run, client.Run, controller.Run, modes.Run}
}
