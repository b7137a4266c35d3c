package sqstest

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// none is the result of an action that has nothing to say.
type none struct{}

func createQueue(c *call, now time.Time) (any, *apiError) {
	name, attributes := c.in.QueueName, c.in.Attributes
	if name == "" {
		return nil, missing("QueueName")
	}
	if _, err := c.region.create(name, attributes, c.in.Tags, now); err != nil {
		return nil, err
	}
	return queueURLOutput{c.url(name)}, nil
}

// create makes a queue, or returns the one that exists when the attributes agree with its own.
func (g *region) create(name string, attributes, tags map[string]string, now time.Time) (*queue, *apiError) {
	fifo := attributes["FifoQueue"] == "true"
	if err := queueNameOK(name, fifo); err != nil {
		return nil, err
	}
	set, err := merge(defaults(fifo), attributes, fifo)
	if err != nil {
		return nil, err
	}
	if err := tagsOK(nil, tags); err != nil {
		return nil, err
	}
	if old := g.queues[name]; old != nil {
		return old, old.differs(attributes, set)
	}
	if at, ok := g.deleted[name]; ok && now.Before(at.Add(deleteGrace)) {
		return nil, errDeletedRecently.with("You must wait 60 seconds after deleting a queue before you can create another with the same name.")
	}
	q := newQueue(g, name, fifo)
	if err := q.set(set); err != nil {
		return nil, err
	}
	q.created, q.modified = g.stamp(), g.stamp()
	maps.Copy(q.tags, tags)
	delete(g.deleted, name)
	g.queues[name] = q
	return q, nil
}

// differs compares the attributes that a request names with those of the queue.
func (q *queue) differs(named, normal map[string]string) *apiError {
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if q.attributes[name] != normal[name] {
			return errQueueExists.with("A queue already exists with the same name and a different value for attribute %s", name)
		}
	}
	return nil
}

// set gives the queue its attributes; they hold at once, also for the messages it has.
func (q *queue) set(attributes map[string]string) *apiError {
	read, err := read(attributes)
	if err != nil {
		return err
	}
	if read.redrive != nil && (q.redrive == nil || *q.redrive != *read.redrive) {
		if err := q.mayBury(read.redrive.Target); err != nil {
			return err
		}
	}
	q.attributes, q.settings = attributes, read
	return nil
}

// mayBury checks that the queue may send its dead letters to target.
func (q *queue) mayBury(target string) *apiError {
	dlq := q.region.byARN(target)
	switch {
	case dlq == nil:
		return badParameter("RedrivePolicy", target, "Dead letter target does not exist.")
	case dlq == q || q.arn == target:
		return badParameter("RedrivePolicy", target, "A queue cannot be its own dead-letter queue.")
	case dlq.fifo != q.fifo:
		return badParameter("RedrivePolicy", target, "Dead-letter queue must be same type of queue as the source.")
	case !dlq.allow.permits(q.arn):
		return badParameter("RedrivePolicy", target, "Queue does not have permission to use this dead-letter queue.")
	}
	return nil
}

func getQueueURL(c *call) (any, *apiError) {
	if c.in.QueueName == "" {
		return nil, missing("QueueName")
	}
	if c.region.queues[c.in.QueueName] == nil {
		return nil, noQueue()
	}
	return queueURLOutput{c.url(c.in.QueueName)}, nil
}

func deleteQueue(c *call, q *queue, now time.Time) (any, *apiError) {
	delete(c.region.queues, q.name)
	c.region.deleted[q.name] = now
	q.dismiss(noQueue())
	return none{}, nil
}

func listQueues(c *call) (any, *apiError) {
	names, token, err := c.page(slices.DeleteFunc(slices.Sorted(maps.Keys(c.region.queues)), func(name string) bool {
		return !strings.HasPrefix(name, c.in.QueueNamePrefix)
	}))
	return listQueuesOutput{names, token}, err
}

func listDeadLetterSourceQueues(c *call, q *queue, _ time.Time) (any, *apiError) {
	urls, token, err := c.page(slices.DeleteFunc(slices.Sorted(maps.Keys(c.region.queues)), func(name string) bool {
		source := c.region.queues[name]
		return source.redrive == nil || source.redrive.Target != q.arn
	}))
	return listSourcesOutput{urls, token}, err
}

