package idempotency_test

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/storetest"
)

// losing is a store that can be emptied.
type losing struct{ *idempotency.Memory }

func TestMemoryIsAStore(t *testing.T) {
	for name, test := range storetest.All() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, func(t *testing.T) storetest.Subject {
					s := &losing{newMemory(t, idempotency.MemoryConfig{})}
					return storetest.Subject{Store: s, Lose: func() { s.Memory = newMemory(t, idempotency.MemoryConfig{}) }}
				})
			})
		})
	}
}

func newMemory(t *testing.T, c idempotency.MemoryConfig) *idempotency.Memory {
	t.Helper()
	m, err := idempotency.NewMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
