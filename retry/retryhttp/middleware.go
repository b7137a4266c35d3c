package retryhttp

import (
	"net/http"
	"strconv"

	"github.com/holdfast-go/holdfast/retry"
)

// Middleware reads the x-envoy-attempt-count header. While a mesh repeats a request, every policy and hedge below next
// makes a single attempt, whatever its Name: the request as a whole is being repeated already. A client that forges the header can
// only have fewer attempts made for itself.
func Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := strconv.Atoi(r.Header.Get("x-envoy-attempt-count")); err == nil && n > 1 {
			r = r.WithContext(retry.WithAttempt(r.Context(), retry.Attempt{Number: n}))
		}
		next.ServeHTTP(w, r)
	})
}
