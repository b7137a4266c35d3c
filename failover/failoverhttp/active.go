package failoverhttp

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/holdfast-go/holdfast/failover"
)

// Active answers 200 while this Region should receive users' traffic, else 503. Route 53 health checks and load balancers read it. During
// a move it is the target that answers 200, from the cut on. It is answered from memory: no lock, no other call. A process that
// knows no decision answers 503.
func Active(c *failover.Controller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d := c.Decision()
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		status, word := http.StatusServiceUnavailable, "not active"
		if d.Active == c.Self() {
			status, word = http.StatusOK, "active"
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "%s %s, epoch %s\n", c.Self(), word, failover.FormatEpoch(d.Epoch))
	})
}

// Status answers with [failover.Controller.Status] as JSON. It tells instance names, Regions and people's names: do not show it to the world.
func Status(c *failover.Controller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, c.Status()) })
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(v) // a client that has left is nobody to tell
}
