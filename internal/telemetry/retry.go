package telemetry

// Retry are the instruments of package retry. A first attempt that succeeds writes nothing: the client's
// own request metric has those. Calls that failed are the give-ups.
var Retry = &Package{Name: "retry", Instruments: []*Instrument{
	RetryRetries, RetryGiveUps,
	RetryBudgetTokens, RetryBudgetSpent, RetryBudgetRefused,
	RetryHedgeCalls, RetryHedgeHedges, RetryHedgeWins,
}}

// The instruments of package retry.
var (
	RetryRetries = &Instrument{
		Name: "holdfast.retry.retries", Unit: "{attempt}", Kind: KindCounter, Attributes: []Attribute{NameAttribute},
		Description: "Attempts after the first.",
	}
	RetryGiveUps = &Instrument{
		Name: "holdfast.retry.give_ups", Unit: "{call}", Kind: KindCounter,
		Attributes: []Attribute{NameAttribute, {Key: "reason", Values: []string{
			"attempts", "not_retryable", "budget", "deadline",
			"elapsed", "context", "schedule", "nested", "invalid",
		}}},
		Description: "Calls that failed, by what ended them.",
	}

	RetryBudgetTokens = &Instrument{
		Name: "holdfast.retry.budget.tokens", Unit: "{token}", Kind: KindLevel,
		Attributes:  []Attribute{{Key: NameAttribute.Key, From: "BudgetConfig.Name; of a private budget its policy's Name"}},
		Description: "Repetitions that could be paid for now.",
	}
	RetryBudgetSpent = &Instrument{
		Name: "holdfast.retry.budget.spent", Unit: "{attempt}", Kind: KindCounter, Attributes: RetryBudgetTokens.Attributes,
		Description: "Repetitions that the budget granted.",
	}
	RetryBudgetRefused = &Instrument{
		Name: "holdfast.retry.budget.refused", Unit: "{attempt}", Kind: KindCounter, Attributes: RetryBudgetTokens.Attributes,
		Description: "Repetitions that the budget refused.",
	}

	RetryHedgeCalls = &Instrument{
		Name: "holdfast.retry.hedge.calls", Unit: "{call}", Kind: KindCounter,
		Attributes:  []Attribute{{Key: NameAttribute.Key, From: "Hedging.Name"}},
		Description: "Hedged calls that made a first attempt.",
	}
	RetryHedgeHedges = &Instrument{
		Name: "holdfast.retry.hedge.hedges", Unit: "{attempt}", Kind: KindCounter, Attributes: RetryHedgeCalls.Attributes,
		Description: "Attempts begun beside a slow one.",
	}
	RetryHedgeWins = &Instrument{
		Name: "holdfast.retry.hedge.wins", Unit: "{call}", Kind: KindCounter, Attributes: RetryHedgeCalls.Attributes,
		Description: "Calls answered by a hedge and not by the first attempt.",
	}
)
