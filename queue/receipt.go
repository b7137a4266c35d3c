package queue

// Via says where a call went.
type Via uint8

const (
	ViaRan    Via = iota // it ran at once
	ViaQueue             // acknowledged by the queue service of the receipt's Region
	ViaSpool             // in the local spool, to be sent when a Region is back
	ViaMemory            // in this process's memory
)

// String returns "ran", "queue", "spool" or "memory".
func (v Via) String() string { return [...]string{"ran", "queue", "spool", "memory"}[v&3] }

// A Receipt says exactly how safe a call is.
type Receipt struct {
	CallID    string
	Via       Via
	Region    string // of the queue that acknowledged it; "" for others
	MessageID string // in that queue

	// Durable: acknowledged by SQS in Region, or fsynced on a volume declared durable. Unless that Region or volume is
	// lost for good, the call runs at least once or is found dead with its reason.
	Durable bool

	// Ambiguous, of Try only: the call may have run already. With a nil error it was deferred too and the worker will
	// find out; with an error nothing was deferred.
	Ambiguous bool
}
