//go:build unix

package drtest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// BenchmarkRealHop sends 200 requests/s in real time over a simulated link without delay, over loopback, and over both
// as a proxy does. It reports the processor's and the caller's time for one request.
func BenchmarkRealHop(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	b.Run("simnet", func(b *testing.B) {
		w, err := drtest.NewReal(b.Context(), drtest.Config{})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		w.Net().SetLinks("users", "east", simnet.Shape{})
		w.Region("east").Serve("api", handler)
		paced(b, w.Region("users").HTTPClient(), "http://api/")
	})
	b.Run("proxy", func(b *testing.B) { // loopback, a simulated link, loopback
		s := httptest.NewServer(handler)
		defer s.Close()
		w, err := drtest.NewReal(b.Context(), drtest.Config{})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		w.Net().SetLinks("users", "east", simnet.Shape{})
		if err := w.Region("east").Attach("api:80", s.Listener.Addr().String()); err != nil {
			b.Fatal(err)
		}
		front, err := w.Region("users").Expose("api:80")
		if err != nil {
			b.Fatal(err)
		}
		paced(b, &http.Client{Transport: &http.Transport{}}, "http://"+front)
	})
	b.Run("loopback", func(b *testing.B) {
		s := httptest.NewServer(handler)
		defer s.Close()
		paced(b, &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}, s.URL)
	})
}

func paced(b *testing.B, client *http.Client, url string) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	took := make([]time.Duration, 0, b.N)
	before := cpu()
	for b.Loop() {
		<-ticker.C
		start := time.Now()
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64(cpu()-before)/float64(len(took)), "cpu-ns/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	client.CloseIdleConnections()
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
