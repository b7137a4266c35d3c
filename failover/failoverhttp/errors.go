package failoverhttp

import (
	"net/http"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/problem"
)

// answer is the answer to a request whose way to the writer ended in err.
func answer(w http.ResponseWriter, r *http.Request, err error) {
	if outcome.Of(err) == outcome.NotRun {
		wait, _ := outcome.RetryAfter(err)
		unavailable(w, r, "The writer Region did not take the request, which had no effect.", wait)
		return
	}
	problem.Write(w, r, problem.Problem{
		Type: problem.Prefix + "outcome-unknown", Title: "The outcome is unknown",
		Status: http.StatusGatewayTimeout, Detail: "The request may or may not have had its effect.",
	})
}
