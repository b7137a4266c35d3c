// Package coordtest checks that a failover.Coordinator keeps its contract. Holdfast's own coordinators pass it first:
//
//	func TestCoordinator(t *testing.T) {
//		coordtest.Run(t, func(t *testing.T) failover.Coordinator { return newEmptyCoordinator(t) })
//	}
package coordtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// Run checks a coordinator. open returns a new, empty one; it is called once per test.
func Run(t *testing.T, open func(*testing.T) failover.Coordinator) {
	tests := []struct {
		name string
		run  func(*testing.T, failover.Coordinator)
	}{
		{"an empty coordinator has no record", empty},
		{"a record comes back as it was stored", roundTrip},
		{"a swap from another sequence conflicts and changes nothing", conflict},
		{"of concurrent swaps exactly one is stored", race},
		{"a vote replaces the instance's earlier one", votes},
		{"a vote that was overtaken changes nothing", overtaken},
		{"old votes are dropped", retention},
		{"an ended context stores nothing", ended},
		{"info is stable", info},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

// Sample is a record with every field set.
func Sample(sequence uint64) failover.Record {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	return failover.Record{
		Sequence: sequence, Epoch: 1<<48 | 7, DecisionID: "d", Phase: failover.PhasePromoting, Since: at, Stamps: []string{"s", fmt.Sprint("s", sequence)},
		Transition: &failover.Transition{ID: "t", From: "us-east-1", To: "us-west-2", Reason: `quotes " and ünïcode`, By: "ann", Asked: at, Expires: at},
		Moves:      []failover.Move{{At: at, Auto: true}}, AskAgain: at,
		Log: []json.RawMessage{json.RawMessage(`{"seq":1,"why":"\u003cb\u003e"}`)},
	}
}

func empty(t *testing.T, c failover.Coordinator) {
	if _, err := c.Load(t.Context()); !errors.Is(err, failover.ErrNoRecord) {
		t.Errorf("Load = %v, want ErrNoRecord", err)
	}
	if err := c.CompareAndSwap(t.Context(), 3, Sample(4)); !errors.Is(err, failover.ErrConflict) {
		t.Errorf("CompareAndSwap(3) = %v, want ErrConflict", err)
	}
	if got, err := c.Votes(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Votes = %v, %v, want none", got, err)
	}
}

func roundTrip(t *testing.T, c failover.Coordinator) {
	store(t, c, 0, Sample(1))
	store(t, c, 1, Sample(2))
	got, want := load(t, c), Sample(2)
	same := got.Sequence == want.Sequence && got.Epoch == want.Epoch && got.Phase == want.Phase && slices.Equal(got.Stamps, want.Stamps) &&
		got.Since.Equal(want.Since) && got.Transition != nil && got.Transition.Reason == want.Transition.Reason &&
		len(got.Moves) == 1 && got.Moves[0].Auto && got.AskAgain.Equal(want.AskAgain) && len(got.Log) == 1 && string(got.Log[0]) == string(want.Log[0])
	if !same {
		t.Errorf("Load = %+v, want %+v", got, want)
	}
}

func conflict(t *testing.T, c failover.Coordinator) {
	store(t, c, 0, Sample(1))
	for _, from := range []uint64{0, 2} {
		if err := c.CompareAndSwap(t.Context(), from, Sample(9)); !errors.Is(err, failover.ErrConflict) {
			t.Errorf("CompareAndSwap(%d) = %v, want ErrConflict", from, err)
		}
	}
	if got := load(t, c); got.Sequence != 1 {
		t.Errorf("sequence %d after conflicts, want 1", got.Sequence)
	}
}

func race(t *testing.T, c failover.Coordinator) {
	const rounds, contenders = 5, 8
	for round := range uint64(rounds) {
		var mu sync.Mutex
		var winners []string
		var wg sync.WaitGroup
		for i := range contenders {
			wg.Go(func() {
				rec := Sample(round + 1)
				rec.Stamps = []string{fmt.Sprint(round, "/", i)}
				switch err := c.CompareAndSwap(t.Context(), round, rec); {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					winners = append(winners, rec.Stamps[0])
				case !errors.Is(err, failover.ErrConflict):
					t.Errorf("CompareAndSwap = %v, want nil or ErrConflict", err)
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 || load(t, c).Stamps[0] != winners[0] {
			t.Fatalf("round %d: winners %q, stored %q", round, winners, load(t, c).Stamps)
		}
	}
}

func votes(t *testing.T, c failover.Coordinator) {
	vote := failover.Vote{
		Instance: "a", Region: "us-east-1", Number: 1, At: time.Now().UTC(), Epoch: 3, TTL: 20 * time.Second, RunToken: 2,
		Views: map[failover.Region]failover.Health{"us-east-1": failover.HealthUnhealthy},
	}
	cast(t, c, vote)
	cast(t, c, failover.Vote{Instance: "b", Region: "us-west-2", Witness: true, Abstain: true, Number: 9, At: time.Now().UTC()})
	vote.Number = 2
	cast(t, c, vote)
	got := sorted(t, c)
	if len(got) != 2 || got[0].Number != 2 || got[0].Epoch != 3 || got[0].TTL != vote.TTL || got[0].RunToken != 2 ||
		got[0].Views["us-east-1"] != failover.HealthUnhealthy || !got[0].At.Equal(vote.At) || !got[1].Witness || !got[1].Abstain {
		t.Errorf("Votes = %+v, want a's second vote and b's", got)
	}
}

func overtaken(t *testing.T, c failover.Coordinator) {
	now := time.Now().UTC()
	cast(t, c, failover.Vote{Instance: "a", Number: 1_800_000_000_000_000_002, At: now, Epoch: 3})
	err := c.Vote(t.Context(), failover.Vote{Instance: "a", Number: 1_800_000_000_000_000_001, At: now.Add(-time.Second), Epoch: 2})
	if !errors.Is(err, failover.ErrConflict) {
		t.Errorf("Vote with a lower number = %v, want ErrConflict", err)
	}
	if got := sorted(t, c); len(got) != 1 || got[0].Epoch != 3 {
		t.Errorf("Votes = %+v, want only the higher number", got)
	}
}

func retention(t *testing.T, c failover.Coordinator) {
	now := time.Now().UTC()
	cast(t, c, failover.Vote{Instance: "old", Number: 1, At: now.Add(-failover.VoteRetention - time.Minute)})
	cast(t, c, failover.Vote{Instance: "kept", Number: 1, At: now.Add(-failover.VoteRetention + time.Hour)})
	if got := sorted(t, c); len(got) != 1 || got[0].Instance != "kept" {
		t.Errorf("Votes = %+v, want only the one within VoteRetention", got)
	}
}

func ended(t *testing.T, c failover.Coordinator) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.CompareAndSwap(ctx, 0, Sample(1)); err == nil {
		t.Error("CompareAndSwap with an ended context = nil, want an error")
	}
	if err := c.Vote(ctx, failover.Vote{Instance: "a", At: time.Now()}); err == nil {
		t.Error("Vote with an ended context = nil, want an error")
	}
	if _, err := c.Load(t.Context()); !errors.Is(err, failover.ErrNoRecord) {
		t.Errorf("Load = %v, want ErrNoRecord: nothing may have been stored", err)
	}
}

func info(t *testing.T, c failover.Coordinator) {
	a, b := c.Info(), c.Info()
	if a.Name == "" || a.Name != b.Name || a.Linearizable != b.Linearizable || !slices.Equal(a.Survives, b.Survives) {
		t.Errorf("Info = %+v, then %+v, want a stable one with a name", a, b)
	}
}

func store(t *testing.T, c failover.Coordinator, sequence uint64, rec failover.Record) {
	t.Helper()
	if err := c.CompareAndSwap(t.Context(), sequence, rec); err != nil {
		t.Fatalf("CompareAndSwap(%d) = %v, want nil", sequence, err)
	}
}

func load(t *testing.T, c failover.Coordinator) failover.Record {
	t.Helper()
	rec, err := c.Load(t.Context())
	if err != nil {
		t.Fatalf("Load = %v, want nil", err)
	}
	return rec
}

func cast(t *testing.T, c failover.Coordinator, v failover.Vote) {
	t.Helper()
	if err := c.Vote(t.Context(), v); err != nil {
		t.Fatalf("Vote = %v, want nil", err)
	}
}

func sorted(t *testing.T, c failover.Coordinator) []failover.Vote {
	t.Helper()
	got, err := c.Votes(t.Context())
	if err != nil {
		t.Fatalf("Votes = %v, want nil", err)
	}
	slices.SortFunc(got, func(a, b failover.Vote) int {
		if a.Instance < b.Instance {
			return -1
		}
		return 1
	})
	return got
}
