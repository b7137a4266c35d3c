package sqstest

import (
	"net/url"
	"strings"
	"time"
)

// A call is one request on its way through the server.
type call struct {
	op     string
	in     *request
	region *region
	base   string // of queue URLs
	sender string
	twice  bool // a Duplicate fault hit it
	poison bool // a Poison fault hit it
}

// An action answers one call; the Region is locked. The queue is nil for actions that name none.
type action func(c *call, q *queue, now time.Time) (any, *apiError)

// actionFor finds the action. ReceiveMessage is not among them: it may wait.
func actionFor(op string) action {
	switch op {
	case "DeleteQueue":
		return deleteQueue
	case "GetQueueAttributes":
		return getQueueAttributes
	case "SetQueueAttributes":
		return setQueueAttributes
	case "PurgeQueue":
		return purgeQueue
	case "ListDeadLetterSourceQueues":
		return listDeadLetterSourceQueues
	case "TagQueue":
		return tagQueue
	case "UntagQueue":
		return untagQueue
	case "ListQueueTags":
		return listQueueTags
	case "SendMessage":
		return sendMessage
	case "SendMessageBatch":
		return sendMessageBatch
	case "DeleteMessage":
		return deleteMessage
	case "DeleteMessageBatch":
		return deleteMessageBatch
	case "ChangeMessageVisibility":
		return changeMessageVisibility
	case "ChangeMessageVisibilityBatch":
		return changeMessageVisibilityBatch
	}
	return nil
}

// Operations lists the actions that the server has, as [Fault] and [Server.Calls] name them.
func Operations() []string {
	return []string{
		"CreateQueue", "GetQueueUrl", "ListQueues", "DeleteQueue",
		"GetQueueAttributes", "SetQueueAttributes", "PurgeQueue", "ListDeadLetterSourceQueues",
		"TagQueue", "UntagQueue", "ListQueueTags",
		"SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch",
		"ChangeMessageVisibility", "ChangeMessageVisibilityBatch",
		"StartMessageMoveTask", "ListMessageMoveTasks", "CancelMessageMoveTask",
	}
}

// run does the action.
func (c *call) run() (any, *apiError) {
	switch c.op {
	case "ReceiveMessage":
		return c.receive()
	case "SendMessage", "SendMessageBatch":
		if err := c.checkSends(); err != nil {
			return nil, err
		}
	}
	g := c.region
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	defer g.settle(now)
	switch c.op {
	case "CreateQueue":
		return createQueue(c, now)
	case "GetQueueUrl":
		return getQueueURL(c)
	case "ListQueues":
		return listQueues(c)
	case "StartMessageMoveTask":
		return startMessageMoveTask(c, now)
	case "ListMessageMoveTasks":
		return listMessageMoveTasks(c, now)
	case "CancelMessageMoveTask":
		return cancelMessageMoveTask(c)
	}
	q, err := c.queue()
	if err != nil {
		return nil, err
	}
	q.advance(now)
	return actionFor(c.op)(c, q, now)
}

// queueName is the name that the request's queue URL or QueueName carries.
func (c *call) queueName() string {
	if c.in.QueueUrl == "" {
		return c.in.QueueName
	}
	return c.in.QueueUrl[strings.LastIndexByte(c.in.QueueUrl, '/')+1:]
}

// queue finds the queue of the request's URL.
func (c *call) queue() (*queue, *apiError) {
	if c.in.QueueUrl == "" {
		return nil, missing("QueueUrl")
	}
	u, err := url.Parse(c.in.QueueUrl)
	if err != nil {
		return nil, errAddress.with("The address %s is not valid for this endpoint.", c.in.QueueUrl)
	}
	if s := c.region.server; s.endpoint != "" && u.Host != "" && !strings.HasPrefix(c.in.QueueUrl, s.endpoint+"/") {
		return nil, errAddress.with("The address %s is not valid for this endpoint.", c.in.QueueUrl)
	}
	account, name, ok := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if !ok || account != c.region.server.account {
		return nil, noQueue()
	}
	q := c.region.queues[name]
	if q == nil {
		return nil, noQueue()
	}
	return q, nil
}

func noQueue() *apiError { return errNoQueue.with("The specified queue does not exist.") }

func (c *call) url(name string) string {
	return c.base + "/" + c.region.server.account + "/" + name
}
