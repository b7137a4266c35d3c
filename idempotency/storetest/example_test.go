package storetest_test

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/storetest"
)

func newSubject(t *testing.T) storetest.Subject {
	m, err := idempotency.NewMemory(idempotency.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Subject{Store: m}
}

// A store that judges time by this process's clock is checked in virtual time.
func TestInVirtualTime(t *testing.T) {
	for name, test := range storetest.All() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newSubject) })
		})
	}
}
