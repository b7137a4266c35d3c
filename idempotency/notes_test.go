package idempotency_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

// noted takes n calls through a store whose peer is away: every other one is done, the rest released.
func noted(t *testing.T, m *idempotency.Memory, op string, n int, kept time.Duration) {
	t.Helper()
	for i := range n {
		c := idempotency.Claim{Key: idempotency.Key{Op: op, ID: fmt.Sprint(i)}, Owner: idempotency.Owner{1}, Lease: time.Second, Retention: kept, Unsynced: true}
		a, err := m.Begin(t.Context(), c)
		if err != nil || a.Status != idempotency.StatusGranted {
			t.Fatalf("Begin = %v, %v", a.Status, err)
		}
		h := idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: a.Record.Fence}
		if i%2 == 0 {
			_, err = m.Complete(t.Context(), idempotency.Completion{Holder: h, Result: []byte("x"), Retention: kept, Unsynced: true})
		} else {
			_, err = m.Release(t.Context(), idempotency.Release{Holder: h, Retention: kept, Unsynced: true})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// countNotes counts notes by the operation of their key, and which of them are of calls that are done.
func countNotes(t *testing.T, m *idempotency.Memory) (all, done map[string]int) {
	t.Helper()
	all, done = map[string]int{}, map[string]int{}
	for mark, err := range m.Unsynced(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[mark.Key.Op]++
		if r, _ := m.Load(t.Context(), mark.Key); r.State == idempotency.StateDone {
			done[mark.Key.Op]++
		}
	}
	return all, done
}

func TestNotesAreBounded(t *testing.T) {
	const n = 4_000
	bubble(t, "by the retention of what they are about", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{})
		noted(t, m, "day 0", n, 24*time.Hour)
		if all, _ := countNotes(t, m); all["day 0"] != n {
			t.Fatalf("%d notes, want all %d", all["day 0"], n)
		}
		time.Sleep(24*time.Hour + 50*time.Second) // late writes may still be under way to the peer
		noted(t, m, "day 1", n, 24*time.Hour)
		if all, _ := countNotes(t, m); all["day 0"] != n {
			t.Errorf("%d notes are left when their keys have just expired, want all %d", all["day 0"], n)
		}
		time.Sleep(time.Minute)
		noted(t, m, "day 2", n, 24*time.Hour)
		all, _ := countNotes(t, m)
		if all["day 1"] != n || all["day 2"] != n || all["day 0"] > n/2 {
			t.Errorf("notes of each day: %v, want all %d of those that have not expired and few others", all, n)
		}
	})
	bubble(t, "by MaxEntries", func(t *testing.T) {
		m := newMemory(t, idempotency.MemoryConfig{MaxEntries: n})
		for day := range 6 {
			noted(t, m, fmt.Sprint("day ", day), n, 240*time.Hour)
		}
		all, done := countNotes(t, m)
		sum, kept := 0, 0
		for day := range all {
			sum, kept = sum+all[day], kept+done[day]
		}
		if sum > 2*n || kept != m.Len() {
			t.Errorf("%d notes, of %d of %d results, want at most %d, and of all results", sum, kept, m.Len(), 2*n)
		}
	})
}
