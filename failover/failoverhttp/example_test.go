package failoverhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoverhttp"
)

// running returns a controller of one Region that may write, and what ends it.
func running() (*failover.Controller, func()) {
	ctl := holdfast.Must(failover.NewController(failover.ControllerConfig{Regions: []failover.Region{"us-east-1"}, Self: "us-east-1"}))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = ctl.Run(ctx) }()
	for {
		if _, ok := ctl.Ready(); ok {
			return ctl, func() { stop(); <-done }
		}
		time.Sleep(time.Millisecond)
	}
}

// Health checks ask whether users' traffic belongs here; writes are for the writer Region, and for nobody with an old epoch.
func Example() {
	ctl, stop := running()
	defer stop()
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "written under epoch", failoverhttp.EpochFrom(r.Context()))
	})
	forward := failoverhttp.Forward(nil, func(writer failover.Region) *url.URL {
		return &url.URL{Scheme: "https", Host: "orders." + writer + ".example"}
	})
	mux := http.NewServeMux()
	mux.Handle("/active", failoverhttp.Active(ctl))
	mux.Handle("/status", failoverhttp.Status(ctl))
	mux.Handle("/orders", failoverhttp.Middleware(ctl)(failoverhttp.WriterOnly(ctl, forward)(orders)))
	ask := func(path, epoch string) {
		r := httptest.NewRequest("POST", path, nil)
		if epoch != "" {
			r.Header.Set(failoverhttp.HeaderEpoch, epoch)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	ask("/active", "")
	ask("/orders", "0000000000000001")
	ask("/orders", "1")
	// Output:
	// 200 us-east-1 active, epoch 0000000000000001
	// 200 written under epoch 1
	// 400 {"type":"urn:holdfast:problem:bad-epoch","title":"Malformed epoch","status":400}
}

// A client of a service in several Regions: reads near, writes to the writer, with the epoch that the service checks.
func ExampleTransport() {
	ctl, stop := running()
	defer stop()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s, epoch %q", r.Method, r.URL.Path, r.Header.Get(failoverhttp.HeaderEpoch))
	}))
	defer service.Close()
	client := holdfast.Must(failover.New(ctl, []failover.Member[failoverhttp.Endpoint]{{
		Region: "us-east-1", Client: failoverhttp.Endpoint{Base: holdfast.Must(url.Parse(service.URL))},
		Probe: failoverhttp.Probe("/active"), Drain: failoverhttp.Drain,
	}}, failover.ClientConfig{Name: "stock", Classify: failoverhttp.Classify, ProbeEvery: time.Hour}))
	users := &http.Client{Transport: &failoverhttp.Transport{Client: client}}
	for _, method := range []string{"GET", "PUT"} {
		req := holdfast.Must(http.NewRequest(method, "http://stock/items/7", nil))
		res := holdfast.Must(users.Do(req))
		fmt.Println(string(holdfast.Must(io.ReadAll(res.Body))))
		res.Body.Close()
	}
	// Output:
	// GET /items/7, epoch ""
	// PUT /items/7, epoch "0000000000000001"
}

// Moves are for people whom somebody has identified: two of them.
func ExampleAdmin() {
	ctl, stop := running()
	defer stop()
	admin := holdfast.Must(failoverhttp.Admin(ctl, func(r *http.Request) (by string, err error) {
		return r.Header.Get("X-Operator"), nil // your identity provider's word
	}))
	for _, who := range []string{"", "ann"} {
		r := httptest.NewRequest("GET", "/lint", nil)
		r.Header.Set("X-Operator", who)
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 403
	// 200
}

// After an unplanned move one Region has the users of two.
func ExampleAdmission() {
	ctl, stop := running()
	defer stop()
	admit := holdfast.Must(failoverhttp.Admission(ctl, failoverhttp.AdmissionConfig{Rank: func(r *http.Request) int {
		if r.Method == http.MethodPost {
			return 3 // who buys is let in before who looks
		}
		return 1
	}}))
	w := httptest.NewRecorder()
	admit(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Code) // no move: nothing is held back
	// Output: 404
}
