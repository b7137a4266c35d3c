package degradehttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
)

func ExampleMiddleware() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	db := c.Dependency("orders-db", degrade.DependencyConfig{})
	shop := c.Feature("shop", degrade.FeatureConfig{Writes: db})

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	levels := holdfast.Must(degradehttp.Middleware(c, degradehttp.Config{
		Feature: shop,
		Routes: map[string]degradehttp.Route{
			"POST /search": {Kind: degradehttp.KindRead},
			"POST /logout": {Kind: degradehttp.KindPass},
		},
	}))
	handler := levels(mux)

	db.Report(degrade.StateDown)
	for _, request := range [][2]string{{"GET", "/orders"}, {"POST", "/orders"}, {"POST", "/search"}, {"POST", "/logout"}} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(request[0], request[1], nil))
		fmt.Println(request, w.Code, w.Header().Get("Degradation"), w.Header().Get("Retry-After") != "")
	}
	// Output:
	// [GET /orders] 200 shop;level=read-only false
	// [POST /orders] 503  true
	// [POST /search] 200 shop;level=read-only false
	// [POST /logout] 200  false
}

func ExampleError() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		err := holdfast.NotRun(errors.New("breaker open"))
		degradehttp.Error(w, r, err)
	}
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest("POST", "/", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 503 {"type":"urn:holdfast:problem:unavailable","title":"Not available at the moment","status":503,"detail":"The request had no effect."}
}

func ExampleAdmin() {
	c := holdfast.Must(degrade.New(degrade.Config{}))
	admin := holdfast.Must(degradehttp.Admin(c, func(r *http.Request) (by string, err error) {
		user, _, ok := r.BasicAuth() // your own way to know who it is
		if !ok {
			return "", errors.New("not signed in")
		}
		return user, nil
	}))
	mux := http.NewServeMux()
	mux.Handle("/admin/degrade/", http.StripPrefix("/admin/degrade", admin))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/admin/degrade/", nil))
	fmt.Println(w.Code)
	// Output: 403
}

func ExampleStubTransport() {
	c := holdfast.Must(degrade.New(degrade.Config{Region: "eu-central-1"}))
	payments := c.Dependency("payments", degrade.DependencyConfig{Home: "eu-west-1", Stubbed: true})

	later := http.NewServeMux()
	later.HandleFunc("POST payments.internal/charge", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	})
	client := &http.Client{
		Transport: &degradehttp.StubTransport{Dependency: payments, Stub: degradehttp.Stub(later)},
		Timeout:   time.Second,
	}
	response, err := client.Post("http://payments.internal/charge", "application/json", nil)
	fmt.Println(response.StatusCode, response.Header.Get("Degradation"), err)
	// Output: 202 payments;source=stub <nil>
}
