package retry

import (
	"errors"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// Transient is the default of [Policy.Retryable]: it reports whether repeating a harmless call may help. It is
// false for nil, for errors marked Permanent, for errors whose OutcomeUnknown method answers true, and for
// cancellation ([context.Canceled]). It is true for everything else, such as io.EOF, a reset connection or a time-out.
//
// [Do] stops by itself when the caller's own context has ended; a [context.DeadlineExceeded] that it asks about is
// therefore an attempt's, by AttemptTimeout or by a context that fn made, and is transient.
func Transient(err error) bool {
	signs, _ := outcome.Read(err)
	return err != nil && transient(signs)
}

func transient(signs outcome.Signs) bool {
	return signs&(outcome.SaysPermanent|outcome.SaysUnknown|outcome.SaysCanceled) == 0
}

// IfNotRun is a [Policy.Retryable] for calls that must not run twice: it reports whether err says that the call
// had no effect, by its NotRun method or by its type, such as a refused connection or a DNS error. It is false for
// errors marked Permanent.
func IfNotRun(err error) bool {
	return outcome.Of(err) == outcome.NotRun && !outcome.Permanent(err)
}

// timedOut reports whether err is a time-out of a call that may have run.
func timedOut(err error) bool { return isTimeout(err) && outcome.Of(err) != outcome.NotRun }

func isTimeout(err error) bool {
	type timeouter interface {
		error
		Timeout() bool
	}
	t, ok := errors.AsType[timeouter](err)
	return ok && t.Timeout()
}
