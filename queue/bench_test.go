package queue

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// near acknowledges when it has been away, and allocates nothing: what is left is the client's own.
type near struct {
	Transport
	away    time.Duration
	results []SendResult
}

func newNear(away time.Duration) *near {
	m := must(NewMemory(MemoryConfig{}))
	return &near{Transport: m, away: away, results: make([]SendResult, m.Limits().Batch)}
}

func (t *near) Send(_ context.Context, messages []Outgoing) []SendResult {
	time.Sleep(t.away)
	return t.results[:len(messages)]
}

// BenchmarkDefer is what Defer costs of itself, timers of the queue that is away included: 128 goroutines, 512 bytes of text,
// the collector as with 64 MiB of live heap.
func BenchmarkDefer(b *testing.B) {
	type note struct{ Text string }
	call := Define[note]("bench.note.v1")
	client := must(NewClient(newNear(time.Millisecond), ClientConfig{}))
	text := note{strings.Repeat("x", 512)}
	ballast := make([]byte, 64<<20)
	defer runtime.KeepAlive(ballast)
	b.ReportAllocs()
	before := cpu()
	var wg sync.WaitGroup
	for g := range 128 {
		wg.Go(func() {
			for range (b.N + 127 - g) / 128 {
				if _, err := call.Defer(context.Background(), client, text); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkDeferAlone is what a request pays that defers one call while nobody else does, under a context that can be cancelled:
// to one queue in memory, and to the first of two Regions. Queues are emptied every thousand calls.
func BenchmarkDeferAlone(b *testing.B) {
	home, regional := alone(nil)
	for _, tt := range []struct {
		name string
		Transport
	}{{"memory", home}, {"regional", regional}} {
		b.Run(tt.name, func(b *testing.B) {
			client := must(NewClient(tt.Transport, ClientConfig{}))
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			before := cpu()
			for n := range b.N {
				if _, err := billing.Defer(ctx, client, charge{"o-1", 42}); err != nil {
					b.Fatal(err)
				}
				if n%1000 == 999 {
					home.drop()
				}
			}
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// A deep queue uses as much stack as an SDK does.
type deep struct{ *near }

func (q deep) Send(ctx context.Context, m []Outgoing) []SendResult {
	return down(100, func() []SendResult { return q.near.Send(ctx, m) })
}

func down(n int, send func() []SendResult) []SendResult {
	var frame [128]byte
	if n > 0 {
		results := down(n-1, send)
		frame[n] = byte(n)
		return results[:len(results)+int(frame[0])]
	}
	return send()
}

// BenchmarkDeferCarried is BenchmarkDeferAlone to a queue that may keep its callers waiting, such as SQS: with [Client.Run] in turns with none.
func BenchmarkDeferCarried(b *testing.B) {
	for _, runs := range []bool{false, true} {
		b.Run(fmt.Sprintf("run=%t", runs), func(b *testing.B) {
			client := must(NewClient(deep{newNear(0)}, ClientConfig{}))
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			if runs {
				go func() { done <- client.Run(ctx) }()
			} else {
				done <- nil
			}
			b.ReportAllocs()
			before := cpu()
			for range b.N {
				if _, err := billing.Defer(ctx, client, charge{"o-1", 42}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}

// drop empties m.
func (m *Memory) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.messages)
	m.ready = deque[*memoryMessage]{}
}

// BenchmarkMemoryWorker is receive, run, delete: the queue is filled beforehand.
func BenchmarkMemoryWorker(b *testing.B) {
	m := must(NewMemory(MemoryConfig{}))
	mux := NewMux()
	var wg sync.WaitGroup
	Handle(mux, billing, func(context.Context, charge) error { wg.Done(); return nil }, HandlerConfig{})
	e := Envelope{ID: newID(time.Now()), Name: "billing.charge.v1", Source: "orders", Time: time.Now().UTC(), Data: []byte(`{"order":"o-1","cents":42}`)}
	out := []Outgoing{{CallID: e.ID, Body: string(e.Append(nil))}}
	var used time.Duration
	b.ReportAllocs()
	for n := 0; n < b.N; n += 50_000 { // in rounds, so that the collector does not walk a million waiting messages
		some := min(50_000, b.N-n)
		wg.Add(some)
		for range some {
			m.Send(b.Context(), out)
		}
		w := must(NewWorker(m, mux, WorkerConfig{Workers: 64}))
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		before := cpu()
		go func() { done <- w.Run(ctx) }()
		wg.Wait()
		used += cpu() - before
		stop()
		if err := <-done; err != nil {
			b.Errorf("Run = %v", err)
		}
	}
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}

// BenchmarkMemory is the whole life of a call: Defer, receive, run, delete.
func BenchmarkMemory(b *testing.B) {
	m := must(NewMemory(MemoryConfig{}))
	client := must(NewClient(m, ClientConfig{}))
	mux := NewMux()
	var wg sync.WaitGroup
	Handle(mux, billing, func(context.Context, charge) error { wg.Done(); return nil }, HandlerConfig{})
	w := must(NewWorker(m, mux, WorkerConfig{Workers: 64}))
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	b.ReportAllocs()
	before := cpu()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			wg.Add(1)
			if _, err := billing.Defer(ctx, client, charge{"o-1", 42}); err != nil {
				b.Error(err)
			}
		}
	})
	wg.Wait()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
	stop()
	if err := <-done; err != nil {
		b.Errorf("Run = %v", err)
	}
}

func BenchmarkEnvelopeAppend(b *testing.B) {
	e := Envelope{ID: newID(time.Now()), Name: "billing.charge.v1", Source: "orders", Time: time.Now().UTC(), Region: "eu-west-1", Data: []byte(`{"order":"o-1","cents":42}`)}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.Append(buf[:0])
	}
}

func BenchmarkEnvelopeDecode(b *testing.B) {
	e := Envelope{ID: newID(time.Now()), Name: "billing.charge.v1", Source: "orders", Time: time.Now().UTC(), Region: "eu-west-1", Data: []byte(`{"order":"o-1","cents":42}`)}
	body := string(e.Append(nil))
	var got Envelope
	b.ReportAllocs()
	for b.Loop() {
		if err := got.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
