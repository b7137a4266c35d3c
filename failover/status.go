package failover

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Status is what an operator looks at: one instance's view, safe to print as JSON.
type Status struct {
	Name        string            `json:"name"`
	Instance    string            `json:"instance"`
	Self        Region            `json:"self"`
	Role        string            `json:"role"`
	Fence       string            `json:"fence"`
	Coordinator CoordinatorInfo   `json:"coordinator"`
	Risk        string            `json:"accepted_coordinator_risk,omitempty"` // AcceptCoordinatorRisk
	Epoch       string            `json:"epoch"`                               // the newest known, 16 hexadecimal digits
	DecisionID  string            `json:"decision_id"`
	Phase       Phase             `json:"phase"`
	Writer      Region            `json:"writer"`
	Since       time.Time         `json:"since"`         // when the epoch began
	MayWrite    bool              `json:"may_write"`     // this process, now
	Why         string            `json:"why,omitempty"` // why it may not write
	LeaseLeft   time.Duration     `json:"lease_left"`    // with FenceLease
	Regions     []Region          `json:"regions"`       // for reads, in order
	HomeShare   uint32            `json:"home_share"`    // percent of reads that go home first
	Health      map[Region]Health `json:"health"`
	Gray        []Region          `json:"gray,omitempty"`         // unhealthy by callers' failures, with good probes
	SelfSuspect bool              `json:"self_suspect,omitempty"` // all Regions look bad from here
	Conflict    string            `json:"conflict,omitempty"`     // why writes are stopped
	Transition  *Transition       `json:"transition,omitempty"`   // the move under way, or asked for
	Last        *Transition       `json:"last,omitempty"`         // the newest finished move, with what its phases took
	Exposure    Exposure          `json:"exposure"`               // of a move to the other Region now; of the one under way
	Refused     string            `json:"refused,omitempty"`      // why the group's move did not begin at the last poll
	Voters      []Vote            `json:"voters"`                 // live ones
	Log         []json.RawMessage `json:"log"`                    // the newest audit entries
}

// Status returns this instance's view. It takes a lock and copies: for people, not for requests.
func (c *Controller) Status() Status {
	epoch, _ := c.Epoch()
	s := c.current.Load()
	coord, _ := c.coordinator()
	info := coord.Info()
	c.mu.Lock()
	defer c.mu.Unlock()
	rec := c.record.clone()
	st := Status{
		Name: c.cfg.Name, Instance: c.cfg.Instance, Self: c.cfg.Self, Role: [...]string{"member", "witness"}[c.cfg.Role],
		Fence: c.cfg.Fence.String(), Coordinator: info, Risk: c.cfg.AcceptCoordinatorRisk,
		Epoch: FormatEpoch(rec.Epoch), DecisionID: rec.DecisionID, Phase: rec.Phase, Writer: rec.Writer, Since: rec.Since,
		MayWrite: epoch != 0, Why: s.reason, Regions: s.decision.Regions, HomeShare: s.homeShare, Health: s.decision.Health,
		SelfSuspect: c.suspect, Conflict: c.conflict, Transition: rec.Transition, Last: rec.Last, Voters: c.votersLocked(), Log: rec.Log,
	}
	if c.cfg.Fence == FenceLease {
		st.LeaseLeft = max(0, c.leaseLeft(rec.Epoch))
		if st.Why == "" && epoch == 0 {
			st.Why = "this process holds no lease"
		}
	}
	if c.proposal != nil {
		st.Refused = c.proposal.Error()
	}
	for _, r := range c.cfg.Regions {
		if c.health[r].gray && c.health[r].state == HealthUnhealthy {
			st.Gray = append(st.Gray, r)
		}
	}
	slices.SortFunc(st.Voters, func(a, b Vote) int { return cmp.Compare(a.Instance, b.Instance) })
	st.Exposure = c.statusExposureLocked(rec)
	return st
}

