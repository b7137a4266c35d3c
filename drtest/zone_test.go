package drtest_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A zone that is made at the instant of a heal is there after it, and one that is made while its Region is gone is gone too.
func TestZonesOfALostRegion(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		for i := range 10_000 {
			east := w.Region("east-" + strconv.Itoa(i))
			heal, err := w.Inject(fault.RegionDown(east.Name(), simnet.ModeRefuse))
			if err != nil {
				t.Fatal(err)
			}
			if zone := east.Zone("lost"); drtest.Alive(zone) {
				t.Fatalf("%s lives in a Region that is gone", zone.Name())
			}
			var zone *drtest.Region
			var both sync.WaitGroup
			both.Go(heal)
			both.Go(func() { zone = east.Zone("new") })
			both.Wait()
			if !drtest.Alive(zone) {
				t.Fatalf("%s is gone with a Region that has come back", zone.Name())
			}
		}
	})
}
