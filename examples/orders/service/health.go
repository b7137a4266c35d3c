package service

import (
	"net/http"

	"github.com/holdfast-go/holdfast/degrade/degradehttp"
)

// ready answers GET /readyz: until the process stops, and while it does anything at all. A degraded instance stays in: a load balancer that takes
// all of them out leaves nobody to answer.
func (s *Service) ready(w http.ResponseWriter, r *http.Request) {
	if s.closing.Load() {
		problem(w, http.StatusServiceUnavailable, "This instance is stopping.", "")
		return
	}
	degradehttp.Readiness(s.Modes).ServeHTTP(w, r)
}

// live answers GET /livez: whoever can answer needs no restart.
func live(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func (s Settings) maxInFlight() int {
	if s.MaxInFlight == 0 {
		return 256
	}
	return s.MaxInFlight
}
