package drtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// A program runs two Regions in one process, breaks one by hand and follows what happens.
func ExampleNewReal() {
	w := holdfast.Must(drtest.NewReal(context.Background(), drtest.Config{Name: "demo"}))
	defer w.Close()
	for _, name := range []string{"us-east-1", "us-west-2"} {
		w.Region(name).Serve("api."+name, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, "hello from ", name)
		}))
	}
	client := w.Region("users").HTTPClient()
	get := func(url string) {
		resp, err := client.Get(url)
		if err != nil {
			fmt.Println("refused:", errors.Is(err, syscall.ECONNREFUSED))
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(string(body))
	}

	get("http://api.us-east-1/")
	undo := holdfast.Must(w.Inject(fault.RegionDown("us-east-1", fault.ModeRefuse))) // a button of a live page
	get("http://api.us-east-1/")
	get("http://api.us-west-2/")
	undo()
	get("http://api.us-east-1/")
	for _, f := range w.History().Faults() {
		fmt.Println(f.Text, f.Ended)
	}
	// Output:
	// hello from us-east-1
	// refused: true
	// hello from us-west-2
	// hello from us-east-1
	// us-east-1 is down (refuse) true
}

// A real server becomes a host of a Region; programs that know nothing of the World reach it through an exposed
// address, and meet its faults.
func ExampleRegion_Attach() {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "a real server") }))
	defer server.Close()
	w := holdfast.Must(drtest.NewReal(context.Background(), drtest.Config{}))
	defer w.Close()
	if err := w.Region("us-east-1").Attach("api.us-east-1:80", server.Listener.Addr().String()); err != nil {
		fmt.Println(err)
		return
	}
	front := holdfast.Must(w.Region("users").Expose("api.us-east-1:80"))

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp := holdfast.Must(client.Get("http://" + front)) // over the World's link from users to us-east-1
	body := holdfast.Must(io.ReadAll(resp.Body))
	_ = resp.Body.Close()
	fmt.Println(string(body))

	err := w.Region("us-east-1").Attach("db:5432", "192.0.2.10:5432")
	fmt.Println(errors.Is(err, drtest.ErrTarget), err)
	// Output:
	// a real server
	// true drtest: Attach("db:5432"): drtest: not an allowed target: 192.0.2.10:5432 is not on the loopback interface, and Config.Targets is empty
}
