package idempotency_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

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

// A hangingReplica takes one kind of step and never answers it.
type hangingReplica struct {
	idempotency.Replica
	at string
}

func (h hangingReplica) hang(ctx context.Context, at string) error {
	if at != h.at {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h hangingReplica) Load(ctx context.Context, key idempotency.Key) (idempotency.Record, error) {
	if key.Op != "holdfast" { // it is there when it is asked whether it is
		if err := h.hang(ctx, "load"); err != nil {
			return idempotency.Record{}, err
		}
	}
	return h.Replica.Load(ctx, key)
}

func (h hangingReplica) Synced(ctx context.Context, m idempotency.Mark) error {
	if err := h.hang(ctx, "clear a note"); err != nil {
		return err
	}
	return h.Replica.Synced(ctx, m)
}

func (h hangingReplica) Unsynced(ctx context.Context) iter.Seq2[idempotency.Mark, error] {
	return func(yield func(idempotency.Mark, error) bool) {
		for m, err := range h.Replica.Unsynced(ctx) {
			if !yield(m, err) {
				return
			}
		}
		if err := h.hang(ctx, "list what its peer has missed"); err != nil {
			yield(idempotency.Mark{}, err)
		}
	}
}

// A move waits for Resync with writes stopped: a store that hangs while it is copied from ends that, and is named.
func TestResyncDoesNotWaitForASourceThatHangs(t *testing.T) {
	for _, at := range []string{"load", "clear a note", "list what its peer has missed"} {
		for _, writer := range []string{"a", ""} {
			bubble(t, at+", the writer is "+writer, func(t *testing.T) {
				home := newMemory(t, idempotency.MemoryConfig{})
				away := newRegion(t)
				r, err := idempotency.NewRegional(func() ([]string, string) { return nil, writer },
					map[string]idempotency.Store{"a": hangingReplica{home, at}, "b": away}, idempotency.RegionalConfig{})
				if err != nil {
					t.Fatal(err)
				}
				c := idempotency.Claim{Key: key("a"), Owner: idempotency.Owner{1}, Lease: time.Hour, Retention: time.Hour, Unsynced: true}
				if _, err := home.Begin(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				err = r.Resync(t.Context())
				if took := time.Since(start); took > 15*time.Second || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Resync = %v after %v, want a time-out within 15s", err, took)
				}
				if want := `store of Region "a": no answer within`; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), at) {
					t.Errorf("Resync = %v, want an error with %s and %q", err, want, at)
				}
			})
		}
	}
}
