package drill

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// Every kind of fault can be allowed, by the names it acts on and no others.
func TestPermit(t *testing.T) {
	w, err := drtest.NewReal(t.Context(), drtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	w.Region("east")
	w.Region("west")
	c := Config{Allow: []string{"east", "west", "api"}}
	for _, f := range []fault.Fault{
		fault.RegionDown("east", fault.ModeHang), fault.AZDown("east", "a", fault.ModeRefuse).Recovering(time.Minute, time.Second, 0.1),
		fault.Loss("east", "west", 0.1), fault.Bandwidth("east", fault.Others, 1000), fault.DNS("east", "api", fault.FailTimeout),
		fault.TLS("api", fault.FailExpired), fault.CapacityLimit("api", 1), fault.FlagStoreDown("api"),
	} {
		if err := c.permit(w, f); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
	for _, f := range []fault.Fault{
		fault.AZDown("north", "a", fault.ModeRefuse), fault.Loss("east", "north", 0.1), fault.DNS("east", "db", fault.FailTimeout),
		fault.TLS("db", fault.FailExpired), fault.RegionCapacity("north", 1), fault.ReplicationBreak("db"),
	} {
		if err := c.permit(w, f); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%v: %v", f, err)
		}
	}
}
