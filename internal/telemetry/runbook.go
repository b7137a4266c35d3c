package telemetry

// Instruments of failover/runbook.
var (
	RunbookRuns = &Instrument{
		Name: "holdfast.failover.runbook.run.duration", Unit: "s", Kind: KindHistogram,
		Attributes: []Attribute{{Key: "runbook", From: "New"}, {Key: "outcome", Values: runbookOutcomes}},
		Buckets:    runbookBuckets, Description: "what runs took in this process, by how they ended",
	}
	RunbookSteps = &Instrument{
		Name: "holdfast.failover.runbook.step.duration", Unit: "s", Kind: KindHistogram,
		Attributes: []Attribute{{Key: "runbook", From: "New"}, {Key: "step", From: "Step.Name"}, {Key: "outcome", Values: runbookOutcomes}},
		Buckets:    runbookBuckets, Description: "what steps took in this process, waiting for approval included",
	}

	runbookOutcomes = []string{"done", "refused", "blocked", "undecided", "fenced", "hung", "cancelled", "failed"}
	runbookBuckets  = []float64{0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 900, 1800, 3600}
)

// Runbook is package failover/runbook.
var Runbook = &Package{Name: "failover/runbook", Instruments: []*Instrument{RunbookRuns, RunbookSteps}}
