package embedded

import (
	"net/http"
	"strings"
	"sync/atomic"
)

// Traffic counts users' requests at a Region's load balancer by what became of them.
type Traffic struct{ OK, Degraded, Refused, Failed, Unknown uint64 }

type traffic struct{ ok, degraded, refused, failed, unknown atomic.Uint64 }

// Traffic returns the counts since the start.
func (s *Site) Traffic() Traffic {
	t := &s.traffic
	return Traffic{t.ok.Load(), t.degraded.Load(), t.refused.Load(), t.failed.Load(), t.unknown.Load()}
}

// counts tells users' requests from those of load balancers and people.
func counts(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/orders") || strings.HasPrefix(r.URL.Path, "/stock")
}

// note counts an answer.
func (t *traffic) note(status int, header http.Header) {
	switch {
	case status == http.StatusServiceUnavailable:
		t.refused.Add(1)
	case status == http.StatusGatewayTimeout, status == http.StatusConflict:
		t.unknown.Add(1)
	case status >= 400:
		t.failed.Add(1)
	case header.Get("Degradation") != "":
		t.degraded.Add(1)
	default:
		t.ok.Add(1)
	}
}

// A statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
