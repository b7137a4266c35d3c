// Package drill plays a scenario in real time as an exercise that people answer for: on allowed targets only, ended
// by stop conditions, undone whatever happens, and with evidence of what it came to.
//
//	w, err := drtest.NewReal(ctx, drtest.Config{})
//	…                                     // Regions, attached servers, loads: see package drtest
//	c := drill.Config{
//		Name: "quarterly loss of us-east-1", Operators: []string{"ana"}, Approvals: []string{"ben, change 4711"},
//		Scenario: scenario, Allow: []string{"us-east-1"}, RTO: 15 * time.Minute, RPO: time.Minute,
//		Stop: []drill.Condition{drill.ErrorShare(0.5, 2*time.Minute)}, Longest: time.Hour,
//		Lease: "/var/lib/shop/drill.lease", Evidence: "evidence/2026-11",
//	}
//	fmt.Print(drill.Plan(w, c))           // the dry run: what would happen, and what forbids it
//	result, err := drill.Run(ctx, w, c)
//	…
//	evidence, err := drill.Verify("evidence/2026-11")
//
// # Undo
//
// Every fault is undone when the drill ends: by its plan, by a stop condition, at Longest, by SIGINT or SIGTERM, with
// its context or its World, or by a panic in Run. Faults of the World's own network live in this process and end with
// it, however it ends. What reaches further is an [Action], as freezing a real server: before it is done it is written
// to the lease file, and it is taken out after it was undone. A process that is killed leaves its lease; the next [Run] or
// [Recover] finds it, undoes what it names, and refuses to start if it cannot. While a drill runs, its lease is
// locked: a second drill with the same lease is refused.
//
// # Outcomes
//
//	passed        every check passed
//	failed        a check failed
//	interrupted   the drill ended before its plan did
//	inconclusive  a check had nothing to judge, or a fault did not act, or a part of the World failed
//
// # Evidence
//
// A bundle is a folder: drill.json (who, what, when, versions, commit, objectives, measurements, outcome), scenario.json,
// report.json, report.html, report.txt, audit.jsonl (a hash chain) and manifest.json with the SHA-256 of each. [Verify]
// reads it and finds what was changed, dropped or added. Whoever can write all files can write another bundle:
// keep [Result].Digest, the hash of the manifest, elsewhere.
//
// # Not promised
//
// An undo that fails, or that the machine's death prevents, is named and not repeated for ever. A process that is
// stopped, not killed, keeps its lease locked. Locks are those of Unix; elsewhere Run is refused.
package drill
