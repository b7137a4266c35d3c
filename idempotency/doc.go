// Package idempotency makes a repeated call give the first one's result instead of a second effect.
//
// The promise: per key and store, one stored result and one valid lease. The function may run again if its lease is lost, its
// process dies after the effect and before completion, or the store loses acknowledged writes (failover on asynchronous
// replication: those of the last lag). Exactly-once effects need a child key, a fence check, or one transaction.
//
//	store, err := idempotency.NewMemory(idempotency.MemoryConfig{})        // redisstore.New for several processes
//	guard, err := idempotency.New(store, idempotency.Config{Name: "orders"})
//
//	key := idempotency.Key{Scope: user, Op: "charge", ID: id, Fingerprint: idempotency.JSON(order)}
//	receipt, err := idempotency.Do(ctx, guard, key, func(ctx context.Context) (Receipt, error) {
//		return bank.Charge(ctx, order, idempotency.ChildID(ctx, "bank"))
//	})
//
// Run the guard beside the service, so that a shutdown waits for what is still to be stored: [Guard.Run].
//
// # Which verb
//
// [Do] returns a result, (*Guard).Do only an error. [Guard.Once] takes a bare string, stores no result and remembers for 15 days: it
// is the shape in which queues ask for a policy by key. idempotencyhttp guards HTTP handlers and gives outbound requests their keys.
//
// # What happens to a key
//
//	the function returned                the key then         a repetition
//	nil                                  done                 gets the result
//	an error marked Permanent            done                 gets the error, a *StoredError
//	an error that says it did not run    released             runs
//	an error that says it is unknown,    held                 ErrUnknownOutcome, or Config.OnUnknown
//	  or any after its context ended
//	not at all: panic, Goexit            held                 ErrUnknownOutcome, or Config.OnUnknown
//	not at all: its process died         abandoned            runs once the lease has passed, or Config.OnAbandoned
//	any other error                      released             runs
//
// Marks are methods: NotRun() bool, OutcomeUnknown() bool and Permanent() bool, the outermost error that has them answers; errors of
// net, net/http, io and context are known by type. [Config].Verdict decides otherwise. A release after an attempt that died
// or was held puts that past back: it deletes a record only if nothing earlier may have had an effect.
//
// # Running twice
//
// A claim carries a lease of 30 s, which heartbeats extend while the function runs. A process that cannot confirm its lease
// cancels the function's context half a heartbeat before another process may take the key, by its own monotonic clock; it cannot cancel
// a process that is paused, nor one whose function ignores its context. Three things close the gap:
//
//   - A child key: [ChildID] derives the key for a downstream call from the attempt's key, the same in every re-run and Region.
//   - A fence: [Attempt].Fence grows with every attempt. Store it with what you write, and refuse to write below it.
//   - One transaction: write a row named by the key in the transaction that has the effect.
//
// A function in stages saves how far it got with [Attempt.Checkpoint]; the next attempt finds it in Saved.
//
// # When the store is out
//
// A call that cannot be claimed does not run and gets [ErrUnavailable], unless [Config].OnOutage says otherwise. A result that cannot be stored is
// returned all the same, with Info.Stored false: this process replays it at once, and stores it when the store is back, within a lease
// or, while the store takes heartbeats, within ten.
// A success never becomes an error.
//
// # Several Regions
//
// [NewRegional] writes every record in two Regions, so that the second one, after a failover, knows every key that the first acknowledged
// while both were there, and every result that a caller got. It says since when that is not so. [Config].Epoch makes a new writer take over the old one's claims at once, and an old writer's
// late results give way. Without a second copy, [Config].Lag and OnAmbiguous refuse keys whose record may have been lost.
//
// # Defaults
//
//	Lease 30 s · Heartbeat 7.5 s · Retention 24 h · OnceRetention 15 d · StoreTimeout 3 s · Wait 0 · MaxBytes 256 KiB
//	OnOutage FailClosed · OnUnknown Refuse · OnAbandoned Rerun · OnAmbiguous Refuse · Codec JSON · Seal none
//
// # Not here
//
// Rate limits, locks for other purposes than a call (a lease can be lost), and deduplication of calls that carry no key.
package idempotency
