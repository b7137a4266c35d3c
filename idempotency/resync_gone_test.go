package idempotency_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/holdfast-go/holdfast/idempotency"
)

// A deadReplica does not answer.
type deadReplica struct{ idempotency.Replica }

var errDead = errors.New("dead")

func (deadReplica) Load(context.Context, idempotency.Key) (idempotency.Record, error) {
	return idempotency.Record{}, errDead
}

func (deadReplica) Unsynced(context.Context) iter.Seq2[idempotency.Mark, error] {
	return func(yield func(idempotency.Mark, error) bool) { yield(idempotency.Mark{}, errDead) }
}

// A countingReplica counts how often it is asked what its peer has missed.
type countingReplica struct {
	idempotency.Replica
	listed int
}

func (c *countingReplica) Unsynced(ctx context.Context) iter.Seq2[idempotency.Mark, error] {
	c.listed++
	return c.Replica.Unsynced(ctx)
}

func TestResyncListsNothingForACopyThatIsGone(t *testing.T) {
	memory := func() *idempotency.Memory {
		m, err := idempotency.NewMemory(idempotency.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	home := &countingReplica{Replica: memory()}
	r, err := idempotency.NewRegional(func() ([]string, string) { return []string{"a", "b"}, "a" },
		map[string]idempotency.Store{"a": home, "b": deadReplica{memory()}}, idempotency.RegionalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Resync(t.Context()); !errors.Is(err, errDead) {
		t.Errorf("Resync = %v, want %v", err, errDead)
	}
	if home.listed != 0 {
		t.Errorf("what the copy has missed was listed %d times, for nobody", home.listed)
	}
}
