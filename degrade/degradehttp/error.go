package degradehttp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/problem"
)

// Error answers r with problem details for err. It tells by the methods of err, so it serves the errors of every package of this
// module and of others that have them:
//
//   - a [*degrade.RefusedError]: 503 with Retry-After, feature, level and cause;
//   - an error that says it did not run, or when to come back: 503, with Retry-After if it says so;
//   - an error whose outcome is unknown: 504, which says that the request may have had its effect;
//   - anything else: 500.
//
// The text of err is not sent, but for refusals, whose text is names and times. A ResponseWriter around the handler that has a method
// ReportOutcome(error), itself or below Unwrap, is told err first: a guard that stores answers must tell a refusal from a result.
func Error(w http.ResponseWriter, r *http.Request, err error) {
	tell(w, err)
	problem.Write(w, r, describe(err))
}

// tell finds who wants to know the error behind an answer.
func tell(w http.ResponseWriter, err error) {
	for w != nil {
		if t, ok := w.(interface{ ReportOutcome(error) }); ok {
			t.ReportOutcome(err)
			return
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = u.Unwrap()
	}
}

// refusals by cause and level.
var titles = map[string]string{
	"overload":    "Too busy for this request",
	"maintenance": "Maintenance",
	"read-only":   "Read-only at the moment",
	"offline":     "Not available at the moment",
	"limited":     "Switched off at the moment",
}

func describe(err error) problem.Problem {
	wait, asked := outcome.RetryAfter(err)
	if e, ok := errors.AsType[*degrade.RefusedError](err); ok && outcome.Of(err) == outcome.NotRun {
		return refusal(e, wait)
	}
	p := problem.Problem{Type: problem.Prefix + "internal", Title: "Internal error", Status: http.StatusInternalServerError}
	switch o := outcome.Of(err); {
	case o == outcome.Unknown:
		p = problem.Problem{
			Type: problem.Prefix + "outcome-unknown", Title: "The outcome is unknown", Status: http.StatusGatewayTimeout,
			Detail: "The request may or may not have had its effect.",
		}
	case o == outcome.NotRun || asked:
		p = problem.Problem{
			Type: problem.Prefix + "unavailable", Title: "Not available at the moment", Status: http.StatusServiceUnavailable, RetryAfter: problem.Seconds(wait),
		}
		if o == outcome.NotRun {
			p.Detail = "The request had no effect."
		}
	case errors.Is(err, context.DeadlineExceeded):
		p = problem.Problem{Type: problem.Prefix + "timeout", Title: "Timed out", Status: http.StatusGatewayTimeout}
	}
	return p
}

func refusal(e *degrade.RefusedError, wait time.Duration) problem.Problem {
	kind := e.Level.String()
	if e.Cause == degrade.CauseOverload || e.Cause == degrade.CauseMaintenance {
		kind = string(e.Cause)
	}
	p := problem.Problem{
		Type: problem.Prefix + kind, Title: titles[kind], Status: http.StatusServiceUnavailable, Detail: e.Error(),
		Cause: string(e.Cause), RetryAfter: max(1, problem.Seconds(wait)),
	}
	if e.Cause != degrade.CauseOverload {
		p.Feature, p.Level = e.Name, e.Level.String()
	}
	return p
}
