// Package failover decides, once per process, which Regions serve and whether this process may write; every client, queue, store and
// feature obeys it.
//
//	ctl, err := failover.NewController(failover.ControllerConfig{
//		Regions: []failover.Region{"us-east-1", "us-west-2"}, Self: "us-east-1", Witnesses: []failover.Region{"us-east-2"},
//		Coordinator: coord, StateFile: "/var/lib/orders/failover.state", Automatic: true, Promote: promote,
//	})
//	db, err := failover.New(ctl, members, failover.ClientConfig{Name: "orders-db"})
//	go ctl.Run(ctx)
//
//	order, err := failover.Read(ctx, db, func(ctx context.Context, db *DB) (Order, error) { return db.Order(ctx, id) })
//	_, err = failover.Write(ctx, db, func(ctx context.Context, db *DB, f failover.Fence) (int, error) { return db.Insert(ctx, f.Epoch, order) })
//
// Reads are routed by each process alone, at once. Who may write is the group's decision: it changes only with a new epoch, by
// compare-and-swap of one record in a [Coordinator].
//
// # Promise
//
// (a) At most one writer Region per epoch while the coordinator is linearizable. A coordinator that can lose an acknowledged write (Redis)
// can grant one epoch twice: an instance that sees the same epoch with another decision stops writing, two groups that never meet
// do not notice.
//
// (b) A resource that has learned epoch e accepts no write below e, given the token is checked with the write.
//
// (c) With leases, no overlap while pauses and in-flight time stay under MaxFlight and the error of clocks' rates under ClockRate.
//
// (d) Writes acknowledged by the old Region and not replicated are lost or diverge: bounded by the exposure at the switch, printed then;
// listed only when the old Region is back.
//
// (e) A write in flight at the switch may have happened: the caller gets an [UnknownOutcomeError] and the [Ledger] one record; a crash
// between send and record leaves neither.
//
// Not promised: exactly once across Regions, safety with [FenceNone], zero RPO on asynchronous replication.
//
// # Which side is protected by what
//
//	store                        OLD side, after the cut                        NEW side
//	SQL, one database a Region   lease; FenceOld raises the epoch there         token: failoversql.Tx
//	                             if it can be reached, then the token
//	SQL, one global database     token                                          token
//	Redis, one a Region          lease; FenceOld                                token: rediscoord.FencedScript, while Redis keeps it
//	SQS and other queues         lease; consumers compare the epoch             lease; consumers compare the epoch
//	HTTP service                 lease; failoverhttp.Middleware once it knows   failoverhttp.Middleware
//
// A lease is a promise of the writer to itself: it does not survive a pause between check and effect that is longer than MaxFlight. A token
// does, where the resource has learned the new epoch. Use both.
//
// # Defaults
//
// A dead Region is unhealthy after three probes 5 s apart and a quorum agrees a poll later. Leases last 20 s and are renewed every 5 s.
// The cut waits for the last lease, the rate of two clocks and MaxFlight: 25.5 s. A move by the group takes three voters, of whom 60 %
// agree, from the target Region and a witness's; an exposure of at most 60 s; a ready target; 30 min since the last move; at
// most one in 6 h. People need a second person instead, and an [AcceptLoss] above the RPO. A Region that was lost is healthy again after
// 30 s and 60 s of good probes; reads go and come in four steps of 30 s. With a shorter LeaseTTL or PollEvery these times are shorter in
// proportion.
//
// # When things are gone
//
//	coordinator     no route changes; under FenceLease writes stop after LeaseTTL, under FenceToken they go on
//	own Region's    reads go on elsewhere; the group moves the writer, or asks for approval
//	all Regions     nothing moves: the fault is likely here
//	state file      a process that boots without it and without the coordinator serves reads and refuses writes
//	witness         the group asks for approval instead of moving
//	audit, disk     logged; renewal does not wait for them
//
// # Moves
//
// Steady → AwaitApproval → Fenced → Promoting → Open → Steady; planned moves drain reads first and ramp them back. Every arrow is one
// compare-and-swap with one audit entry. One instance of the target Region drives a move; when it is lost, or loses the coordinator,
// another resumes with a higher run token: FenceOld, Promote and Smoke must be resumable. Until the promotion is verified,
// [Controller.Deny] takes a move back; later the way back is another move. A copy whose Lag tells an older epoch than the writer's is a
// former writer: nothing moves there until it has been rebuilt, unless a person takes it as it is ([AcceptLoss]).
//
// # Not here
//
// What a promotion does is the business of runbook. DNS and load balancers follow failoverhttp.Active or route53arc. This package holds about
// eighty exported names, beyond the thirty that packages here aim at: one decision, its record and its clients share one vocabulary,
// and every split that was tried made packages that only work together.
package failover
