package telemetry

var (
	clientAttribute = Attribute{Key: "client", From: "ClientConfig.Name"}
	regionAttribute = Attribute{Key: "region", From: "ControllerConfig.Regions"}
)

// Instruments of failover.
var (
	FailoverEpoch = &Instrument{
		Name: "holdfast.failover.epoch", Kind: KindGauge, Attributes: []Attribute{NameAttribute},
		Description: "newest write epoch this process knows, without its incarnation",
	}
	FailoverPhase = &Instrument{
		Name: "holdfast.failover.phase", Kind: KindGauge, Attributes: []Attribute{NameAttribute},
		Description: "phase of the writer: 0 steady, 1 awaiting approval, 2 draining, 3 fenced, 4 promoting, 5 open, 6 ramping",
	}
	FailoverWritable = &Instrument{
		Name: "holdfast.failover.writable", Kind: KindGauge, Attributes: []Attribute{NameAttribute},
		Description: "1 while this process may write, else 0",
	}
	FailoverConflict = &Instrument{
		Name: "holdfast.failover.conflict", Kind: KindGauge, Attributes: []Attribute{NameAttribute},
		Description: "1 while writes are stopped because the coordinator contradicts itself",
	}
	FailoverSelfSuspect = &Instrument{
		Name: "holdfast.failover.self_suspect", Kind: KindGauge, Attributes: []Attribute{NameAttribute},
		Description: "1 while all Regions look bad from here, so that the fault is likely here",
	}
	FailoverLease = &Instrument{
		Name: "holdfast.failover.lease.left", Unit: "s", Kind: KindLevel, Attributes: []Attribute{NameAttribute},
		Description: "how long this process may still write; no value without FenceLease or a lease",
	}
	FailoverCoordinatorAge = &Instrument{
		Name: "holdfast.failover.coordinator.age", Unit: "s", Kind: KindLevel, Attributes: []Attribute{NameAttribute},
		Description: "time since the coordinator's newest answer was asked for",
	}
	FailoverExposure = &Instrument{
		Name: "holdfast.failover.exposure", Unit: "s", Kind: KindLevel, Attributes: []Attribute{NameAttribute},
		Description: "acknowledged writes that a move would lose at most, in time; no value while it is unknown",
	}
	FailoverHealth = &Instrument{
		Name: "holdfast.failover.region.health", Kind: KindGauge, Attributes: []Attribute{NameAttribute, regionAttribute},
		Description: "health of a Region as seen here: 0 unknown, 1 healthy, 2 suspect, 3 unhealthy, 4 recovering",
	}
	FailoverCalls = &Instrument{
		Name: "holdfast.failover.calls", Unit: "{call}", Kind: KindCounter,
		Attributes:  []Attribute{NameAttribute, clientAttribute, regionAttribute, {Key: "outcome", Values: []string{"good", "bad"}}},
		Description: "calls that say something about a Region's health",
	}
	FailoverFenced = &Instrument{
		Name: "holdfast.failover.fenced", Unit: "{call}", Kind: KindCounter, Attributes: []Attribute{NameAttribute},
		Description: "writes refused because this process may not write",
	}
	FailoverUnknown = &Instrument{
		Name: "holdfast.failover.unknown", Unit: "{call}", Kind: KindCounter, Attributes: []Attribute{NameAttribute},
		Description: "writes of unknown outcome",
	}
	FailoverRefused = &Instrument{
		Name: "holdfast.failover.refused", Unit: "{move}", Kind: KindCounter,
		Attributes: []Attribute{NameAttribute, {Key: "guard", Values: []string{
			"target", "phase", "request", "exposure", "readiness", "cooldown", "budget", "freeze", "quorum", "conflict",
			"former_writer",
		}}},
		Description: "moves refused here, by the guard that did; an automatic one is counted at every poll",
	}
	FailoverMoves = &Instrument{
		Name: "holdfast.failover.moves", Unit: "{move}", Kind: KindCounter,
		Attributes:  []Attribute{NameAttribute, {Key: "outcome", Values: []string{"done", "aborted"}}},
		Description: "moves that this instance drove to their end",
	}
	FailoverPhaseDuration = &Instrument{
		Name: "holdfast.failover.phase.duration", Unit: "s", Kind: KindHistogram,
		Attributes: []Attribute{NameAttribute, {Key: "phase", Values: []string{
			"detect", "decide", "approve", "drain", "fence", "promote", "open", "validate", "ramp",
		}}},
		Buckets:     []float64{0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 900, 1800, 3600},
		Description: "what the phases of finished moves took, recorded by the instance that drove them",
	}
)

// Failover is package failover.
var Failover = &Package{Name: "failover", Instruments: []*Instrument{
	FailoverEpoch, FailoverPhase, FailoverWritable, FailoverConflict, FailoverSelfSuspect, FailoverLease, FailoverCoordinatorAge,
	FailoverExposure, FailoverHealth, FailoverCalls, FailoverFenced, FailoverUnknown, FailoverRefused, FailoverMoves, FailoverPhaseDuration,
}}
