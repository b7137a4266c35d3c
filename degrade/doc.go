// Package degrade keeps every feature of a service at the best level its dependencies allow, no better and no worse. People can
// override it, with a reason and an end. Losing the flag backend changes nothing on a request.
//
//	c, err := degrade.New(degrade.Config{Region: "eu-west-1", LastKnownGood: "/var/lib/shop/degrade.state"})
//	db := c.Dependency("orders-db", degrade.DependencyConfig{Ready: orders.Writable})
//	replica := c.Dependency("replica", degrade.DependencyConfig{Ready: orders.Readable})
//	checkout := c.Feature("checkout", degrade.FeatureConfig{Reads: degrade.AnyOf(db, replica), Writes: db})
//	go c.Run(ctx)
//	…
//	order, err := degrade.Read(ctx, checkout, loadOrder, loadFromCache)
//	_, err = degrade.Write(ctx, checkout, placeOrder, deferOrder)
//
// # Levels
//
// A feature is at one of four levels: [Normal], [Limited] (optional work off, stale answers allowed), [ReadOnly] (also no changes) and
// [Offline] (no primary call at all). It is derived from what the feature declares to need: nothing to read from is Offline, nothing to write
// to is ReadOnly, an optional need missing or any need impaired is Limited. Flags, [Override] and [Config].Boot can make it worse; of several
// reasons the worst wins. FeatureConfig.Never and AtLeast are its bounds.
//
// Worse happens at once: a dependency reported Down is followed before [Dependency.Report] returns. Impaired counts after 5 s. Better happens one
// level at a time, each after 30 s ± 20 % without a relapse and with the consent of FeatureConfig.Gate; a relapse within 10 minutes of such a step doubles
// the hold, up to 10 minutes. A silent source is believed for its MaxAge and 30 s more; then it is Impaired.
//
// # Calls
//
// [Read] and [Write] run the primary call, the fallback or neither, by level and error; [Feature.Allow] only asks. A write that failed is done
// another way only if its error says that it did not run. Fallbacks are bounded (256 at once), get the time kept for them
// (FeatureConfig.Reserve) and are proven in peace time (FeatureConfig.Exercise); Status and the metrics tell when each worked last. [Stale] keeps copies
// for when the real thing fails, [Stub] stands in for what exists in one Region only. A request pinned with [Controller.Pin], as degradehttp does,
// sees one level from its begin to its end.
//
// # Flags
//
// A [Provider] is asked by Run every 10 s and never by a request: at Normal a call costs one atomic load, whether the backend is up, down or
// slow. A set is used whole or not at all; what is refused leaves the last good one in force, also over a restart (Config.LastKnownGood).
// A set that takes half of the features Offline must say that it means it.
//
// # Before an outage
//
// [Controller.WhatIf] says what an outage would leave, [Controller.Matrix] prints it as a table for the runbook, [Controller.Lint] finds what will
// disappoint in a Region. They work without Run: put them in a test, with golden files.
//
// # Guarantees
//
//   - A level never waits: not for a poll that hangs, a subscriber that blocks, a gate, the flag backend or the override store.
//   - An override ends at its own end on the local clock, also if the store cannot be reached or has lost it; then control is automatic.
//   - What was done to an override is one audit record each, chained by hash; a record that could not be written is counted.
//   - A crash during a write of the state file leaves the old or the new one whole. A damaged file is reported and not used.
//
// Not guaranteed: that all instances of a fleet are at the same level at the same time; that an override of the fleet reaches an instance
// that cannot reach the store; that the fallback's answer is right (see FeatureConfig.Compare).
//
// # Not here
//
// Primary calls that succeed are not counted: an atomic add costs more than all of Read does. Load is shed by package shed, for which Limited and
// worse are no signal. A Feature has no Ready method, on purpose: a queue that pauses by the level that waits for the queue to drain would
// never start again.
package degrade
