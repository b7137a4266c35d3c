package runbook

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// Config configures a run.
type Config struct {
	// Journal records the run. Required.
	Journal Journal

	// By is who asked for the run. Required; they cannot approve their own steps. "auto", or "auto/" and the name of a machine, means
	// that no person did.
	By string

	// Mode is whether the run is planned. The zero value is unplanned. A run keeps its mode until [Runbook.Unplan].
	Mode Mode

	// Reason is why the run was asked for.
	Reason string

	// RTO is the time within which the run should be complete, counted from Since. Zero means none. This and the next four are kept
	// in the journal by the first runner of a run.
	RTO time.Duration

	// Since is when the fault began. Zero means the run's start.
	Since time.Time

	// RPO and Exposure are shown in the report: what may be lost, and the bound of what was at the switch. A zero Exposure means that this
	// run does not measure it.
	RPO, Exposure time.Duration

	// Before is what the phases before the run took, such as detection and decision, for the report.
	Before []failover.PhaseTime

	// Parallel is how many steps may run at once, those that wait for approval among them. Zero means 4.
	Parallel int

	// PollEvery is the interval of Verify, of waiting for approvals and of looking for what people did. Zero means 2 s; at least 10 ms. All
	// runners of a run must use the same.
	PollEvery time.Duration

	// ApprovalTTL is how long the run waits for the approvals of a step. Zero means 1 h.
	ApprovalTTL time.Duration

	// Cooldown refuses a run that begins sooner after the last one of this runbook; MaxRuns one more than so many in 24 h. Both hold
	// only runs without a person's name, see By, and only when they begin. Zero means none.
	Cooldown time.Duration
	MaxRuns  int

	// Alone refuses a new run while another run of this runbook is neither finished, cancelled nor undone. It is looked at when the run
	// begins: two that begin at the same moment both do.
	Alone bool

	// OnReport is called at the end of Run with its report, on Run's goroutine, also when the run stopped. Its error is logged. Nil
	// means nothing; see [WriteReports].
	OnReport func(context.Context, Report) error

	// Logger receives a line per step. Nil is silent.
	Logger *slog.Logger

	// MeterProvider and TracerProvider; nil means OpenTelemetry's global ones.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

func (c Config) withDefaults(r *Runbook) (Config, error) {
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.PollEvery == 0 {
		c.PollEvery = 2 * time.Second
	}
	if c.ApprovalTTL == 0 {
		c.ApprovalTTL = time.Hour
	}
	c.Logger = telemetry.Logger(c.Logger).With("runbook", r.name)
	switch {
	case c.Journal == nil:
		return c, refused("runbook %q: Config.Journal is nil", r.name)
	case strings.TrimSpace(c.By) == "":
		return c, refused("runbook %q: Config.By is empty", r.name)
	case c.Parallel < 0:
		return c, refused("runbook %q: Config.Parallel: %d is negative", r.name, c.Parallel)
	case c.PollEvery < 10*time.Millisecond:
		return c, refused("runbook %q: Config.PollEvery: %v is below the minimum 10ms", r.name, c.PollEvery)
	case c.RTO < 0 || c.RPO < 0 || c.Exposure < 0 || c.ApprovalTTL < 0 || c.Cooldown < 0 || c.MaxRuns < 0:
		return c, refused("runbook %q: Config: RTO, RPO, Exposure, ApprovalTTL, Cooldown and MaxRuns must not be negative", r.name)
	}
	return c, nil
}

// targets is what the first entry of a run keeps of c.
func (c Config) targets() *Targets {
	return &Targets{Since: c.Since.UTC(), RTO: c.RTO, RPO: c.RPO, Exposure: c.Exposure, Before: c.Before}
}

// automatic: no person asked.
func automatic(by string) bool { return by == "auto" || strings.HasPrefix(by, "auto/") }

// same: two spellings of one person's name.
func same(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}
