package idempotency

import (
	"strconv"
	"testing"
	"time"
)

// Keys of one hash, which nobody can bring about from outside, are told apart.
func TestRecordsOfOneHash(t *testing.T) {
	m, err := NewMemory(MemoryConfig{MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := &m.shards[0]
	spots := make([]spot, 4)
	for i := range spots {
		spots[i] = spot{place{id: strconv.Itoa(i)}, 7}
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}} {
		for i := range spots {
			e := m.add(s, &spots[i])
			e.attempt = 10 + i
			s.open.PushBack(e, &e.link)
		}
		for n, gone := range order {
			m.drop(s, s.entries.find(&spots[gone]))
			for i := range spots {
				e := s.entries.find(&spots[i])
				dropped := false
				for _, d := range order[:n+1] {
					dropped = dropped || d == i
				}
				if (e == nil) != dropped || e != nil && e.attempt != 10+i {
					t.Errorf("after dropping %v: %d is %+v", order[:n+1], i, e)
				}
			}
		}
		if s.entries.n != 0 || m.Len() != 0 {
			t.Errorf("%d of %d records are left", s.entries.n, m.Len())
		}
	}
}

// The parts of a key count where they stand.
func TestSpotsDiffer(t *testing.T) {
	m, err := NewMemory(MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]Key{}
	for _, k := range []Key{{ID: "a"}, {ID: "b"}, {ID: "a", Op: "b"}, {ID: "b", Op: "a"}, {ID: "a", Scope: "b"}, {ID: "a", Op: "a"}, {ID: "a", Scope: "a"}, {ID: "a", Op: "b", Scope: "c"}, {ID: "a", Op: "c", Scope: "b"}, {ID: "ab"}} {
		_, p := m.at(&k)
		if other, ok := seen[p.hash]; ok {
			t.Errorf("%v and %v have one hash", k, other)
		}
		seen[p.hash] = k
	}
}

// A shard that is full of calls in flight is looked through once, and then not before the first of them is due: claims that come meanwhile are refused without a look.
func TestAFullShardIsLookedThroughOnce(t *testing.T) {
	m, err := NewMemory(MemoryConfig{MaxEntries: 100})
	if err != nil {
		t.Fatal(err)
	}
	s, now, soon := &m.shards[0], int64(1000), int64(time.Hour)
	for i := range 100 {
		e := m.add(s, &spot{place{id: strconv.Itoa(i)}, uint64(i)})
		e.expires = soon
		s.open.PushBack(e, &e.link)
	}
	if m.expire(s, now) || s.due != now+int64(lookEvery) {
		t.Fatalf("the first look frees something, or is repeated at %v, want after %v", time.Duration(s.due-now), lookEvery)
	}
	s.open.First().expires = 0 // whoever looks sees it
	if m.expire(s, s.due-1) || m.Len() != 100 {
		t.Error("the shard is looked through before it is due")
	}
	if !m.expire(s, s.due) || m.Len() != 99 {
		t.Error("the shard is not looked through when it is due")
	}
	if s.due != now+2*int64(lookEvery) {
		t.Errorf("the next look is at %v, want %v", time.Duration(s.due), time.Duration(now)+2*lookEvery)
	}
}
