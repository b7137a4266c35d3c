package breakerhttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/breakerhttp"
)

func ExamplePerHost() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()

	hosts := holdfast.Must(breaker.NewGroup(breaker.Config{Name: "partners", ConsecutiveFailures: 2}, breaker.GroupConfig{}))
	client := &http.Client{Transport: &breakerhttp.Transport{Breaker: breakerhttp.PerHost(hosts)}}
	for range 3 {
		resp, err := client.Get(server.URL)
		if errors.Is(err, breaker.ErrOpen) {
			fmt.Println("not sent")
			continue
		}
		fmt.Println(resp.Status)
		resp.Body.Close()
	}
	// Output:
	// 503 Service Unavailable
	// 503 Service Unavailable
	// not sent
}
