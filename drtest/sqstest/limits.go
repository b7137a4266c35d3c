package sqstest

import "time"

// The service's limits, from the SQS API reference and the quotas page of its developer guide.
const (
	batchEntries     = 10       // entries of a batch
	batchEntryID     = 80       // characters of an entry's id
	payload          = 1 << 20  // bytes of a message, and of all messages of a batch
	messageFields    = 10       // message attributes
	fieldName        = 256      // characters of a message attribute's name and type
	tokenLength      = 128      // characters of a group id, a deduplication id, an attempt id
	queueNameLength  = 80       // characters of a queue's name
	receiveMessages  = 10       // messages of one receive
	longestPoll      = 20       // seconds
	longestDelay     = 900      // seconds
	longestLease     = 43_200   // seconds a message may stay in flight in all after one receive
	inFlightMessages = 120_000  // messages of one queue in flight
	listResults      = 1_000    // queues of one page
	queueTags        = 50       // tags of a queue
	tagKey           = 128      // characters
	tagValue         = 256      // characters
	receivesToDLQ    = 1_000    // largest maxReceiveCount
	allowedSources   = 10       // queues of a RedriveAllowPolicy
	requestBytes     = 16 << 20 // body of a request: a full batch with every byte escaped, and some
)

const (
	dedupWindow   = 5 * time.Minute  // a FIFO queue remembers a deduplication id this long, and an attempt id
	purgeInterval = 60 * time.Second // between two purges of a queue
	deleteGrace   = 60 * time.Second // before a deleted queue's name is free again
)

// A tenant of a fair queue is noisy while it has at least this many messages in flight and more
// than the given share of all that are (developer guide, "How fair queues work").
const (
	noisyInFlight = 30
	noisyShare    = 10 // per cent
)
