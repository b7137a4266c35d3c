package service_test

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/degrade/shed"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoverhttp"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/idempotency/idempotencyhttp"
	"github.com/holdfast-go/holdfast/queue"
)

// A postPart is a step of POST /orders alone. Parts with one name before the slash differ by what a package adds.
type postPart struct {
	name string
	run  func(ctx context.Context, id string) error
}

// BenchmarkPostParts measures what a POST goes through, part by part: CPU time of the process, garbage collection included. In a POST, parts find
// less of what they need in the processor's cache.
func BenchmarkPostParts(b *testing.B) {
	svc, p, plain := inMemory(b)
	calls := 0
	for _, part := range append(servingParts(b, svc), callingParts(svc, plain)...) {
		b.Run(part.name, func(b *testing.B) {
			err := svc.Guard.Once(b.Context(), part.name, func(ctx context.Context) error { // a key to derive others from
				return part.measure(ctx, b, &calls)
			})
			if err != nil {
				b.Fatal(err)
			}
			empty(b, p.Calls, p.Charges)
		})
	}
}

// measure runs p, each time with the next ID.
func (p *postPart) measure(ctx context.Context, b *testing.B, calls *int) error {
	b.ReportAllocs()
	first, start := *calls, cpu()
	for b.Loop() {
		*calls++
		if err := p.run(ctx, "benchmark-"+strconv.Itoa(*calls)); err != nil {
			return err
		}
	}
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(*calls-first), "cpu-ns/op")
	return nil
}

// servingParts are the middleware, each around a handler that answers as postOrder does.
func servingParts(b *testing.B, svc *service.Service) []postPart {
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	r := httptest.NewRequestWithContext(ctx, "POST", "/orders", http.NoBody)
	r.Header.Set("Authorization", "Bearer user-1")
	body := bytes.Repeat([]byte("x"), 200)
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{"/orders/1"}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	})
	serve := func(name string, h http.Handler) postPart {
		return postPart{name, func(_ context.Context, id string) error {
			r.Header["Idempotency-Key"] = []string{id}
			h.ServeHTTP(httptest.NewRecorder(), r)
			return nil
		}}
	}
	feature := svc.Modes.Feature("benchmark", degrade.FeatureConfig{})
	return []postPart{
		serve("serve/handler", answer),
		serve("serve/shed", holdfast.Must(shed.New(shed.Config{MaxInFlight: 100})).Middleware(answer)),
		serve("serve/admission", holdfast.Must(failoverhttp.Admission(svc.Controller, failoverhttp.AdmissionConfig{}))(answer)),
		serve("serve/epoch", failoverhttp.Middleware(svc.Controller)(answer)),
		serve("serve/idempotency", holdfast.Must(idempotencyhttp.Middleware(svc.Guard, idempotencyhttp.Config{MaxRun: time.Minute}))(answer)),
		serve("serve/degrade", holdfast.Must(degradehttp.Middleware(svc.Modes, degradehttp.Config{Feature: feature}))(answer)),
	}
}

// callingParts are what the handler does.
func callingParts(svc *service.Service, db *sql.DB) []postPart {
	charge, mail := service.ChargeArgs{Order: "1", Cents: 4200}, service.MailArgs{Order: "1", To: "ann@example.com"}
	none := func(context.Context) error { return nil }
	pay := func(name string, c *http.Client) postPart {
		return postPart{name, func(ctx context.Context, _ string) error {
			r, err := http.NewRequestWithContext(ctx, "POST", "http://payments/charges", bytes.NewReader([]byte("{}")))
			if err != nil {
				return err
			}
			resp, err := c.Do(r)
			if err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.Body.Close()
		}}
	}
	hand := &byHand{db: db}
	return []postPart{
		{"key/Once", func(ctx context.Context, id string) error { return svc.Guard.Once(ctx, id, none) }},
		{"key/Try", func(ctx context.Context, id string) error {
			_, err := service.Charge.Try(ctx, svc.Charges, charge, func(context.Context, service.ChargeArgs) error { return nil }, queue.ID(id))
			return err
		}},
		{"message/by hand", func(_ context.Context, id string) error {
			defer hand.outbox.empty()
			return hand.outbox.put("orders.mail.v1", id, mail)
		}},
		{"message/Defer", func(ctx context.Context, id string) error {
			_, err := service.Mail.Defer(ctx, svc.Client, mail, queue.ID(id))
			return err
		}},
		pay("request/by hand", &http.Client{Transport: instantly{}}),
		pay("request/packages", svc.Pay),
		{"transaction/by hand", func(ctx context.Context, _ string) error {
			return hand.within(ctx, func(context.Context, *sql.Tx) error { return nil })
		}},
		{"transaction/packages", func(ctx context.Context, _ string) error {
			_, err := failoversql.Tx(ctx, svc.DB, embedded.Database{}, func(context.Context, *sql.Tx) (int, error) { return 0, nil }, failover.Idempotent(failover.Replicated))
			return err
		}},
	}
}
