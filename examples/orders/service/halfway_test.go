package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// The writer loses its lease while payments work on charges. What they have charged is not "not run" because the order could not be marked then: its key is kept, and
// nobody begins the call as a new one.
func TestChargeIsRememberedWhenTheOrderCannotBeMarked(t *testing.T) {
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Instances: 1, Latency: 900 * time.Millisecond, Settings: service.Settings{
			LeaseTTL: 4 * time.Second, PollEvery: time.Second, ProbeEvery: time.Second, ProbeTimeout: 4 * time.Second, MaxFlight: 2 * time.Second, Cooldown: 8 * time.Second,
		}})
		ready(t, f)
		load := w.Load(drtest.Load{Name: "buy", Clients: 20, Rate: drtest.Poisson(.5), Timeout: 10 * time.Second, Length: 30 * time.Second, Do: f.Buy()})
		time.Sleep(5 * time.Second)
		heal, err := w.Inject(fault.Partition(embedded.East, embedded.Third))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		heal()
		time.Sleep(2 * time.Minute)
		load.Stop()
		f.Stop()
		charged := map[string]time.Time{}
		start := time.Now().Add(-w.Elapsed())
		for _, e := range w.History().Effects() {
			if e.Kind == "charge" {
				charged["charge-"+e.Key] = start.Add(e.At)
			}
		}
		for _, r := range f.KeyRuns() {
			_, id, _ := strings.Cut(r.Key.ID, "/")
			if at, ok := charged[id]; ok && r.Number == 1 && r.Began.After(at) {
				t.Errorf("%s was charged and, %v later, begun as a new call", id, r.Began.Sub(at))
			}
		}
		if len(charged) == 0 {
			t.Error("nothing was charged")
		}
	})
}