// statusExposureLocked is the exposure of the move under way, else of one to the next Region now.
func (c *Controller) statusExposureLocked(rec Record) Exposure {
	switch t := rec.Transition; {
	case t == nil:
	case rec.Phase > PhaseFenced:
		return t.Exposure // final
	default:
		return c.exposureLocked(rec, t, time.Now())
	}
	for _, r := range c.cfg.Regions {
		if r != rec.Writer {
			return c.exposureLocked(rec, &Transition{From: rec.Writer, To: r, Epoch: rec.Epoch}, time.Now())
		}
	}
	return Exposure{}
}

// A Problem is something that [Controller.Lint] finds in peace time and that would hurt in an outage.
type Problem struct {
	Field string `json:"field"` // of ControllerConfig or Member
	What  string `json:"what"`  // and what to know of it
}

// Lint checks the configuration and the fleet as this instance sees it now: would a move work if any one Region were
// lost? Run it after the fleet has voted for a few intervals.
func (c *Controller) Lint() (problems []Problem) {
	add := func(field, format string, args ...any) {
		problems = append(problems, Problem{field, fmt.Sprintf(format, args...)})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cfg.Regions) > 1 && len(c.cfg.Witnesses) == 0 {
		add("Witnesses", "none: the writer moves only with a person's approval")
	}
	if c.cfg.AcceptCoordinatorRisk != "" {
		add("Coordinator", "risk accepted: %s", c.cfg.AcceptCoordinatorRisk)
	}
	if c.cfg.Fence == FenceNone {
		add("Fence", "none: two Regions may accept writes at the same time")
	}
	if c.cfg.StateFile == "" {
		add("StateFile", "empty: a process that boots without the coordinator refuses writes and knows no routes")
	}
	if c.cfg.Promote == nil && c.cfg.Automatic {
		add("Promote", "nil with Automatic: the writer is cut, and then everything waits for an operator")
	}
	problems = append(problems, c.lintVotersLocked()...)
	return append(problems, c.lintMembersLocked()...)
}

// lintVotersLocked: MinVoters must be there also when any one Region's instances are gone.
func (c *Controller) lintVotersLocked() (problems []Problem) {
	live := c.votersLocked()
	places := map[Region]int{}
	for _, v := range live {
		places[v.Region]++
	}
	for _, r := range slices.Concat(c.cfg.Regions, c.cfg.Witnesses) {
		if left := len(live) - places[r]; len(c.cfg.Regions) > 1 && left < c.cfg.MinVoters {
			problems = append(problems, Problem{"MinVoters", fmt.Sprintf("without %q %d of %d voters are left; it takes %d", r, left, len(live), c.cfg.MinVoters)})
		}
		if len(c.cfg.Regions) > 1 && places[r] == 0 {
			problems = append(problems, Problem{"Regions", fmt.Sprintf("no live voter in %q", r)})
		}
	}
	return problems
}

// lagKnown: every Member of region that has a Lag has seen a sample, and there is one.
func lagKnown(deciding []*source, region Region) bool {
	known := false
	for _, s := range deciding {
		r := s.regions[region]
		if _, ok := r.lag.get(); r.measured && !ok {
			return false
		}
		known = known || r.measured
	}
	return known
}

// lintMembersLocked: a move needs probes and a measured lag in every Region.
func (c *Controller) lintMembersLocked() (problems []Problem) {
	deciding := c.decidingLocked()
	if len(deciding) == 1 && len(c.cfg.Regions) > 1 {
		return []Problem{{"Member", "no Client is registered: no Region is ever known to be healthy"}}
	}
	for _, r := range c.cfg.Regions {
		if len(c.cfg.Regions) > 1 && !lagKnown(deciding, r) {
			problems = append(problems, Problem{"Member.Lag", fmt.Sprintf("no sample of %q: a move there needs an AcceptLoss", r)})
		} else if what := c.formerWriterLocked(c.record, r); what != "" && r != c.record.Writer {
			problems = append(problems, Problem{"Member.Lag", fmt.Sprintf("%q must be rebuilt before a move there: %s", r, what)})
		}
	}
	return problems
}
