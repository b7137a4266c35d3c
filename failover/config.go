package failover

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Role says what an instance does.
type Role uint8

const (
	RoleMember  Role = iota // serves in one of the Regions, votes, may execute moves into its Region
	RoleWitness             // probes and votes from a third Region, never serves
)

// Failback says what happens when the first Region is healthy again.
type Failback uint8

const (
	FailbackManual      Failback = iota // an operator plans the move back
	FailbackAfterStable                 // a planned move back after FailbackAfter of health
	FailbackWindow                      // the same, only while FailbackWindowOpen says so
)

// ControllerConfig configures a [Controller]. Regions and Self are required, and with two or more Regions a Coordinator.
type ControllerConfig struct {
	// Name identifies the controller in errors, logs and metrics. Empty means "failover".
	Name string

	// Regions lists the Regions that can serve, the preferred writer first. The first boot of a fleet opens
	// there. At most 16, no duplicates.
	Regions []Region

	// Self is the Region this process runs in: one of Regions, or one of Witnesses for a RoleWitness.
	Self Region

	// Instance identifies the process among all of the fleet. Empty means a random name.
	Instance string

	// Role is what this instance does. The default serves.
	Role Role

	// Witnesses lists third Regions in which witnesses vote. Without one, moves need an approval.
	Witnesses []Region

	// Coordinator holds the shared decision. Required with two or more Regions; nil with one means a
	// [MemoryCoordinator] of this process.
	Coordinator Coordinator

	// AcceptCoordinatorRisk is the reason why a coordinator that does not survive the loss of every Region, or can
	// lose an acknowledged write, is acceptable with FenceLease. It is shown in Status.
	AcceptCoordinatorRisk string

	// Fence says what stops the old writer. The default is FenceLease.
	Fence FenceMode

	// LeaseTTL is how long a lease lasts, counted from its request. Zero means 20 s; at least 4 × PollEvery, so that
	// one lost renewal does not end it. It adds to RTO and, with replication lag, to what a move may lose.
	LeaseTTL time.Duration

	// MaxFlight is the longest life of a write after its check: every write's context is cut to it. Zero means 5 s.
	MaxFlight time.Duration

	// ClockRate is the largest relative error of a monotonic clock's rate. Zero means 0.01; below 0.5.
	ClockRate float64

	// ClockSkew is the allowance for wall clocks that differ, added to every exposure. Zero means 1 s.
	ClockSkew time.Duration

	// RPO is the largest exposure at which a move may begin without an operator's AcceptLoss. Zero means 60 s.
	RPO time.Duration

	// MinVoters is how many live voters a group decision takes. Zero means 3.
	MinVoters int

	// PollEvery is the interval of the loop that renews, votes and reads the decision, ± 20 %. Zero means a quarter of LeaseTTL, at
	// most 5 s; at least 10 ms. A round with the coordinator may take as long, its vote three quarters of that.
	PollEvery time.Duration

	// HoldFor is how long an unhealthy Region stays so at least, times how often it has been in the last 60 × HoldFor, at most ten.
	// Zero means 6 × PollEvery: 30 s.
	HoldFor time.Duration

	// HealFor is how long a Region must then answer every probe, and at least ten of each client, before it is healthy. Zero
	// means 12 × PollEvery: 60 s.
	HealFor time.Duration

	// RampStep is how long each of the four steps takes in which reads leave the writer Region before a planned move, and in which
	// they come back after it or to a Region that has healed. Zero means 6 × PollEvery: 30 s.
	RampStep time.Duration

	// Cooldown is the least time from any move of the writer to an automatic one, and from a denied or aborted request of the group to
	// its next. People are not held by it. Zero means 30 min.
	Cooldown time.Duration

	// MaxMoves is how many automatic moves may cut the writer in 6 h, and, counted apart, how many automatic failbacks may. Zero means 1.
	MaxMoves int

	// ApprovalTTL is how long a request waits for approval; its expiry denies it. Zero means 1 h.
	ApprovalTTL time.Duration

	// Automatic lets a quorum move the writer without a person. It takes a Witness. False: a quorum asks for approval.
	Automatic bool

	// Failback says what happens when Regions[0] is healthy again. The default is manual.
	Failback Failback

	// FailbackAfter is how long Regions[0] must have been healthy before an automatic failback. Zero means 1 h.
	FailbackAfter time.Duration

	// FailbackWindowOpen tells whether an automatic failback may begin now, with FailbackWindow. It must not block.
	FailbackWindowOpen func(now time.Time) bool

	// Frozen tells whether automatic moves are frozen and why. People may move the writer all the same. Nil means never. It must not block.
	Frozen func(now time.Time) (reason string, frozen bool)

	// StateFile is where the last decision is kept, so that a process boots without the coordinator. Empty means
	// none: such a process then serves reads and refuses writes until it has heard from the coordinator.
	StateFile string

	// FenceOld makes the old writer Region refuse writes on its side, for example by raising the epoch in its
	// database. It runs on the executor after the fence wait and must be resumable. Nil means there is no such step.
	// Under FenceLease it has MaxFlight, and an error is recorded and passed over. Under FenceToken, which needs it, and FenceNone each
	// attempt has 30 s, and errors hold the move until one succeeds or [Controller.WaiveFence].
	FenceOld func(context.Context, Transition) error

	// Promote makes the target Region the writer. It runs on the executor, blocks until the promotion is verified, and must
	// be resumable: another instance runs it again with a higher RunToken. Nil means that an operator promotes by
	// hand and calls [Transition.Promoted].
	Promote func(context.Context, Transition) error

	// Smoke tests the new writer once it is open. An error is logged and the test repeated; a move is never undone.
	Smoke func(context.Context, Transition) error

	// Ledger receives writes of unknown outcome. Nil means one that logs them and keeps the newest 10,000 in memory.
	Ledger Ledger

	// Audit receives every audit entry as a line of JSON, a copy of the chain in the coordinator's record. Nil means none.
	Audit io.Writer

	// OnDecision is called with the current decision when Run starts and then after changes, in order, on a goroutine of Run's
	// and under no lock. While it runs, changes are collapsed into the newest, as by Watch.
	OnDecision func(Decision)

	// Logger receives one line per state change. Nil is silent.
	Logger *slog.Logger

	// MeterProvider and TracerProvider; nil means OpenTelemetry's global ones.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

const maxRegions = 16

// withDefaults validates c and fills in what is zero.
func (c ControllerConfig) withDefaults() (ControllerConfig, error) {
	c.Regions, c.Witnesses = slices.Clone(c.Regions), slices.Clone(c.Witnesses)
	c.Name = orString(c.Name, "failover")
	c.Instance = orString(c.Instance, randomName())
	setDefault(&c.LeaseTTL, 20*time.Second)
	setDefault(&c.MaxFlight, 5*time.Second)
	setDefault(&c.ClockRate, 0.01)
	setDefault(&c.ClockSkew, time.Second)
	setDefault(&c.RPO, time.Minute)
	setDefault(&c.MinVoters, 3)
	setDefault(&c.PollEvery, min(c.LeaseTTL/4, 5*time.Second))
	setDefault(&c.HoldFor, 6*c.PollEvery)
	setDefault(&c.HealFor, 12*c.PollEvery)
	setDefault(&c.RampStep, 6*c.PollEvery)
	setDefault(&c.Cooldown, 30*time.Minute)
	setDefault(&c.MaxMoves, 1)
	setDefault(&c.ApprovalTTL, time.Hour)
	setDefault(&c.FailbackAfter, time.Hour)
	if c.Coordinator == nil && len(c.Regions) == 1 {
		c.Coordinator = NewMemoryCoordinator(c.Regions...)
	}
	for _, check := range []func(*ControllerConfig) error{checkRegions, checkTimes, checkCoordinator, checkAutomatic} {
		if err := check(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

func fieldError(field, format string, args ...any) error {
	return fmt.Errorf("failover: ControllerConfig.%s: %s", field, fmt.Sprintf(format, args...))
}

func checkRegions(c *ControllerConfig) error {
	if n := len(c.Regions); n == 0 || n > maxRegions {
		return fieldError("Regions", "%d Regions; between 1 and %d", n, maxRegions)
	}
	all := slices.Concat(c.Regions, c.Witnesses)
	for i, r := range all {
		field := "Regions"
		if i >= len(c.Regions) {
			field = "Witnesses"
		}
		if strings.TrimSpace(r) == "" {
			return fieldError(field, "a Region is empty")
		}
		if slices.Contains(all[:i], r) {
			return fieldError(field, "%q is listed twice", r)
		}
	}
	switch {
	case c.Role > RoleWitness:
		return fieldError("Role", "unknown role %d", c.Role)
	case c.Role == RoleMember && !slices.Contains(c.Regions, c.Self):
		return fieldError("Self", "%q is not one of Regions %q", c.Self, c.Regions)
	case c.Role == RoleWitness && !slices.Contains(c.Witnesses, c.Self):
		return fieldError("Self", "%q is not one of Witnesses %q", c.Self, c.Witnesses)
	}
	return nil
}

func checkTimes(c *ControllerConfig) error {
	for _, f := range []struct {
		name  string
		value time.Duration
	}{ // those that others default to come first
		{"LeaseTTL", c.LeaseTTL},
		{"PollEvery", c.PollEvery},
		{"MaxFlight", c.MaxFlight},
		{"ClockSkew", c.ClockSkew},
		{"RPO", c.RPO},
		{"HoldFor", c.HoldFor},
		{"HealFor", c.HealFor},
		{"RampStep", c.RampStep},
		{"Cooldown", c.Cooldown},
		{"ApprovalTTL", c.ApprovalTTL},
		{"FailbackAfter", c.FailbackAfter},
	} {
		if f.value < 0 {
			return fieldError(f.name, "%v is negative", f.value)
		}
	}
	switch {
	case c.PollEvery < 10*time.Millisecond:
		return fieldError("PollEvery", "%v is below the minimum 10ms", c.PollEvery)
	case c.Fence > FenceNone:
		return fieldError("Fence", "unknown mode %d", c.Fence)
	case c.Fence == FenceLease && c.LeaseTTL < 4*c.PollEvery:
		return fieldError("LeaseTTL", "%v is below 4 × PollEvery (%v): one lost renewal would end it", c.LeaseTTL, c.PollEvery)
	case math.IsNaN(c.ClockRate) || c.ClockRate < 0 || c.ClockRate >= 0.5:
		return fieldError("ClockRate", "%v is not in [0, 0.5)", c.ClockRate)
	case c.MinVoters < 1:
		return fieldError("MinVoters", "%d is below 1", c.MinVoters)
	case c.MaxMoves < 1:
		return fieldError("MaxMoves", "%d is below 1", c.MaxMoves)
	case c.Failback > FailbackWindow:
		return fieldError("Failback", "unknown value %d", c.Failback)
	case c.Failback == FailbackWindow && c.FailbackWindowOpen == nil:
		return fieldError("FailbackWindowOpen", "nil with Failback: FailbackWindow")
	}
	return nil
}

func checkCoordinator(c *ControllerConfig) error {
	if c.Coordinator == nil {
		return fieldError("Coordinator", "nil with %d Regions; NewMemoryCoordinator is for one process", len(c.Regions))
	}
	if c.Fence != FenceLease || c.AcceptCoordinatorRisk != "" {
		return nil
	}
	info := c.Coordinator.Info()
	if !info.Linearizable {
		return fieldError("Coordinator", "%s can lose an acknowledged write, so that one epoch could be granted twice; AcceptCoordinatorRisk overrides", info.Name)
	}
	for _, r := range c.Regions {
		if !slices.Contains(info.Survives, r) {
			return fieldError("Coordinator", "%s does not survive the loss of %q, so that losing it would stop all writes; AcceptCoordinatorRisk overrides", info.Name, r)
		}
	}
	return nil
}

func checkAutomatic(c *ControllerConfig) error {
	if c.Fence == FenceToken && c.FenceOld == nil && c.Role == RoleMember && len(c.Regions) > 1 {
		return fieldError("FenceOld", "nil with FenceToken: nothing would teach the old writer's resource the new epoch")
	}
	if c.Automatic && len(c.Witnesses) == 0 {
		return fieldError("Automatic", "true without Witnesses: a Region that is cut off would vote itself the survivor")
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func orString(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
