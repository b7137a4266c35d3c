// Package steps has the steps of most runbooks, without a vendor's SDK. Each function returns a runbook.Step whose fields the caller may
// still set: Needs, Approve, Timeout, Waive, Once.
//
//	wait := steps.WaitReplication("wait for the last write", east, west)
//	promote := steps.PromotePostgres("promote the database", west, steps.GuardOf(transition, time.Minute, failoversql.PostgreSQL().Lag))
//	promote.Needs, promote.Approve = []string{wait.Name}, 1
//	book, err := runbook.New("promote us-west-2", wait, promote, steps.SmokeHTTP("smoke test", nil, "https://west.example.com/health"))
//
// # The steps
//
//	before     Parity (Image, Schema, ConfigHash, Flags, QueueAttributes, Certificate, Quota), Approve, Notify, PagerDuty
//	the move   DrainClients, FenceOldWriter, WaitReplication (planned), SyncKeys, PromotePostgres
//	after      SmokeTest, SmokeHTTP, PagerDutyResolve, DrainStranded
//	the return ListDivergence, RebuildReplica with a Cluster's Rewind and BaseBackup
//	anything   Command, Exec: a program and its arguments, never a shell
//	presets    MonthlySmoke, QuarterlyFailover
//
// Steps observe before they act: a step whose effect is there already changes nothing, so every one of them may be run again. Steps that
// leave nothing to be seen (a message, a list) are repeated after a crash, with the same token.
//
// # What a promotion may lose
//
// PromotePostgres asks its [LossGuard]. The bound is the time from the newest heartbeat of the old writer that the standby has replayed to
// the latest instant at which the old writer may have acknowledged a write, plus an allowance for clocks. The age of the last
// replayed transaction is not used: it grows on an idle primary, and says nothing of writes that were never sent. Where the
// bound is unknown nothing is promoted, unless an operator has accepted that in writing.
package steps
