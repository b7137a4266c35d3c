package coordtest_test

import (
	"path/filepath"
	"testing"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/coordtest"
)

func TestMemory(t *testing.T) {
	coordtest.Run(t, func(*testing.T) failover.Coordinator { return failover.NewMemoryCoordinator("us-east-1") })
}

func TestFile(t *testing.T) {
	coordtest.Run(t, func(t *testing.T) failover.Coordinator {
		c, err := failover.OpenFileCoordinator(filepath.Join(t.TempDir(), "coord.json"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
}
