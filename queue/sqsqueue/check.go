package sqsqueue

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// A Problem is a setting of a queue under which the promise of package queue does not hold, or holds less than it could.
type Problem struct {
	Queue     string // URL
	Attribute string // of SQS, or the field of Config
	Text      string
}

// String names the queue and the attribute.
func (p Problem) String() string { return p.Queue + ": " + p.Attribute + ": " + p.Text }

const fullRetention = 14 * 24 * time.Hour

// Check compares the settings of the queue and its dead-letter queue with what the promise needs. It changes nothing. No
// problems means that all is well; a queue that cannot be asked is a problem too.
func (q *Queue) Check(ctx context.Context) []Problem {
	main, err := q.attributes(ctx, q.url, types.QueueAttributeNameAll)
	if err != nil {
		return []Problem{{q.url, "GetQueueAttributes", err.Error()}}
	}
	c := checker{q: q, url: q.url, attributes: main}
	c.retention()
	c.main()
	if q.config.DeadLetterURL == "" {
		c.add("DeadLetterURL", "is not set: calls that are dead stay in the queue until it forgets them")
		return c.problems
	}
	dead, err := q.attributes(ctx, q.config.DeadLetterURL, types.QueueAttributeNameAll)
	c.url = q.config.DeadLetterURL
	if err != nil {
		c.add("GetQueueAttributes", "%v", err)
		return c.problems
	}
	c.attributes = dead
	c.retention()
	if c.attributes["RedrivePolicy"] != "" {
		c.add("RedrivePolicy", "a dead-letter queue with one of its own loses letters to it")
	}
	return c.problems
}

type checker struct {
	q          *Queue
	url        string
	attributes map[string]string
	problems   []Problem
}

func (c *checker) add(attribute, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.url, attribute, fmt.Sprintf(format, args...)})
}

func (c *checker) number(name types.QueueAttributeName) int {
	n, _ := strconv.Atoi(c.attributes[string(name)])
	return n
}

func (c *checker) retention() {
	got := time.Duration(c.number(types.QueueAttributeNameMessageRetentionPeriod)) * time.Second
	if got < fullRetention {
		c.add("MessageRetentionPeriod", "is %v, want 14 days: what is older is forgotten without a trace", got)
	}
}

// minReceives is the smallest maxReceiveCount that does not get in the way: thrice the worker's default MaxAttempts, and as
// much again for receives that were no attempts.
const minReceives = 72

func (c *checker) main() {
	if got := time.Duration(c.number(types.QueueAttributeNameMessageRetentionPeriod)) * time.Second; got > 0 && got < c.q.config.Retention {
		c.add("Config.Retention", "is %v, the queue keeps messages %v: they would be sent again too late", c.q.config.Retention, got)
	}
	if once := c.q.config.OnceRetention; once > 0 && once < 2*fullRetention {
		c.add("Config.OnceRetention", "is %v, less than queue and dead-letter queue keep messages together (28 days): older ones need AcceptRerun", once)
	}
	if d := c.number(types.QueueAttributeNameDelaySeconds); d > 0 {
		c.add("DelaySeconds", "is %d: every hop and every redrive waits too", d)
	}
	if size := c.number(types.QueueAttributeNameMaximumMessageSize); size > 0 && size < batchBytes {
		c.add("MaximumMessageSize", "is %d, calls up to %d are accepted by the client and refused by the queue", size, batchBytes)
	}
	if c.attributes["KmsMasterKeyId"] == "" && c.attributes["SqsManagedSseEnabled"] == "false" {
		c.add("SqsManagedSseEnabled", "is off and there is no KMS key: messages are stored in the clear")
	}
	if c.q.limits.FIFO && c.attributes["ContentBasedDeduplication"] == "true" {
		c.add("ContentBasedDeduplication", "is on and not needed: the call ID is the deduplication ID")
	}
	c.redrive()
}

// redrive: the worker sends dead letters itself, with their reasons. SQS's own policy is a net far below.
func (c *checker) redrive() {
	policy := c.attributes["RedrivePolicy"]
	if policy == "" {
		c.add("RedrivePolicy", "is not set: a message that ends every worker before it can be counted comes back until the queue forgets it")
		return
	}
	var p struct {
		Max json.Number `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		c.add("RedrivePolicy", "cannot be read: %v", err)
		return
	}
	if n, _ := p.Max.Int64(); n < minReceives {
		c.add("RedrivePolicy", "maxReceiveCount is %d, want %d or more: drains, pauses and lost leases count as receives, and SQS gives no reason", n, minReceives)
	}
}
