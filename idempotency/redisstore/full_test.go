package redisstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// A server out of memory refuses new calls, replays those that are done, and stores what ran when it has room again.
func TestAFullRedis(t *testing.T) {
	server := servertest.Start(t, servertest.Redis)
	client := newClient(t, server.Addr())
	limit := func(bytes string) {
		t.Helper()
		if err := client.ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}
	g := newGuard(t, newStore(t, client, redisstore.Config{}), idempotency.Config{})
	other := newGuard(t, newStore(t, client, redisstore.Config{}), idempotency.Config{Wait: idempotency.Unlimited})
	do := func(g *idempotency.Guard, id string) (string, idempotency.Info, error) {
		return idempotency.DoInfo(t.Context(), g, idempotency.Key{ID: id}, func(context.Context) (string, error) { return "of " + id, nil })
	}
	if _, _, err := do(g, "before"); err != nil {
		t.Fatal(err)
	}
	v, info, err := idempotency.DoInfo(t.Context(), g, idempotency.Key{ID: "during"}, func(context.Context) (string, error) {
		limit("1mb") // less than an empty server has
		return "of during", nil
	})
	if v != "of during" || err != nil || info.Stored {
		t.Errorf("a call that meets the limit = %q, %+v, %v, want its result, not stored", v, info, err)
	}
	if v, info, err := do(other, "before"); v != "of before" || err != nil || !info.Replayed {
		t.Errorf("a done call = %q, %+v, %v, want it replayed", v, info, err)
	}
	if _, _, err := do(other, "new"); !errors.Is(err, idempotency.ErrStoreFull) && !errors.Is(err, idempotency.ErrUnavailable) {
		t.Errorf("a new call = %v, want it refused", err)
	}
	limit("0")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err = idempotency.Do(ctx, other, idempotency.Key{ID: "during"}, func(context.Context) (string, error) { return "second run", nil })
	if v != "of during" || err != nil {
		t.Errorf("with room again = %q, %v, want the first run's result", v, err)
	}
}
