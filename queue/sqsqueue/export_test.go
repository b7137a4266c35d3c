package sqsqueue

// PolicyDoc and OperationsUsed are for the tests alone.
var (
	PolicyDoc      = policyDoc
	OperationsUsed = operationsUsed
)
