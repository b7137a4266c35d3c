package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/aesgcm"
)

type secret struct{ Card string }

var secretCall = queue.Define[secret]("secret.v1")

func keyed(t *testing.T, current string, ids ...string) *aesgcm.Codec {
	t.Helper()
	keys := map[string][]byte{}
	for _, id := range ids {
		keys[id] = bytes.Repeat([]byte{id[0]}, 32)
	}
	c, err := aesgcm.New(current, keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// broken is a codec whose key service is away.
type broken struct {
	queue.Codec
	away atomic.Bool
}

func (b *broken) Open(ctx context.Context, aad, key string, sealed []byte) ([]byte, error) {
	if b.away.Load() {
		return nil, errors.New("key service is away")
	}
	return b.Codec.Open(ctx, aad, key, sealed)
}

func TestCodecThroughAWorker(t *testing.T) {
	flaky := func(t *testing.T) queue.Codec {
		b := &broken{Codec: keyed(t, "a", "a")}
		b.away.Store(true)
		time.AfterFunc(5*time.Minute, func() { b.away.Store(false) })
		return b
	}
	tests := []struct {
		name   string
		worker func(t *testing.T) queue.Codec
		tamper bool
		runs   int64
		dead   string
	}{
		{"same key", func(t *testing.T) queue.Codec { return keyed(t, "a", "a") }, false, 1, "[]"},
		{"rotated key", func(t *testing.T) queue.Codec { return keyed(t, "b", "a", "b") }, false, 1, "[]"},
		{"key service away for five minutes", flaky, false, 1, "[]"},
		{"unknown key waits for a deployment", func(t *testing.T) queue.Codec { return keyed(t, "b", "b") }, false, 0, "[]"},
		{"no codec waits for a deployment", func(*testing.T) queue.Codec { return nil }, false, 0, "[]"},
		{"sealed for another call", func(t *testing.T) queue.Codec { return keyed(t, "a", "a") }, true, 0, "[unsealed]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, err := queue.NewMemory(queue.MemoryConfig{})
				if err != nil {
					t.Fatal(err)
				}
				var tr queue.Transport = m
				if tt.tamper {
					tr = &renamed{m}
				}
				c, err := queue.NewClient(tr, queue.ClientConfig{Codec: keyed(t, "a", "a")})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := secretCall.Defer(t.Context(), c, secret{"4111-1111"}, queue.ID("one")); err != nil {
					t.Fatal(err)
				}
				var runs atomic.Int64
				mux := queue.NewMux()
				queue.Handle(mux, secretCall, func(_ context.Context, s secret) error {
					if s.Card != "4111-1111" {
						t.Errorf("opened as %+v", s)
					}
					runs.Add(1)
					return nil
				}, queue.HandlerConfig{MaxAttempts: 1})
				w, err := queue.NewWorker(m, mux, queue.WorkerConfig{Codec: tt.worker(t)})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				time.Sleep(20 * time.Minute)
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if got := fmt.Sprint(reasons(t, m.DeadLetters())); got != tt.dead || runs.Load() != tt.runs {
					t.Errorf("%d runs, dead %s, want %d and %s", runs.Load(), got, tt.runs, tt.dead)
				}
				if depth, _ := m.Stats(t.Context()); tt.runs == 0 && tt.dead == "[]" && depth.Total() != 1 {
					t.Errorf("queue %+v, want the call still there", depth)
				}
			})
		})
	}
}

// renamed changes the call ID on the way and asserts that nothing travels in the clear.
type renamed struct{ queue.Transport }

func (r *renamed) Send(ctx context.Context, m []queue.Outgoing) []queue.SendResult {
	m[0].Body = strings.Replace(m[0].Body, `"id":"one"`, `"id":"two"`, 1)
	if strings.Contains(m[0].Body, "4111") {
		panic("payload in the clear")
	}
	return r.Transport.Send(ctx, m)
}

func reasons(t *testing.T, dead *queue.Memory) (all []string) {
	t.Helper()
	got, err := dead.Receive(t.Context(), queue.ReceiveRequest{Max: 10, Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		all = append(all, m.Attributes[queue.AttributeReason])
	}
	return all
}
