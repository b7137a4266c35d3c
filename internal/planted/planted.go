// Package planted lets tests of the composition plant a defect in the packages, to show that the search for
// outages finds it. Nothing is planted in programs: only tests call [Plant]. Constructors ask [Has], hot paths do not.
package planted

import "sync/atomic"

// A Bug is a defect that would break a promise. Its name is that of its regression.
type Bug string

// The bugs.
const (
	ShortRetention  Bug = "short-retention"  // the guard forgets a call before its queue does
	UnknownReleases Bug = "unknown-releases" // an outcome that nobody knows releases the key
	TryUnguarded    Bug = "try-unguarded"    // Try runs outside the guard
	LastAttempt     Bug = "last-attempt"     // NotRun is taken from the last attempt
	NoResync        Bug = "no-resync"        // a planned move leaves keys behind
	RampUnplanned   Bug = "ramp-unplanned"   // an unplanned move opens in steps
	OpenCounts      Bug = "open-counts"      // what an open breaker refuses counts against the Region
	StaleRuns       Bug = "stale-runs"       // a worker runs calls of an older epoch without asking their rule
	ZeroRequeue     Bug = "zero-requeue"     // a call that cannot run is given back without a delay
	NoBudget        Bug = "no-budget"        // repetitions are not limited by their budget
	DrainReversed   Bug = "drain-reversed"   // the shutdown stops first what should stop last
)

var bug atomic.Pointer[Bug]

// Plant plants b in all that is made from now on, until remove is called.
func Plant(b Bug) (remove func()) {
	bug.Store(&b)
	return func() { bug.Store(nil) }
}

// Has reports whether b is planted.
func Has(b Bug) bool {
	p := bug.Load()
	return p != nil && *p == b
}