// page cuts the sorted names to the page that the request asks for and turns them into URLs. The
// token is the last name of the page before; it is given only to those who set MaxResults.
func (c *call) page(names []string) (urls []string, token string, err *apiError) {
	most := listResults
	if n := c.in.MaxResults; n != nil {
		if *n < 1 || *n > listResults {
			return nil, "", badParameter("MaxResults", *n, "Must be between 1 and 1000, if provided.")
		}
		most = *n
	}
	if c.in.NextToken != "" {
		last, bad := base64.StdEncoding.DecodeString(c.in.NextToken)
		if bad != nil || c.in.MaxResults == nil {
			return nil, "", badParameter("NextToken", c.in.NextToken, "Invalid or expired token, or MaxResults is not set.")
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name <= string(last) })
	}
	if len(names) > most {
		names = names[:most]
		if c.in.MaxResults != nil {
			token = base64.StdEncoding.EncodeToString([]byte(names[most-1]))
		}
	}
	urls = make([]string, 0, len(names))
	for _, name := range names {
		urls = append(urls, c.url(name))
	}
	return urls, token, nil
}

func setQueueAttributes(c *call, q *queue, now time.Time) (any, *apiError) {
	if len(c.in.Attributes) == 0 {
		return nil, missing("Attributes")
	}
	if _, ok := c.in.Attributes["FifoQueue"]; ok {
		return nil, badAttribute("FifoQueue")
	}
	set, err := merge(q.attributes, c.in.Attributes, q.fifo)
	if err != nil {
		return nil, err
	}
	if err := q.set(set); err != nil {
		return nil, err
	}
	q.modified = c.region.stamp()
	q.advance(now)
	return none{}, nil
}

func getQueueAttributes(c *call, q *queue, _ time.Time) (any, *apiError) {
	all := q.report()
	wanted := map[string]string{}
	for _, name := range c.in.AttributeNames {
		switch value, ok := all[name]; {
		case name == "All":
			return attributesOutput{all}, nil
		case ok:
			wanted[name] = value
		case !attributeKnown(name):
			return nil, errAttributeName.with("Unknown Attribute %s.", name)
		}
	}
	return attributesOutput{wanted}, nil
}

// report is every attribute that the queue has now.
func (q *queue) report() map[string]string {
	all := maps.Clone(q.attributes)
	maps.Copy(all, map[string]string{
		"QueueArn":                              q.arn,
		"CreatedTimestamp":                      strconv.FormatInt(q.created.Unix(), 10),
		"LastModifiedTimestamp":                 strconv.FormatInt(q.modified.Unix(), 10),
		"ApproximateNumberOfMessages":           strconv.Itoa(q.visible()),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(q.inFlight),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(q.delayed),
	})
	return all
}

// attributeKnown reports whether a queue could have the attribute; one that it does not have is
// simply left out of the answer.
func attributeKnown(name string) bool {
	switch name {
	case "Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled",
		"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit":
		return true
	}
	return false
}

func purgeQueue(_ *call, q *queue, now time.Time) (any, *apiError) {
	if !q.purged.IsZero() && now.Before(q.purged.Add(purgeInterval)) {
		return nil, errPurgeInProgress.with("Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.name)
	}
	q.purged = now
	q.totals.Purged += len(q.messages)
	for _, m := range q.messages {
		q.remove(m)
	}
	return none{}, nil
}

func tagQueue(c *call, q *queue, _ time.Time) (any, *apiError) {
	if len(c.in.Tags) == 0 {
		return nil, missing("Tags")
	}
	if err := tagsOK(q.tags, c.in.Tags); err != nil {
		return nil, err
	}
	maps.Copy(q.tags, c.in.Tags)
	return none{}, nil
}

// tagsOK checks new tags against the limits; old are those that the queue has.
func tagsOK(old, tags map[string]string) *apiError {
	count := len(old)
	for key, value := range tags {
		if _, ok := old[key]; !ok {
			count++
		}
		if key == "" || len(key) > tagKey || len(value) > tagValue || strings.HasPrefix(key, "aws:") {
			return badParameter("Tags", key, "A key has 1 to 128 characters and does not start with aws:, a value at most 256.")
		}
	}
	if count > queueTags {
		return badParameter("Tags", count, "Too many tags: a queue may have 50.")
	}
	return nil
}

func untagQueue(c *call, q *queue, _ time.Time) (any, *apiError) {
	if len(c.in.TagKeys) == 0 {
		return nil, missing("TagKeys")
	}
	for _, key := range c.in.TagKeys {
		delete(q.tags, key)
	}
	return none{}, nil
}

func listQueueTags(_ *call, q *queue, _ time.Time) (any, *apiError) {
	return tagsOutput{maps.Clone(q.tags)}, nil
}
