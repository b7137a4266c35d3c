package retry

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// read collects what reader sees: metric name and, for give-ups, reason, to value.
func read(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			name := strings.TrimPrefix(m.Name, "holdfast.retry.")
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, dp := range data.DataPoints {
					reason, _ := dp.Attributes.Value("reason")
					got[strings.TrimSuffix(name+" "+reason.AsString(), " ")] = float64(dp.Value)
				}
			case metricdata.Gauge[float64]:
				got[name] = data.DataPoints[0].Value
			}
		}
	}
	return got
}

func TestMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	p := &Policy{Name: "db", MaxAttempts: 3, Backoff: Constant(0), MeterProvider: mp}
	h := &Hedging[int]{Name: "db", Repeatable: true, Delay: time.Millisecond, Budget: NoBudget, MeterProvider: mp}
	synctest.Test(t, func(t *testing.T) {
		_, _ = Do(t.Context(), p, alwaysDown)
		_, _ = Do(t.Context(), p, succeed)
		_, _ = Do(t.Context(), p, func(context.Context) (int, error) { return 0, context.Canceled })
		_, _ = Hedge(t.Context(), h, takes(time.Second, 0))
	})
	got := read(t, reader)
	want := map[string]float64{
		"retries": 2, "give_ups attempts": 1, "give_ups not_retryable": 1, "give_ups budget": 0,
		"budget.spent": 2, "budget.refused": 0, "hedge.calls": 1, "hedge.hedges": 1, "hedge.wins": 1,
	}
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s = %v, %t, want %v", name, v, ok, value)
		}
	}
	if tokens := got["budget.tokens"]; tokens < 8 || tokens > 10 {
		t.Errorf("budget.tokens = %v, want 8 to 10", tokens)
	}
	runtime.KeepAlive(p)
	runtime.KeepAlive(h)
}

func TestEveryReasonIsInTheTable(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	p := &Policy{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))}
	_, _ = Do(t.Context(), p, succeed)
	got := read(t, reader)
	for r := ReasonAttempts; r < reasons; r++ {
		if _, ok := got["give_ups "+r.text().short]; !ok {
			t.Errorf("reason %q is not reported", r)
		}
	}
	if Reason(99).String() != "reason 99" || Reason(0).String() != "no reason" {
		t.Errorf("reasons without a name: %q, %q", Reason(99), Reason(0))
	}
}

func TestOneLogLineOnGiveUpOnly(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		errs []error
		want string
	}{
		{"success", t.Context(), nil, ""},
		{"success after a retry", t.Context(), []error{errDown}, ""},
		{"not retryable", t.Context(), []error{context.Canceled}, ""},
		{"not retryable after a retry", t.Context(), []error{errDown, context.Canceled}, ""},
		{"context ended", ended, nil, ""},
		{"nested", WithAttempt(t.Context(), Attempt{Number: 2}), []error{errDown}, ""},
		{"attempts", t.Context(), []error{errDown, errDown}, `level=WARN msg="retry gave up" name=db attempts=2 elapsed=0s reason="attempts used up" error=down`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
			p := &Policy{Name: "db", MaxAttempts: 2, Backoff: Constant(0), Logger: logger}
			fn, _ := script(tt.errs...)
			_, _ = Do(tt.ctx, p, fn)
			if got := strings.TrimSpace(log.String()); got != tt.want {
				t.Errorf("log = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestASpanCoversTheRepetitions(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	ctx, parent := tp.Tracer("test").Start(t.Context(), "request")
	p := &Policy{Name: "db", MaxAttempts: 3, Backoff: Constant(0), TracerProvider: tp}

	fn, _ := script()
	_, _ = Do(ctx, p, fn)
	if n := len(recorder.Ended()); n != 0 {
		t.Fatalf("a success makes %d spans", n)
	}
	_, _ = Do(ctx, p, alwaysDown)
	fn, _ = script(errDown)
	_, _ = Do(ctx, p, fn)
	func() {
		defer func() { _ = recover() }()
		n := 0
		_ = p.Do(ctx, func(context.Context) error {
			if n++; n == 2 {
				panic("x")
			}
			return errDown
		})
	}()
	parent.End()
	spans := recorder.Ended()
	if len(spans) != 4 {
		t.Fatalf("%d spans, want 3 and the parent", len(spans))
	}
	for i, want := range []struct {
		events int
		status codes.Code
	}{{2, codes.Error}, {1, codes.Unset}, {1, codes.Unset}} {
		s := spans[i]
		if s.Name() != "retry" || s.Parent().SpanID() != parent.SpanContext().SpanID() || len(s.Events()) != want.events || s.Status().Code != want.status {
			t.Errorf("span %d: %s, %d events, status %v, want %+v", i, s.Name(), len(s.Events()), s.Status(), want)
		}
	}
}

func TestAGiveUpWithoutRetryIsAnEventOfTheCallersSpan(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	ctx, span := tp.Tracer("test").Start(t.Context(), "request")
	p := &Policy{MaxAttempts: 1}
	_, _ = Do(ctx, p, alwaysDown)
	span.End()
	if events := recorder.Ended()[0].Events(); len(events) != 1 || events[0].Name != "retry.give_up" {
		t.Errorf("events = %v, want retry.give_up", events)
	}
}

func TestAPanicAnywhereCompletesCountsAndSpan(t *testing.T) {
	fail := func(context.Context) error { return errDown }
	tests := []struct {
		name    string
		retries int64
		policy  func(p *Policy, n *int)
	}{
		{"Retryable", 1, func(p *Policy, n *int) {
			p.Retryable = func(error) bool {
				if *n++; *n == 2 {
					panic("x")
				}
				return true
			}
		}},
		{"OnRetry", 1, func(p *Policy, _ *int) { p.OnRetry = func(context.Context, Attempt) { panic("x") } }},
		{"Backoff", 1, func(p *Policy, n *int) {
			p.Backoff = func() backoff.BackOff {
				return pending(func() time.Duration {
					if *n++; *n == 2 {
						panic("x")
					}
					return 0
				})
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			recorder := tracetest.NewSpanRecorder()
			tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
			ctx, parent := tp.Tracer("test").Start(t.Context(), "request")
			defer parent.End()
			n := 0
			p := &Policy{Backoff: Constant(0), TracerProvider: tp}
			tt.policy(p, &n)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				_ = p.Do(ctx, fail)
			}()
			if ended := recorder.Ended(); len(ended) != 1 {
				t.Errorf("%d spans ended, want 1", len(ended))
			}
			if got := p.stateOf().retries.Load(); got != tt.retries {
				t.Errorf("retries = %d, want %d", got, tt.retries)
			}
		})
	}
}

func TestAnAttemptThatPanicsIsCounted(t *testing.T) {
	p := &Policy{Backoff: Constant(0)}
	n := 0
	func() {
		defer func() { _ = recover() }()
		_ = p.Do(t.Context(), func(context.Context) error {
			if n++; n == 3 {
				panic("x")
			}
			return errDown
		})
	}()
	if got := p.stateOf().retries.Load(); got != 2 {
		t.Errorf("retries = %d, want 2", got)
	}
}
