package failoverhttp

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/internal/problem"
)

// HeaderEpoch carries a write epoch as 16 hexadecimal digits.
const HeaderEpoch = "Holdfast-Epoch"

// headerForwarded marks a request that another Region has sent on.
const headerForwarded = "Holdfast-Forwarded"

type epochKey struct{}

// EpochFrom returns the epoch that a request carried; 0 if it carried none or did not pass [Middleware].
func EpochFrom(ctx context.Context) uint64 {
	epoch, _ := ctx.Value(epochKey{}).(uint64)
	return epoch
}

// An epochHeader is the header of an epoch, made once and shared by all answers: nobody changes values of a header in place.
type epochHeader struct {
	epoch uint64
	text  [1]string
}

// Middleware checks [HeaderEpoch] of requests against what c knows and sets it on answers. Requests without it pass. A malformed one is
// answered with 400, an older epoch with 412, a newer one with 503 and Retry-After: in all three cases nothing was done.
func Middleware(c *failover.Controller) func(http.Handler) http.Handler {
	var latest atomic.Pointer[epochHeader]
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			known := c.Decision().Epoch
			h := latest.Load()
			if h == nil || h.epoch != known {
				h = &epochHeader{known, [1]string{failover.FormatEpoch(known)}}
				latest.Store(h)
			}
			w.Header()[HeaderEpoch] = h.text[:]
			text := r.Header.Get(HeaderEpoch)
			if text == "" {
				next.ServeHTTP(w, r)
				return
			}
			epoch, err := strconv.ParseUint(text, 16, 64)
			switch {
			case err != nil || len(text) != 16 || len(r.Header.Values(HeaderEpoch)) > 1:
				problem.Write(w, r, problem.Problem{Type: problem.Prefix + "bad-epoch", Title: "Malformed epoch", Status: http.StatusBadRequest})
			case epoch < known:
				problem.Write(w, r, problem.Problem{
					Type: problem.Prefix + "stale-epoch", Title: "The writer has moved",
					Status: http.StatusPreconditionFailed, Detail: "The request carries the epoch of an older decision. It had no effect.",
				})
			case epoch > known:
				unavailable(w, r, "This process has not heard of the newest decision. The request had no effect.", time.Second)
			default:
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), epochKey{}, epoch)))
			}
		})
	}
}

func unavailable(w http.ResponseWriter, r *http.Request, detail string, wait time.Duration) {
	problem.Write(w, r, problem.Problem{
		Type: problem.Prefix + "unavailable", Title: "Not available at the moment",
		Status: http.StatusServiceUnavailable, Detail: detail, RetryAfter: max(1, problem.Seconds(wait)),
	})
}
