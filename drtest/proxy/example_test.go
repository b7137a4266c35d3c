package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest/proxy"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A real HTTP server and a real client, with a simulated network between them.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer server.Close()
	n := simnet.New(simnet.Config{})
	defer n.Close()
	host := holdfast.Must(proxy.Attach(n, "us-east-1", "api:80", server.Listener.Addr().String()))
	defer host.Close()
	front := holdfast.Must(proxy.Expose(n, "users", "api:80", "127.0.0.1:0"))
	defer front.Close()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp := holdfast.Must(client.Get("http://" + front.Addr()))
	fmt.Println(string(holdfast.Must(io.ReadAll(resp.Body))))
	_ = resp.Body.Close()

	conn := holdfast.Must(net.Dial("tcp", front.Addr()))
	defer conn.Close()
	heal := n.Overlay("users", "us-east-1", func(s *simnet.Shape) { s.Mode = simnet.ModeReset })
	_, err := io.ReadAll(conn)
	fmt.Println("reset:", err != nil)
	heal()
	// Output:
	// ok
	// reset: true
}
