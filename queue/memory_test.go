package queue_test

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/queuetest"
)

func TestMemoryConforms(t *testing.T) {
	queuetest.TestTransport(t, queuetest.Kit{Bubble: synctest.Test, Open: func(t *testing.T, fifo bool) (main, dead queue.Transport) {
		m, err := queue.NewMemory(queue.MemoryConfig{Region: "eu-west-1", FIFO: fifo})
		if err != nil {
			t.Fatal(err)
		}
		return m, m.DeadLetters()
	}})
}

func TestRegionalConforms(t *testing.T) {
	queuetest.TestTransport(t, queuetest.Kit{Bubble: synctest.Test, Open: func(t *testing.T, fifo bool) (main, dead queue.Transport) {
		m, err := queue.NewMemory(queue.MemoryConfig{Region: "a", FIFO: fifo})
		if err != nil {
			t.Fatal(err)
		}
		config := queue.RegionalConfig{}
		if fifo {
			config.Pinned = "a"
		}
		r, err := queue.NewRegional(func() ([]string, string) { return []string{"a"}, "a" }, map[string]queue.Transport{"a": m}, config)
		if err != nil {
			t.Fatal(err)
		}
		return r, m.DeadLetters()
	}})
}
