package telemetry

// Queue are the instruments of package queue. Depths are approximate on SQS.
var Queue = &Package{Name: "queue", Instruments: []*Instrument{
	QueueSent, QueueConsumed, QueueOperationDuration, QueueProcessDuration,
	QueueDeferred, QueueOutcomes, QueueDead, QueueDwell, QueueAttempts, QueueBatchFill,
	QueueLeaseLost, QueueDuplicates, QueueReleased, QueueResent, QueueSettleFailed,
	QueueDepth, QueueUnverified, QueuePaused, QueueRunning,
	QueueSpoolMessages, QueueSpoolSize, QueueSpoolOldest, QueueSpoolSyncs, QueueSpoolSyncDuration, QueueSpoolDamaged,
}}

// attributes of the queue's instruments
var (
	queueRegion    = Attribute{Key: "region", From: "the Regions of the transport"}
	queueCall      = Attribute{Key: "call", From: "the names given to Define and Handle"}
	queueOperation = Attribute{Key: "messaging.operation.name", Values: []string{"send", "receive", "extend", "release", "delete", "dead"}}
	queueResult    = Attribute{Key: "outcome", Values: []string{"ok", "error"}}
)

// BatchBuckets are the boundaries of batch sizes: SQS takes ten.
var BatchBuckets = []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}

// DwellBuckets are the boundaries, in seconds, of times that messages wait.
var DwellBuckets = []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400, 604800}

