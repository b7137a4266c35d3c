package shed

import (
	"context"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/problem"
)

// Middleware refuses requests that are not admitted, before their body is read, and gives the others their class and their deadline. A
// panic of next ends the request as an answer does.
func (s *Shedder) Middleware(next http.Handler) http.Handler {
	return &middleware{s, next}
}

type middleware struct {
	s    *Shedder
	next http.Handler
}

func (m *middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := m.s
	class, claimed := FromHeader(r.Header)
	if !claimed {
		class = s.cfg.Default
	}
	class = min(class, s.cfg.MaxClass)
	ctx := r.Context()
	if left, ok := Left(r.Header); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	if err := s.AdmitClass(ctx, class); err != nil {
		refuse(w, r, err)
		return
	}
	defer s.Done()
	if s.cfg.MinTime == 0 && s.times.sampled() {
		defer s.time(time.Now())
	}
	m.next.ServeHTTP(w, r.WithContext(With(ctx, class)))
}

// time keeps a sample. The shortest is what counts, so an answer that came early for another reason only makes s more patient.
func (s *Shedder) time(begin time.Time) {
	now := time.Now()
	s.times.add(now.Sub(begin), now)
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	wait, _ := outcome.RetryAfter(err)
	problem.Write(w, r, problem.Problem{
		Type: problem.Prefix + "overload", Title: "Too busy for this request", Status: http.StatusServiceUnavailable,
		Detail: "The request was refused before it was begun; it had no effect.", Cause: string(degrade.CauseOverload), RetryAfter: problem.Seconds(wait),
	})
}
