package service

import (
	"net/http"

	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/failover/failoverhttp"
)

// admin is what people may do: override a level, move the writer, approve somebody else's move. Who they are is Parts.Authorize's word, and
// goes into the audit log.
func (s *Service) admin() (http.Handler, error) {
	levels, err := degradehttp.Admin(s.Modes, s.parts.Authorize)
	if err != nil {
		return nil, err
	}
	moves, err := failoverhttp.Admin(s.Controller, s.parts.Authorize)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/degrade/", http.StripPrefix("/admin/degrade", levels))
	mux.Handle("/admin/failover/", http.StripPrefix("/admin/failover", moves))
	mux.HandleFunc("/admin/", notFound)
	return mux, nil
}
