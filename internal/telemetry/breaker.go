package telemetry

// Breaker is the instruments of package breaker.
var Breaker = &Package{Name: "breaker", Instruments: []*Instrument{
	BreakerBreakers, BreakerModes, BreakerTransitions, BreakerCalls, BreakerSlowCalls, BreakerRejections, BreakerObserved,
	BreakerHeld, BreakerProbes, BulkheadLimit, BulkheadInFlight, BulkheadQueued, BulkheadRefusals,
}}

var breakerState = Attribute{Key: "state", Values: []string{"closed", "half-open", "open", "ramp"}}

// The instruments of breakers; those of a group report the sum of its breakers.
var (
	BreakerBreakers = &Instrument{
		Name: "holdfast.breaker.breakers", Unit: "{breaker}", Kind: KindGauge,
		Description: "breakers in a state: one or zero for a single breaker, a number for a group", Attributes: []Attribute{NameAttribute, breakerState},
	}
	BreakerModes = &Instrument{
		Name: "holdfast.breaker.modes", Unit: "{breaker}", Kind: KindGauge,
		Description: "breakers in a mode", Attributes: []Attribute{NameAttribute, {Key: "mode", Values: []string{"auto", "open", "closed", "observe"}}},
	}
	BreakerTransitions = &Instrument{
		Name: "holdfast.breaker.transitions", Unit: "{transition}", Kind: KindCounter,
		Description: "changes of state, by the state entered", Attributes: []Attribute{NameAttribute, breakerState},
	}
	BreakerCalls = &Instrument{
		Name: "holdfast.breaker.calls", Unit: "{call}", Kind: KindCounter,
		Description: "results of admitted calls", Attributes: []Attribute{NameAttribute, {Key: "outcome", Values: []string{"success", "failure", "neutral"}}},
	}
	BreakerSlowCalls = &Instrument{
		Name: "holdfast.breaker.slow_calls", Unit: "{call}", Kind: KindCounter,
		Description: "results that took Config.SlowCall or longer", Attributes: []Attribute{NameAttribute},
	}
	BreakerRejections = &Instrument{
		Name: "holdfast.breaker.rejections", Unit: "{call}", Kind: KindCounter,
		Description: "calls rejected without running", Attributes: []Attribute{NameAttribute},
	}
	BreakerObserved = &Instrument{
		Name: "holdfast.breaker.observed", Unit: "{call}", Kind: KindCounter,
		Description: "calls admitted in observe mode that would have been rejected", Attributes: []Attribute{NameAttribute},
	}
	BreakerHeld = &Instrument{
		Name: "holdfast.breaker.held", Unit: "{trip}", Kind: KindCounter,
		Description: "results that would have opened a breaker but for GroupConfig.MaxOpenShare", Attributes: []Attribute{NameAttribute},
	}
	BreakerProbes = &Instrument{
		Name: "holdfast.breaker.probes", Unit: "{call}", Kind: KindGauge,
		Description: "probes in flight while half-open", Attributes: []Attribute{NameAttribute},
	}
)

// The instruments of bulkheads.
var (
	BulkheadLimit = &Instrument{
		Name: "holdfast.breaker.bulkhead.limit", Unit: "{call}", Kind: KindGauge,
		Description: "calls that may run at once", Attributes: []Attribute{NameAttribute},
	}
	BulkheadInFlight = &Instrument{
		Name: "holdfast.breaker.bulkhead.in_flight", Unit: "{call}", Kind: KindGauge,
		Description: "calls that run", Attributes: []Attribute{NameAttribute},
	}
	BulkheadQueued = &Instrument{
		Name: "holdfast.breaker.bulkhead.queued", Unit: "{call}", Kind: KindGauge,
		Description: "calls that wait for a place", Attributes: []Attribute{NameAttribute},
	}
	BulkheadRefusals = &Instrument{
		Name: "holdfast.breaker.bulkhead.refusals", Unit: "{call}", Kind: KindCounter,
		Description: "calls refused without running", Attributes: []Attribute{NameAttribute, {Key: "reason", Values: []string{"full", "timeout", "context"}}},
	}
)

// Limit is the instruments of package breaker/limit.
var Limit = &Package{Name: "breaker/limit", Instruments: []*Instrument{LimitLimit, LimitInFlight, LimitProbability, LimitCalls, LimitRefusals}}

var limitKind = Attribute{Key: "kind", Values: []string{"adaptive", "throttle", "rate"}}

// The instruments of limits.
var (
	LimitLimit = &Instrument{
		Name: "holdfast.breaker.limit.limit", Unit: "{call}", Kind: KindGauge,
		Description: "calls that an adaptive limit lets run at once now", Attributes: []Attribute{NameAttribute},
	}
	LimitInFlight = &Instrument{
		Name: "holdfast.breaker.limit.in_flight", Unit: "{call}", Kind: KindGauge,
		Description: "calls that run under an adaptive limit", Attributes: []Attribute{NameAttribute},
	}
	LimitProbability = &Instrument{
		Name: "holdfast.breaker.limit.rejection_probability", Kind: KindLevel,
		Description: "probability with which a throttle refuses a call now", Attributes: []Attribute{NameAttribute},
	}
	LimitCalls = &Instrument{
		Name: "holdfast.breaker.limit.calls", Unit: "{call}", Kind: KindCounter,
		Description: "calls admitted; by an adaptive limit, those that have ended", Attributes: []Attribute{NameAttribute, limitKind},
	}
	LimitRefusals = &Instrument{
		Name: "holdfast.breaker.limit.refusals", Unit: "{call}", Kind: KindCounter,
		Description: "calls refused without running", Attributes: []Attribute{NameAttribute, limitKind},
	}
)
