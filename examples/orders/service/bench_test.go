package service_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/queue"
)

// instantly is the network of the benchmark: payments that take every charge at once.
type instantly struct{}

func (instantly) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// inMemory returns the service on stores in memory, its controller running, and the database under it.
func inMemory(b *testing.B) (*service.Service, *sql.DB) {
	p := service.Parts{
		Regions: []failover.Region{embedded.East, embedded.West}, Self: embedded.East, Home: embedded.East, Witnesses: []failover.Region{embedded.Third},
		Instance: "bench", Coordinator: failover.NewMemoryCoordinator(embedded.East, embedded.West), Database: embedded.Database{},
		SQL: map[failover.Region]*sql.DB{}, Keys: map[failover.Region]idempotency.Store{}, Peers: map[failover.Region]*url.URL{},
		Promote: func(failover.Transition) []runbook.Step { return nil }, Journal: runbook.NewMemoryJournal(), Net: instantly{},
		Payments: &url.URL{Scheme: "http", Host: "payments"}, Mail: &url.URL{Scheme: "http", Host: "mail"},
		Listen: func(http.Handler) service.HTTPServer { return nil }, Authorize: func(*http.Request) (string, error) { return "", nil },
	}
	lane := func() service.Lane {
		return service.Lane{Queues: map[failover.Region]queue.Transport{
			embedded.East: holdfast.Must(queue.NewMemory(queue.MemoryConfig{Region: embedded.East})),
			embedded.West: holdfast.Must(queue.NewMemory(queue.MemoryConfig{Region: embedded.West})),
		}}
	}
	p.Calls, p.Charges = lane(), lane()
	for _, r := range p.Regions {
		p.SQL[r], p.Peers[r] = openMap(), &url.URL{Host: r}
		p.Keys[r] = holdfast.Must(idempotency.NewMemory(idempotency.MemoryConfig{MaxEntries: 10_000}))
	}
	svc := holdfast.Must(service.New(p))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = svc.Controller.Run(ctx) })
	running.Go(func() { _ = svc.Modes.Run(ctx) })
	b.Cleanup(func() {
		stop()
		running.Wait()
		for _, db := range p.SQL {
			_ = db.Close()
		}
	})
	for {
		if _, ok := svc.Controller.Ready(); ok {
			time.Sleep(2 * time.Second) // until the levels have followed
			return svc, p.SQL[embedded.East]
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// plain is the same handler without us: decode, insert, charge, update, two messages, answer.
func plain(db *sql.DB) http.Handler {
	var d embedded.Database
	var mu sync.Mutex
	var messages [][]byte
	client := &http.Client{Transport: instantly{}}
	save := func(ctx context.Context, o service.Order) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := d.Find(ctx, tx, o.ID); err != nil && err != sql.ErrNoRows {
			return err
		}
		if err := d.Save(ctx, tx, o); err != nil {
			return err
		}
		return tx.Commit()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			SKU, Email string
			Quantity   int
		}
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&request) != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		o := service.Order{
			ID: idempotency.NewID(), Customer: r.Header.Get("Authorization")[7:], Email: request.Email, SKU: request.SKU, Quantity: request.Quantity,
			Cents: service.Prices[request.SKU], Status: service.StatusPending, Placed: time.Now(),
		}
		if save(r.Context(), o) != nil {
			http.Error(w, "bad", http.StatusInternalServerError)
			return
		}
		body, _ := json.Marshal(service.ChargeArgs{Order: o.ID, Cents: o.Cents})
		charge, _ := http.NewRequestWithContext(r.Context(), "POST", "http://payments/charges", strings.NewReader(string(body)))
		charge.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(charge)
		if err != nil {
			http.Error(w, "bad", http.StatusInternalServerError)
			return
		}
		resp.Body.Close()
		o.Status = service.StatusPaid
		if save(r.Context(), o) != nil {
			http.Error(w, "bad", http.StatusInternalServerError)
			return
		}
		mail, _ := json.Marshal(service.MailArgs{Order: o.ID, To: o.Email, Status: o.Status})
		settle, _ := json.Marshal(service.SettleArgs{Order: o.ID})
		mu.Lock()
		if messages = append(messages, mail, settle); len(messages) > 1000 {
			messages = messages[:0]
		}
		mu.Unlock()
		w.Header().Set("Location", "/orders/"+o.ID)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(o)
	})
}

// BenchmarkPost measures POST /orders with all packages and the same handler without them, in turns, so that a busy machine bears on both. CPU time
// and allocations are the process's.
func BenchmarkPost(b *testing.B) {
	svc, db := inMemory(b)
	handlers := []http.Handler{plain(db), svc.Handler()}
	var spent [2]time.Duration
	var allocs [2]uint64
	const turn = 200
	n := 0
	one := func(h http.Handler) {
		n++
		r := httptest.NewRequest("POST", "/orders", strings.NewReader(anvil))
		r.Header.Set("Authorization", "Bearer user-"+fmt.Sprint(n%100))
		r.Header.Set("Idempotency-Key", fmt.Sprint("key-", n))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != http.StatusCreated {
			b.Fatalf("POST = %d %s", rec.Code, rec.Body)
		}
	}
	rounds := 0
	for b.Loop() {
		rounds++
		for i, h := range handlers {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := cpu()
			for range turn {
				one(h)
			}
			spent[i] += cpu() - start
			runtime.ReadMemStats(&after)
			allocs[i] += after.Mallocs - before.Mallocs
		}
	}
	posts := float64(rounds * turn)
	for i, name := range []string{"plain", "all"} {
		b.ReportMetric(float64(spent[i].Nanoseconds())/posts, name+"-cpu-ns/post")
		b.ReportMetric(float64(allocs[i])/posts, name+"-allocs/post")
	}
	b.ReportMetric(float64((spent[1]-spent[0]).Nanoseconds())/posts, "added-cpu-ns/post")
	b.ReportMetric(float64(allocs[1]-allocs[0])/posts, "added-allocs/post")
}
