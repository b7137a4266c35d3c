// Package steps has the steps of most runbooks, without a vendor's SDK. Each function returns a runbook.Step whose fields the caller may
// still set: Needs, Approve, Timeout, Waive.
//
//	promote := steps.PromotePostgres("promote the database", standby)
//	promote.Needs, promote.Approve = []string{"fence the old writer"}, 1
//
// Steps observe before they act: a step whose effect is there already changes nothing, so every one of them may be run again.
package steps
