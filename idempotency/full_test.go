package idempotency_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// fullOf returns a store that n calls in flight have filled, and how a claim at it ends.
func fullOf(t testing.TB, n int) (m *idempotency.Memory, claim func() error) {
	m, err := idempotency.NewMemory(idempotency.MemoryConfig{MaxEntries: n})
	if err != nil {
		t.Fatal(err)
	}
	c := idempotency.Claim{Lease: time.Hour, Retention: time.Hour}
	for i := range n {
		c.Key, c.Owner = key(fmt.Sprint(i)), idempotency.Owner{1}
		if _, err := m.Begin(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	c.Key = key("one more")
	return m, func() error {
		_, err := m.Begin(t.Context(), c)
		return err
	}
}

// It has room again as soon as a record's retention has passed, though it looks for one only when one is due.
func TestAFullMemoryHasRoomWhenARecordExpires(t *testing.T) {
	bubble(t, "to the instant", func(t *testing.T) {
		m, claim := fullOf(t, 4_096)
		for left := time.Hour; left > 0; left -= time.Minute {
			if err := claim(); !errors.Is(err, idempotency.ErrStoreFull) || m.Len() != 4_096 {
				t.Fatalf("Begin with %v of retention left = %v with %d records, want ErrStoreFull", left, err, m.Len())
			}
			time.Sleep(min(time.Minute, left-1))
		}
		_ = claim()
		time.Sleep(time.Nanosecond)
		if err := claim(); err != nil {
			t.Errorf("Begin when all has expired = %v", err)
		}
	})
}

func BenchmarkFullMemory(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, claim := fullOf(b, n)
			b.ReportAllocs()
			for b.Loop() {
				_ = claim()
			}
		})
	}
}
