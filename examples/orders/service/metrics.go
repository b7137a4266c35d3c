package service

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/holdfast-go/holdfast"
)

// metrics is what this process measures, for Prometheus to fetch.
type metrics struct {
	provider *sdk.MeterProvider
	handler  http.Handler
	orders   metric.Int64Counter
	byStatus map[Status]metric.MeasurementOption // made once: attributes cost
}

// newMetrics returns a provider of its own, so that several instances fit into one process.
func newMetrics() *metrics {
	registry := prometheus.NewRegistry()
	reader := holdfast.Must(exporter.New(exporter.WithRegisterer(registry)))
	m := &metrics{
		provider: sdk.NewMeterProvider(sdk.WithReader(reader)), handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		byStatus: map[Status]metric.MeasurementOption{},
	}
	m.orders = holdfast.Must(m.provider.Meter("orders").Int64Counter("orders.placed", metric.WithUnit("{order}"), metric.WithDescription("Orders acknowledged.")))
	for _, s := range []Status{StatusPaid, StatusPending, StatusDeclined} {
		m.byStatus[s] = metric.WithAttributeSet(attribute.NewSet(attribute.String("status", string(s))))
	}
	return m
}

func (m *metrics) placed(ctx context.Context, s Status) { m.orders.Add(ctx, 1, m.byStatus[s]) }

// run is the last to stop, so that the others' last words are counted.
func (m *metrics) run(ctx context.Context) error {
	<-ctx.Done()
	return m.provider.Shutdown(context.WithoutCancel(ctx))
}
