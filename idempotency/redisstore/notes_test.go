package redisstore_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// ofOneBucket returns the first n IDs under op whose notes are in one list.
func ofOneBucket(op string, n int) (ids []string) {
	for i := 0; len(ids) < n; i++ {
		h := fnv.New32a()
		id := fmt.Sprint(i)
		fmt.Fprintf(h, "|%s|%s", op, id)
		if h.Sum32()%128 == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// noted takes n calls through the store whose peer is away: every other one is done, the rest released.
func noted(t *testing.T, s *redisstore.Store, name string, n int, kept time.Duration) {
	t.Helper()
	for i, id := range ofOneBucket(name, n) {
		c := idempotency.Claim{Key: idempotency.Key{Op: name, ID: id}, Owner: idempotency.Owner{1}, Lease: time.Second, Retention: kept, Unsynced: true}
		a, err := s.Begin(t.Context(), c)
		if err != nil || a.Status != idempotency.StatusGranted {
			t.Fatalf("Begin = %v, %v", a.Status, err)
		}
		h := idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: a.Record.Fence}
		if i%2 == 0 {
			_, err = s.Complete(t.Context(), idempotency.Completion{Holder: h, Result: []byte("x"), Retention: kept, Unsynced: true})
		} else {
			_, err = s.Release(t.Context(), idempotency.Release{Holder: h, Retention: kept, Unsynced: true})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func countNotes(t *testing.T, s *redisstore.Store, name string) (n int) {
	t.Helper()
	for m, err := range s.Unsynced(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Key.Op == name {
			n++
		}
	}
	return n
}

// While a peer is away for good, notes come with every call. They go when what they are about has expired.
func TestNotesGoWithTheirRetention(t *testing.T) {
	m := miniredis.RunT(t)
	now := time.Now()
	m.SetTime(now)
	m.ClockTTL(true)
	s := newStore(t, newClient(t, m.Addr()), redisstore.Config{})
	const day = 24 * time.Hour
	noted(t, s, "day 0", 200, day)
	if n := countNotes(t, s, "day 0"); n != 200 {
		t.Fatalf("%d notes on the first day, want all 200", n)
	}
	m.SetTime(now.Add(day + 50*time.Second)) // late writes may still be under way to the peer
	noted(t, s, "day 1", 100, day)
	if n := countNotes(t, s, "day 0"); n != 200 {
		t.Errorf("%d notes of the first day are left when their keys have just expired, want all 200", n)
	}
	m.SetTime(now.Add(day + 2*time.Minute))
	noted(t, s, "day 2", 200, day)
	if n := countNotes(t, s, "day 0"); n > 0 {
		t.Errorf("%d notes of the first day are left a day later", n)
	}
	if n, of2 := countNotes(t, s, "day 1"), countNotes(t, s, "day 2"); n != 100 || of2 != 200 {
		t.Errorf("%d and %d notes are left of calls that have not expired, want 100 and 200", n, of2)
	}
}

// A real server looks at a part of its notes at a time.
func TestNotesGoOnARealServer(t *testing.T) {
	client := newClient(t, servertest.Start(t, servertest.Redis).Addr())
	s := newStore(t, client, redisstore.Config{Prefix: t.Name() + ":"})
	noted(t, s, "old", 4_000, time.Hour)
	backdate(t, client, t.Name()+":")
	noted(t, s, "new", 5_000, time.Hour)
	if n := countNotes(t, s, "new"); n != 5_000 {
		t.Errorf("%d notes are left of calls that have not expired, want %d", n, 5_000)
	}
	if n := countNotes(t, s, "old"); n > 400 {
		t.Errorf("%d of %d notes are left whose calls have expired, want few", n, 4_000)
	}
}

// backdate lets all notes be worth nothing since an hour ago.
func backdate(t *testing.T, client *redis.Client, prefix string) {
	t.Helper()
	ctx := context.Background()
	past := time.Now().Add(-time.Hour).Unix()
	buckets, err := client.Keys(ctx, prefix+"*unsynced").Result()
	if err != nil || len(buckets) != 1 {
		t.Fatalf("%d buckets, %v", len(buckets), err)
	}
	for _, bucket := range buckets {
		notes, err := client.HGetAll(ctx, bucket).Result()
		if err != nil {
			t.Fatal(err)
		}
		for ident, note := range notes {
			if parts := strings.Fields(note); len(parts) == 3 {
				notes[ident] = fmt.Sprintf("%s %s %d", parts[0], parts[1], past)
			}
		}
		if err := client.HSet(ctx, bucket, notes).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
