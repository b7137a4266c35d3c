package degradetest

import (
	"testing"

	"github.com/holdfast-go/holdfast/degrade"
)

func TestMemoryStore(t *testing.T) {
	stores := map[string]*Store{}
	TestStore(t, func(_ *testing.T, name string) degrade.Store {
		if stores[name] == nil {
			stores[name] = &Store{}
		}
		return stores[name]
	})
}
