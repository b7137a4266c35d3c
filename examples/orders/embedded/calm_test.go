package embedded

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/drtest"
)

// A feature that is not at its best is seen in each Region, and the standby's own best is no worse for it.
func TestEveryRegionsFeaturesAreSeen(t *testing.T) {
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		f := Start(w, Config{Dir: t.TempDir(), Instances: 1})
		time.Sleep(2 * time.Minute)
		if why := f.Unrest(); f.Degraded() != 0 || len(why) > 0 {
			t.Fatalf("%d features are not at their best in good times: %q", f.Degraded(), why)
		}
		for _, region := range []string{East, West} {
			modes := f.Sites[region].Services()[0].Modes
			id, err := modes.Override(t.Context(), degrade.Override{Feature: "history", Level: degrade.Limited, Scope: degrade.ScopeInstance, TTL: time.Minute, Reason: "a test", By: "ann"})
			if err != nil {
				t.Fatal(err)
			}
			if why := f.Unrest(); f.Degraded() != 1 || len(why) != 1 {
				t.Errorf("one feature of %s is limited: %d seen, %q", region, f.Degraded(), why)
			}
			if err := modes.Clear(t.Context(), id, degrade.Request{By: "ann", Reason: "a test"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}
		f.Stop()
	})
}
