// Package queue defers typed calls over SQS and says exactly how safe each one is.
//
//	var Charge = queue.Define[ChargeArgs]("billing.charge.v1")
//
//	client, err := queue.NewClient(transport, queue.ClientConfig{Spool: s, SpoolDurable: true})
//	receipt, err := Charge.Defer(ctx, client, ChargeArgs{Order: "o-1", Cents: 4200}, queue.Delay(time.Minute))
//
//	mux := queue.NewMux()
//	queue.Handle(mux, Charge, charge, queue.HandlerConfig{Ready: payments.Ready})
//	worker, err := queue.NewWorker(transport, mux, queue.WorkerConfig{Once: guard.Once, OnceRetention: guard.OnceRetention()})
//	err = holdfast.Run(ctx, holdfast.Stage{worker.Run}, holdfast.Stage{client.Run})
//
// # Promise
//
// A call whose receipt says Durable was acknowledged by SQS in the named Region, or fsynced on a volume the operator
// declared durable. Unless that Region or volume is lost for good, or the message outlives its retention (sqsqueue's Check
// demands 14 days on queue and dead-letter queue), it runs at least once or is found dead with its reason. With Once it
// runs again only if its lease is lost, its process dies after the effect and before completion, or the idempotency store
// loses what it acknowledged. [Ledger] checks this on sets of call IDs, in tests and drills.
//
// # The call
//
// [Define] makes a handle of a name with a version and a type; [Call.Defer] puts a call in a queue, [Call.Try] runs it now and defers
// it if that did not happen. The call ID is made before the first attempt to send and stays the same in every copy: a
// send that timed out may have arrived, so copies are normal and Once is how they are told apart. The wire format is
// [Envelope], a CloudEvents 1.0 event.
//
// # Where a call goes
//
// Concurrent calls share batches. One that nobody is gathered with is sent on its caller's goroutine if the queue is in memory, or the
// caller's context cannot end; a panic of the transport is then the caller's. What no Region took within SendTimeout goes to the [Spool], and from there to any Region
// that answers; the [Receipt] says which of them it was. Without a spool Defer returns [ErrNotDeferred], with an
// outcome: not run, or unknown. Calls of a FIFO group follow each other into the spool, so that none overtakes.
//
// # The worker
//
//   - It receives what free workers can start. Each of several Regions may bring a message for the last of them: what is
//     more waits here for the next that is free. A message is leased; one loop extends all leases, and a
//     handler whose lease is lost has its context cancelled with cause [ErrLeaseLost] and deletes nothing.
//   - A failed attempt waits through the message's visibility, up to 12 hours; MaxAttempts is 12. Attempts are counted
//     by the worker: pauses, snoozes, drains and calls in flight elsewhere are none. With Once that count is exact in all
//     processes: each failure takes the next number in its store. Without it, on a standard queue, what was received
//     and not attempted is replaced by a copy that carries the count; on FIFO, and for what a drain gives back
//     unstarted, other processes see a receive more. No call is dead-lettered for its attempts without a failed
//     attempt in hand. One that never comes to an end is dead after thrice MaxAttempts runs, which are counted with
//     Once; without it, what the receives say counts.
//   - Dead letters are sent by the worker with reason, class and attempts ([Reason], [Death]); [Redrive] brings them back.
//   - While a Ready says no, nothing is received. With several handlers on one queue only the calls of the one that is
//     not ready are put off: give a fragile dependency a queue of its own.
//   - Delays over 15 minutes are hops: the call is sent again every 15 minutes. What grows older than four
//     fifths of the queue's retention is sent again too.
//   - Run's end is a drain: see [Worker.Run].
//
// # Defaults
//
//	setting                   default        meaning
//	ClientConfig.SendTimeout  1 s            per Region
//	ClientConfig.Linger       2 ms           for company, while another batch is in flight
//	WorkerConfig.Workers      10             handlers at a time
//	WorkerConfig.PerTenant    3/4 Workers    of them for one tenant
//	WorkerConfig.Lease        30 s           extended at a third
//	WorkerConfig.Poll         20 s           long poll
//	WorkerConfig.Drain        25 s           for running handlers
//	HandlerConfig.MaxAttempts 12
//	HandlerConfig.Timeout     15 min
//	HandlerConfig.Backoff     1 s to 15 min  exponential, full jitter
//	HandlerConfig.Stale       run with Once, else dead
//
// # Not promised
//
// Exactly once. Order on standard queues, or on FIFO queues while their Region is given up. That a long poll that was
// cut off leaves nothing hidden until its lease ends. Kinesis, and queues other than SQS and memory.
package queue
