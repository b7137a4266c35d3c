// Package runbook makes a runbook out of typed Go steps: planned, approved, resumable after a crash at any line, timed, drilled.
//
//	book, err := runbook.New("promote us-west-2", fence, promote, smoke)
//	fmt.Print(book.Plan(ctx, runbook.Unplanned)) // Check only: what a run would do now
//	report, err := book.Run(ctx, runID, runbook.Config{Journal: journal, By: "ann", RTO: 15 * time.Minute})
//	fmt.Print(report.Markdown())
//
// Package steps has the common steps, examples/runbook a whole outage of two PostgreSQL clusters. [Promotion] hands a runbook to the
// failover controller, [Main] makes a command of it for a one-click job.
//
// # A step
//
// Check observes, Do changes, Verify observes again, Undo takes back. Steps run when what they need is done, side by side up to
// Config.Parallel. On resume every step is checked again; the journal is a hint that says which Do may still be under way. Such a Do is
// never started again before Verify has said that the first one has had no effect. A step whose effect a later one takes back on purpose,
// or leaves nothing to be seen, says [Step].Once and is not asked again. Where the changed system takes a request token, [Token] is the
// same for every attempt.
//
// # What is promised
//
//   - A run that is killed at any point and resumed ends in the same state, given that Check and Verify tell the truth. The test
//     kills the runner at every journal write, over random graphs and faults.
//   - Of two runners of one run, the older one starts no step after the newer one has begun: every Do is preceded by a journal entry that
//     only the newest runner can write. A Do that the older one had started is cut off within two polls of the journal, also when the older
//     one cannot reach it; the newer one lets four pass before it believes that such a Do has had no effect.
//   - Between approval and Do a runner looks once more: a run that was paused, cancelled or taken over meanwhile starts nothing.
//   - Approvals count distinct people other than the requester, for one plan and until they expire. The plan's hash covers the steps and
//     the mode, not the code of their functions.
//   - Once a step marked PointOfNoReturn is done, or may be, nothing of the run is undone. Undo takes back only what the run did.
//   - A function that panics, ends its goroutine or ignores the end of its context for 5 s stops its step, and no more.
//
// Not promised: that a step's effect happens exactly once where Verify cannot see it; that a process that pauses between its journal entry and
// its Do does nothing, which takes a fence in the system it changes; that two runs, with two IDs, do not meet (see Config.Alone; the failover
// controller has one transition at a time); anything about a journal that forgets, see package redisjournal.
//
// # People
//
// [Runbook.Approve], [Runbook.Skip] with a reason, [Pause], [Continue], [Cancel] and [Runbook.Unplan] are entries in the journal, so they work from
// any process that reaches it and within one Config.PollEvery. A cancelled run finishes what has come to its Do; a planned run whose
// Region is lost on the way goes on as an unplanned one, under a new plan and with new approvals.
//
// # Outcomes
//
//	nil            all steps are done; MayFail ones may have failed
//	ErrRefused     nothing was changed: a journal from another plan, expired or wrong approvals, cooldown, an Undo past the barrier
//	ErrBlocked     a Check said so, or approvals did not come in time: resume later
//	ErrUndecided   a Do's outcome is open: resume asks Verify again
//	ErrFenced      another runner has the run
//	ErrHung        a step's function does not return
//	ErrCancelled   a person ended the run
//
// # Reports
//
// [Report] has the phases, RTO and RPO against their targets, who did what and what was skipped, from the journal alone. The journal
// is a chain of hashes; [VerifyChain] finds what was changed.
//
// # Defaults
//
// Four steps at once, a poll every 2 s, 10 minutes a step, an hour for approvals. All calls return errors, none panics.
package runbook
