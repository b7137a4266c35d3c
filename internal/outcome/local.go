package outcome

// LocalRefusal reports whether err is a refusal made on this side before anything was sent: by a breaker, a
// bulkhead, a limit, a budget. Such an error says nothing new about the other side's health, while others that
// are NotRun, a refused connection for one, do. The outermost error with a LocalRefusal method answers; an
// Unwrap() []error node without one is a local refusal if all its branches are.
func LocalRefusal(err error) bool {
	for err != nil {
		if r, ok := err.(interface{ LocalRefusal() bool }); ok {
			return r.LocalRefusal()
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			err = u.Unwrap()
		case interface{ Unwrap() []error }:
			return allLocal(u.Unwrap())
		default:
			return false
		}
	}
	return false
}

func allLocal(branches []error) bool {
	any := false
	for _, b := range branches {
		if b != nil && !LocalRefusal(b) {
			return false
		}
		any = any || b != nil
	}
	return any
}
