package telemetry

var (
	featureAttribute    = Attribute{Key: "feature", From: "the name given to Controller.Feature"}
	dependencyAttribute = Attribute{Key: "dependency", From: "the name given to Controller.Dependency"}
)

// Instruments of degrade.
var (
	DegradeLevel = &Instrument{
		Name: "holdfast.degrade.level", Kind: KindGauge, Attributes: []Attribute{NameAttribute, featureAttribute},
		Description: "level of a feature: 0 normal, 1 limited, 2 read-only, 3 offline",
	}
	DegradeTransitions = &Instrument{
		Name: "holdfast.degrade.transitions", Unit: "{transition}", Kind: KindCounter,
		Attributes:  []Attribute{NameAttribute, featureAttribute, {Key: "to", Values: []string{"normal", "limited", "read-only", "offline"}}},
		Description: "changes of a feature's level",
	}
	DegradeFallbacks = &Instrument{
		Name: "holdfast.degrade.fallbacks", Unit: "{call}", Kind: KindCounter,
		Attributes:  []Attribute{NameAttribute, featureAttribute, {Key: "outcome", Values: []string{"fallback", "stale", "stub", "failed", "full"}}},
		Description: "calls that were not answered by the primary, by what answered; failed includes exercised fallbacks; full: refused at MaxFallbacks",
	}
	DegradeRefused = &Instrument{
		Name: "holdfast.degrade.refused", Unit: "{call}", Kind: KindCounter,
		Attributes:  []Attribute{NameAttribute, featureAttribute, {Key: "op", Values: []string{"read", "write", "optional"}}},
		Description: "calls refused because of the level",
	}
	DegradeProofAge = &Instrument{
		Name: "holdfast.degrade.fallback.proof.age", Unit: "s", Kind: KindLevel, Attributes: []Attribute{NameAttribute, featureAttribute},
		Description: "time since a fallback of the feature worked last, in use or exercised; no value before the first time",
	}
	DegradeMismatches = &Instrument{
		Name: "holdfast.degrade.fallback.mismatches", Unit: "{call}", Kind: KindCounter, Attributes: []Attribute{NameAttribute, featureAttribute},
		Description: "exercised fallbacks whose answer FeatureConfig.Compare did not accept",
	}
	DegradeStale = &Instrument{
		Name: "holdfast.degrade.stale.lookups", Unit: "{lookup}", Kind: KindCounter,
		Attributes:  []Attribute{NameAttribute, featureAttribute, {Key: "outcome", Values: []string{"fresh", "stale", "loaded", "failed"}}},
		Description: "lookups in the feature's stale caches",
	}
	DegradeDependencyState = &Instrument{
		Name: "holdfast.degrade.dependency.state", Kind: KindGauge, Attributes: []Attribute{NameAttribute, dependencyAttribute},
		Description: "state of a dependency as features see it: 1 ok, 2 impaired, 3 down",
	}
	DegradeDependencyAge = &Instrument{
		Name: "holdfast.degrade.dependency.age", Unit: "s", Kind: KindLevel, Attributes: []Attribute{NameAttribute, dependencyAttribute},
		Description: "time since the last report; no value before the first",
	}
	DegradeStubs = &Instrument{
		Name: "holdfast.degrade.stubs", Unit: "{call}", Kind: KindCounter, Attributes: []Attribute{NameAttribute, dependencyAttribute},
		Description: "answers by a stub of the dependency",
	}
	DegradeFlagsAge = &Instrument{
		Name: "holdfast.degrade.flags.age", Unit: "s", Kind: KindLevel, Attributes: []Attribute{NameAttribute},
		Description: "time since the backend last confirmed the flags in force; no value before the first load",
	}
	DegradeFlagsRejected = &Instrument{
		Name: "holdfast.degrade.flags.rejected", Unit: "{load}", Kind: KindCounter, Attributes: []Attribute{NameAttribute},
		Description: "loads of flags that failed or whose set was refused",
	}
	DegradeOverrides = &Instrument{
		Name: "holdfast.degrade.overrides", Unit: "{override}", Kind: KindGauge, Attributes: []Attribute{NameAttribute},
		Description: "overrides in force",
	}
	DegradeOverrideExpiry = &Instrument{
		Name: "holdfast.degrade.override.expiry", Unit: "s", Kind: KindLevel, Attributes: []Attribute{NameAttribute},
		Description: "time until the next override ends; no value without one",
	}
	DegradeAuditFailures = &Instrument{
		Name: "holdfast.degrade.audit.failures", Unit: "{record}", Kind: KindCounter, Attributes: []Attribute{NameAttribute},
		Description: "audit records that could not be written",
	}
	DegradeEventsDropped = &Instrument{
		Name: "holdfast.degrade.events.dropped", Unit: "{event}", Kind: KindCounter, Attributes: []Attribute{NameAttribute},
		Description: "events that subscribers and log missed because Run was not running or a subscriber blocked",
	}
)

// Degrade is package degrade.
var Degrade = &Package{Name: "degrade", Instruments: []*Instrument{
	DegradeLevel, DegradeTransitions, DegradeFallbacks, DegradeRefused, DegradeProofAge, DegradeMismatches, DegradeStale,
	DegradeDependencyState, DegradeDependencyAge, DegradeStubs, DegradeFlagsAge, DegradeFlagsRejected,
	DegradeOverrides, DegradeOverrideExpiry, DegradeAuditFailures, DegradeEventsDropped,
}}

// Instruments of degrade/shed.
var (
	ShedRequests = &Instrument{
		Name: "holdfast.degrade.shed.requests", Unit: "{request}", Kind: KindCounter,
		Attributes: []Attribute{
			NameAttribute,
			{Key: "class", Values: []string{"sheddable", "sheddable-plus", "critical", "critical-plus"}},
			{Key: "outcome", Values: []string{"shed", "late", "spared"}},
		},
		Description: "requests refused for load (shed) or for want of time (late), and admitted above their share so that recovery is seen (spared)",
	}
	ShedEnded = &Instrument{
		Name: "holdfast.degrade.shed.ended", Unit: "{request}", Kind: KindCounter, Attributes: []Attribute{NameAttribute},
		Description: "admitted requests that have ended; starts again at 2^32",
	}
	ShedInFlight = &Instrument{
		Name: "holdfast.degrade.shed.in_flight", Unit: "{request}", Kind: KindGauge, Attributes: []Attribute{NameAttribute},
		Description: "requests in flight",
	}
)

// DegradeShed is package degrade/shed.
var DegradeShed = &Package{Name: "degrade/shed", Instruments: []*Instrument{ShedRequests, ShedEnded, ShedInFlight}}
