package steps

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
)

// A LossGuard says how much a promotion may lose. What it would lose is bounded by the exposure: from the newest commit instant
// present on the standby to the latest instant at which the old writer may have acknowledged a write, and an allowance for clocks. The time since the standby's
// last replayed transaction is no such bound: it grows while nothing is written, and says nothing of what was written and not sent.
type LossGuard struct {
	// RPO is the largest exposure that is promoted. Zero means 60 s.
	RPO time.Duration

	// AcknowledgedUntil is the latest instant at which the old writer may have acknowledged a write: a transition's Exposure has it. Zero
	// means that nobody knows, and nothing is promoted without Accept.
	AcknowledgedUntil time.Time

	// ClockSkew is the allowance for wall clocks that differ. Zero means 1 s.
	ClockSkew time.Duration

	// Lag tells how far the standby has come, by a heartbeat that the old writer wrote: failoversql.PostgreSQL().Lag. Required.
	Lag func(context.Context, *sql.DB) (failover.LagSample, error)

	// Accept is an operator's written acceptance of a larger exposure. Nil means none.
	Accept *failover.AcceptLoss
}

// GuardOf is the guard of a controller's transition: its final AcknowledgedUntil, and the loss that was accepted with it.
func GuardOf(t failover.Transition, rpo time.Duration, lag func(context.Context, *sql.DB) (failover.LagSample, error)) LossGuard {
	return LossGuard{RPO: rpo, AcknowledgedUntil: t.Exposure.AcknowledgedUntil, Lag: lag, Accept: t.AcceptLoss}
}

// check returns why standby must not be promoted.
func (g LossGuard) check(ctx context.Context, standby *sql.DB) error {
	if g.RPO == 0 {
		g.RPO = time.Minute
	}
	if g.ClockSkew == 0 {
		g.ClockSkew = time.Second
	}
	exposure, err := g.exposure(ctx, standby)
	switch {
	case err == nil && exposure <= g.RPO:
		return nil
	case g.Accept != nil && (g.Accept.Exposure == failover.UnknownExposure || err == nil && exposure <= g.Accept.Exposure):
		return nil
	case err != nil:
		return fmt.Errorf("what would be lost is unknown, and nobody has accepted that: %w", err)
	}
	return fmt.Errorf("up to %v of acknowledged writes would be lost; the RPO is %v and nobody has accepted more", exposure.Round(time.Millisecond), g.RPO)
}

func (g LossGuard) exposure(ctx context.Context, standby *sql.DB) (time.Duration, error) {
	if g.AcknowledgedUntil.IsZero() {
		return 0, errors.New("nothing says until when the old writer acknowledged writes")
	}
	if g.Lag == nil {
		return 0, errors.New("LossGuard.Lag is nil")
	}
	sample, err := g.Lag(ctx, standby)
	if err != nil {
		return 0, fmt.Errorf("the standby's heartbeat: %w", err)
	}
	if sample.ReplicatedThrough.IsZero() {
		return 0, errors.New("the standby has no heartbeat")
	}
	return max(0, g.AcknowledgedUntil.Sub(sample.ReplicatedThrough)+g.ClockSkew), nil
}

// PromotePostgres promotes a standby of PostgreSQL 12 or later with pg_promote, if guard lets it, and verifies that recovery has ended and
// that the server takes writes. It is the point of no return.
func PromotePostgres(name string, standby *sql.DB, guard LossGuard) runbook.Step {
	inRecovery := func(ctx context.Context) (recovering bool, err error) {
		err = standby.QueryRowContext(ctx, `select pg_is_in_recovery()`).Scan(&recovering)
		return recovering, err
	}
	return runbook.Step{
		Name: name, PointOfNoReturn: true, Phase: "promote",
		Preflight: func(ctx context.Context) error {
			var may bool
			err := standby.QueryRowContext(ctx, `select has_function_privilege('pg_promote(boolean, integer)', 'execute')`).Scan(&may)
			if err == nil && !may {
				err = errors.New("the user may not execute pg_promote")
			}
			return err
		},
		Check: func(ctx context.Context) (runbook.State, error) {
			recovering, err := inRecovery(ctx)
			if err == nil && recovering {
				err = guard.check(ctx, standby)
			}
			switch {
			case err != nil:
				return runbook.StateBlocked, err
			case recovering:
				return runbook.StateNeeded, nil
			}
			return runbook.StateDone, nil
		},
		Do: func(ctx context.Context) error {
			if err := guard.check(ctx, standby); err != nil { // an approval may have taken an hour
				return notRun{err}
			}
			var ok bool
			// Without waiting: the reply of a long wait is the one that gets lost. Verify polls. Asking twice is harmless: a server that is
			// being promoted stays so, and one that has been says that it is not in recovery.
			if err := standby.QueryRowContext(ctx, `select pg_promote(false)`).Scan(&ok); err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("pg_promote answered false")
			}
			return nil
		},
		Verify: func(ctx context.Context) (runbook.State, error) {
			recovering, err := inRecovery(ctx)
			switch {
			case err != nil:
				return runbook.StateBlocked, err
			case recovering:
				return runbook.StateNeeded, nil
			}
			var readOnly bool
			if err := standby.QueryRowContext(ctx, `select current_setting('transaction_read_only')::bool`).Scan(&readOnly); err != nil {
				return runbook.StateBlocked, err
			}
			if readOnly {
				return runbook.StateBlocked, errors.New("promoted, but default_transaction_read_only is on")
			}
			return runbook.StateDone, nil
		},
	}
}

// WaitReplication waits until standby has replayed everything that primary had written when the step began. It is for planned runs,
// with the writers stopped: it says nothing about what is written later. A standby of another cluster, or one that has been
// promoted, is an error. Once passed it is not asked again: later steps promote the standby.
func WaitReplication(name string, primary, standby *sql.DB) runbook.Step {
	var begun sync.Map // token of the run → position to reach
	step := waitFor(name, when(func(ctx context.Context) (bool, error) {
		now, err := positionOf(ctx, primary)
		if err != nil {
			return false, fmt.Errorf("primary: %w", err)
		}
		if token := runbook.Token(ctx); token != "" { // a plan has none
			first, _ := begun.LoadOrStore(token, now)
			now = first.(position)
		}
		return now.reached(ctx, standby)
	}))
	step.Only, step.Once, step.Phase = runbook.OnlyPlanned, true, "drain"
	return step
}

// A position is how far a cluster's log had been written.
type position struct{ lsn, cluster string }

// positionOf asks for the end of what was inserted, not of what was flushed: with synchronous_commit off commits are acknowledged before.
func positionOf(ctx context.Context, primary *sql.DB) (p position, err error) {
	err = primary.QueryRowContext(ctx, `select pg_current_wal_insert_lsn()::text, system_identifier::text from pg_control_system()`).Scan(&p.lsn, &p.cluster)
	return p, err
}

func (p position) reached(ctx context.Context, standby *sql.DB) (replayed bool, err error) {
	var recovering bool
	var cluster string
	err = standby.QueryRowContext(ctx, `select pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false), system_identifier::text
		from pg_control_system()`, p.lsn).Scan(&recovering, &replayed, &cluster)
	switch {
	case err != nil:
		return false, fmt.Errorf("standby: %w", err)
	case cluster != p.cluster:
		return false, fmt.Errorf("the standby is a copy of another cluster (%s, not %s)", cluster, p.cluster)
	case !recovering:
		return false, errors.New("the standby is not in recovery: it has been promoted")
	}
	return replayed, nil
}