var (
	QueueSent = &Instrument{
		Name: "messaging.client.sent.messages", Unit: "{message}", Kind: KindCounter,
		Description: "Messages acknowledged by a queue.", Attributes: []Attribute{NameAttribute},
	}
	QueueConsumed = &Instrument{
		Name: "messaging.client.consumed.messages", Unit: "{message}", Kind: KindCounter,
		Description: "Messages received by a worker.", Attributes: []Attribute{NameAttribute, queueRegion},
	}
	QueueOperationDuration = &Instrument{
		Name: "messaging.client.operation.duration", Unit: "s", Kind: KindHistogram, Buckets: DurationBuckets,
		Description: "Requests to the queue; receive is not recorded, its duration is the long poll's.", Attributes: []Attribute{queueOperation, queueRegion, queueResult},
	}
	QueueProcessDuration = &Instrument{
		Name: "messaging.process.duration", Unit: "s", Kind: KindHistogram, Buckets: DurationBuckets,
		Description: "Runs of handlers.", Attributes: []Attribute{queueCall, {Key: "outcome", Values: []string{"done", "failed", "put_off", "stopped"}}},
	}
	QueueDeferred = &Instrument{
		Name: "holdfast.queue.deferred", Unit: "{call}", Kind: KindCounter,
		Description: "Calls by where they went; refused ones are nowhere.", Attributes: []Attribute{NameAttribute, {Key: "via", Values: []string{"ran", "queue", "spool", "memory", "refused"}}},
	}
	QueueOutcomes = &Instrument{
		Name: "holdfast.queue.finished", Unit: "{call}", Kind: KindCounter,
		Description: "Deliveries by how they ended.", Attributes: []Attribute{NameAttribute, {Key: "outcome", Values: []string{"done", "failed", "dead", "dropped", "expired", "put_off"}}},
	}
	QueueDead = &Instrument{
		Name: "holdfast.queue.dead", Unit: "{call}", Kind: KindCounter,
		Description: "Calls moved to the dead-letter queue.", Attributes: []Attribute{NameAttribute, {Key: "reason", From: "queue.Reasons"}},
	}
	QueueDwell = &Instrument{
		Name: "holdfast.queue.dwell", Unit: "s", Kind: KindHistogram, Buckets: DwellBuckets,
		Description: "Time from the call's time, or the end of its delay, to the start of a run.", Attributes: []Attribute{queueCall},
	}
	QueueAttempts = &Instrument{
		Name: "holdfast.queue.attempts", Unit: "{attempt}", Kind: KindHistogram, Buckets: []float64{1, 2, 3, 4, 6, 8, 12, 16},
		Description: "Attempts of calls that are done or dead.", Attributes: []Attribute{queueCall},
	}
	QueueBatchFill = &Instrument{
		Name: "holdfast.queue.batch.fill", Unit: "{message}", Kind: KindHistogram, Buckets: BatchBuckets,
		Description: "Messages per request.", Attributes: []Attribute{{Key: "messaging.operation.name", Values: []string{"send", "receive", "delete"}}},
	}
	QueueLeaseLost = &Instrument{
		Name: "holdfast.queue.lease.lost", Unit: "{message}", Kind: KindCounter,
		Description: "Messages whose lease ended while their handler ran.", Attributes: []Attribute{NameAttribute},
	}
	QueueDuplicates = &Instrument{
		Name: "holdfast.queue.duplicates", Unit: "{message}", Kind: KindCounter,
		Description: "Copies of completed calls, deleted without running.", Attributes: []Attribute{NameAttribute},
	}
	QueueReleased = &Instrument{
		Name: "holdfast.queue.released", Unit: "{message}", Kind: KindCounter,
		Description: "Messages given back.", Attributes: []Attribute{NameAttribute, {Key: "why", Values: []string{"failed", "put_off", "drain"}}},
	}
	QueueResent = &Instrument{
		Name: "holdfast.queue.resent", Unit: "{message}", Kind: KindCounter,
		Description: "Copies sent by workers in place of a message: long delays, put-off calls, forwards, age.", Attributes: []Attribute{NameAttribute},
	}
	QueueSettleFailed = &Instrument{
		Name: "holdfast.queue.settle.failed", Unit: "{message}", Kind: KindCounter,
		Description: "Deletes that were not confirmed: the message will come again.", Attributes: []Attribute{NameAttribute},
	}
	QueueDepth = &Instrument{
		Name: "holdfast.queue.depth", Unit: "{message}", Kind: KindGauge,
		Description: "Messages in the queue, read every minute by workers.", Attributes: []Attribute{NameAttribute, queueRegion, {Key: "state", Values: []string{"visible", "in_flight", "delayed"}}},
	}
	QueueUnverified = &Instrument{
		Name: "holdfast.queue.unverified", Unit: "{region}", Kind: KindGauge,
		Description: "Regions whose depth could not be read: not zero, unknown.", Attributes: []Attribute{NameAttribute},
	}
	QueuePaused = &Instrument{
		Name: "holdfast.queue.paused", Kind: KindGauge,
		Description: "1 while a worker polls nothing because a Ready says no.", Attributes: []Attribute{NameAttribute},
	}
	QueueRunning = &Instrument{
		Name: "holdfast.queue.running", Unit: "{call}", Kind: KindGauge,
		Description: "Handlers running.", Attributes: []Attribute{NameAttribute},
	}
	QueueSpoolMessages = &Instrument{
		Name: "holdfast.queue.spool.messages", Unit: "{message}", Kind: KindGauge,
		Description: "Messages in the spool.", Attributes: []Attribute{NameAttribute},
	}
	QueueSpoolSize = &Instrument{
		Name: "holdfast.queue.spool.size", Unit: "By", Kind: KindGauge,
		Description: "Bytes of the spool's files.", Attributes: []Attribute{NameAttribute},
	}
	QueueSpoolOldest = &Instrument{
		Name: "holdfast.queue.spool.oldest", Unit: "s", Kind: KindLevel,
		Description: "Age of the oldest message in the spool.", Attributes: []Attribute{NameAttribute},
	}
	QueueSpoolSyncs = &Instrument{
		Name: "holdfast.queue.spool.syncs", Unit: "{sync}", Kind: KindCounter,
		Description: "fdatasync calls.", Attributes: []Attribute{NameAttribute},
	}
	QueueSpoolSyncDuration = &Instrument{
		Name: "holdfast.queue.spool.sync.duration", Unit: "s", Kind: KindHistogram, Buckets: DurationBuckets,
		Description: "fdatasync calls.", Attributes: []Attribute{NameAttribute},
	}
	QueueSpoolDamaged = &Instrument{
		Name: "holdfast.queue.spool.damaged", Unit: "{record}", Kind: KindCounter,
		Description: "Records found damaged or refused by every Region, and put in quarantine.", Attributes: []Attribute{NameAttribute},
	}
)
