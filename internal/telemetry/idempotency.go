package telemetry

// IdempotencyOutcomes are the ends of a guarded call, in the order of the guard's counters.
var IdempotencyOutcomes = []string{
	"ran", "failed", "released", "held", "replayed", "in_flight", "mismatch", "unknown", "unavailable", "not_writer", "invalid", "corrupt", "detached",
}

// Instruments of package idempotency.
var (
	IdempotencyCalls = &Instrument{
		Name: "holdfast.idempotency.calls", Unit: "{call}", Kind: KindCounter,
		Description: "Guarded calls by how they ended: the function ran (ran, failed = error stored, released, held), a result was replayed, or the call was refused.",
		Attributes:  []Attribute{NameAttribute, {Key: "outcome", Values: IdempotencyOutcomes}},
	}
	IdempotencyWaits = &Instrument{
		Name: "holdfast.idempotency.waits", Unit: "{wait}", Kind: KindCounter,
		Description: "Calls that waited for another one with their key.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyFenced = &Instrument{
		Name: "holdfast.idempotency.fenced", Unit: "{attempt}", Kind: KindCounter,
		Description: "Attempts that finished after another one had taken their key over: the function ran twice.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyUnprotected = &Instrument{
		Name: "holdfast.idempotency.unprotected", Unit: "{attempt}", Kind: KindCounter,
		Description: "Attempts that other processes could not see because the store was out.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyLeaseLost = &Instrument{
		Name: "holdfast.idempotency.lease.lost", Unit: "{lease}", Kind: KindCounter,
		Description: "Attempts that were cancelled because their lease could not be kept.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyGivenUp = &Instrument{
		Name: "holdfast.idempotency.given_up", Unit: "{step}", Kind: KindCounter,
		Description: "Results and releases that could not be written before their lease ended.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyRunning = &Instrument{
		Name: "holdfast.idempotency.running", Unit: "{attempt}", Kind: KindGauge,
		Description: "Guarded functions running now.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyPending = &Instrument{
		Name: "holdfast.idempotency.pending", Unit: "{step}", Kind: KindGauge,
		Description: "Results and releases waiting for the store.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyStoreUp = &Instrument{
		Name: "holdfast.idempotency.store.up", Kind: KindGauge,
		Description: "1 if the store answered last time, else 0.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyDegraded = &Instrument{
		Name: "holdfast.idempotency.regional.degraded", Kind: KindGauge,
		Description: "1 while a regional store has keys that only one Region holds, else 0.", Attributes: []Attribute{NameAttribute},
	}
	IdempotencyDamaged = &Instrument{
		Name: "holdfast.idempotency.regional.damaged", Unit: "{key}", Kind: KindGauge,
		Description: "Keys that the last Resync could not copy because their records or notes are damaged.", Attributes: []Attribute{NameAttribute},
	}
)

// Idempotency is package idempotency.
var Idempotency = &Package{Name: "idempotency", Instruments: []*Instrument{
	IdempotencyCalls, IdempotencyWaits, IdempotencyFenced, IdempotencyUnprotected, IdempotencyLeaseLost,
	IdempotencyGivenUp, IdempotencyRunning, IdempotencyPending, IdempotencyStoreUp, IdempotencyDegraded, IdempotencyDamaged,
}}
