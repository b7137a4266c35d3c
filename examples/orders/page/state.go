package page

import (
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A State is what the page shows at one instant. The page keeps it and changes nothing in it.
type State struct {
	// Decision is the group's decision, as the instance knows it that has seen most: with several controllers in one
	// process, the one whose Decision().Sequence is the highest. Its Health and Gray are shown at the Regions.
	Decision failover.Status

	// RPO is ControllerConfig.RPO, shown beside the exposure. Zero shows none.
	RPO time.Duration

	Regions []Region // in the order of display; Names differ
	Ledger  []Sum    // what the drill counts
	Faults  []Fault  // injected and not healed
}

// A Region is one Region's part of a [State]. What is zero is shown as unknown or empty.
type Region struct {
	Name failover.Region
	Role string // instead of the one that follows from the decision, such as "former writer"

	Status   failover.Status // of the Region's own controller: whether it may write
	Modes    degrade.Status  // its features and dependencies
	Breakers map[string]breaker.Stats
	Traffic  Traffic
	Queue    *queue.Depth // nil: it did not answer
	Spool    queue.SpoolStats
	Lag      failover.LagSample // of its copy of the data; zero where there is none
}

// Traffic counts requests by outcome since the process began. The page makes rates of it.
type Traffic struct {
	OK       uint64
	Degraded uint64 // answered, and not with the real thing: stale, stub, deferred
	Refused  uint64 // not run: shed, read-only, no writer
	Failed   uint64
	Unknown  uint64 // may have happened
}

// A Sum is one line of the ledger.
type Sum struct {
	Name  string
	Count int64
	Note  string // what it means
	Bad   bool   // it should be zero, and is not
}

// A Fault is one that is active.
type Fault struct {
	ID     string // [Action.Fault] of the button that starts it
	Label  string
	Region failover.Region // "" for none
	Since  time.Time
}
