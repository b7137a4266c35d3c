// Package runbook makes a runbook out of typed Go steps: planned, approved, resumable after a crash at any line, timed, drilled.
//
//	book, err := runbook.New("promote us-west-2",
//		steps.FenceOldWriter("fence the old writer", fence, fenced),
//		runbook.Step{Name: "promote", Needs: []string{"fence the old writer"}, Check: isPrimary, Do: promote, PointOfNoReturn: true},
//		steps.SmokeTest("smoke test", placeTestOrder),
//	)
//	fmt.Print(book.Plan(ctx, runbook.Unplanned)) // Check only: what a run would do now
//	report, err := book.Run(ctx, runID, runbook.Config{Journal: journal, By: "ann"})
//
// Package steps has the common ones. [Promotion] hands a runbook to the failover controller, [Main] makes a command of it.
//
// # A step
//
// Check observes, Do changes, Verify observes again, Undo takes back. On resume every step is checked again; the journal is a hint that says
// one thing only: which Do may still be under way. Such a Do is never started again before Verify has said that the first one has had
// no effect. Where the changed system takes a request token, [Token] is the same for every attempt.
//
// # What is promised
//
//   - A run that is killed at any point and resumed ends in the same state, given that Check and Verify tell the truth. The test
//     kills the runner at every journal write, over random graphs and faults.
//   - Of two runners of one run, the older one starts no step after the newer one has begun: every Do is preceded by a journal entry that
//     only the newest runner can write. A Do that the older one had already started goes on; the newer one lets Verify decide.
//   - Approvals count distinct people other than the requester, for one plan and until they expire.
//   - Once a step marked PointOfNoReturn is done, or may be, nothing of the run is undone.
//
// Not promised: that a step's effect happens exactly once where Verify cannot see it; that a paused process does nothing between its journal entry and
// its Do, which takes a fence in the system it changes.
//
// # Defaults
//
// Four steps at once, Verify every 2 s, 10 minutes a step, an hour for approvals. All calls return errors, none panics; panics of a
// step's functions become its error.
package runbook
