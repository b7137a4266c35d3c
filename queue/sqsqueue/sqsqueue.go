package sqsqueue

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/queue"
)

// API is what of *sqs.Client is used.
type API interface {
	SendMessageBatch(context.Context, *sqs.SendMessageBatchInput, ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
	StartMessageMoveTask(context.Context, *sqs.StartMessageMoveTaskInput, ...func(*sqs.Options)) (*sqs.StartMessageMoveTaskOutput, error)
}

// Config configures a [Queue].
type Config struct {
	// Name is what errors call the queue. Empty means the name in its URL, the last part of the path.
	Name string

	// DeadLetterURL is the queue of dead letters. Empty means none: calls that are dead then stay and are tried again.
	DeadLetterURL string

	// Region is what receipts and metrics say. Empty means the Region in the URL's host, if there is one.
	Region string

	// Timeout bounds every request, polls on top of their wait. Zero means 5 s.
	Timeout time.Duration

	// Retention is the queue's MessageRetentionPeriod: messages that would outlive four fifths of it are sent
	// again. Zero means 4 days, the default of SQS. [Queue.Check] compares it.
	Retention time.Duration

	// OnceRetention is how long the workers' Once remembers; only [Queue.Check] reads it.
	OnceRetention time.Duration

	// Claims keeps large payloads elsewhere. Its zero value keeps none.
	Claims Claims
}

// A Queue is one SQS queue with its dead-letter queue. It is safe for concurrent use and starts no goroutine.
type Queue struct {
	api    API
	url    string
	config Config
	limits queue.Limits
	wires  wires
}

const (
	batchEntries = 10
	batchBytes   = 1 << 20
	maxDelay     = 15 * time.Minute
	maxLease     = 12 * time.Hour
)

// New returns the transport of the queue at url. It does no I/O. A name that ends in .fifo is a FIFO queue.
func New(api API, url string, config Config) (*Queue, error) {
	config.Timeout = cmp.Or(config.Timeout, 5*time.Second)
	config.Retention = cmp.Or(config.Retention, 4*24*time.Hour)
	config.Region = cmp.Or(config.Region, regionOf(url))
	config.Name = cmp.Or(config.Name, url[strings.LastIndexByte(url, '/')+1:])
	config.Claims.Over = cmp.Or(config.Claims.Over, defaultOver)
	fifo := strings.HasSuffix(url, ".fifo")
	switch {
	case api == nil || url == "":
		return nil, errors.New("sqsqueue: New: needs a client and a queue URL")
	case config.Timeout < 10*time.Millisecond:
		return nil, fmt.Errorf("sqsqueue: Config.Timeout: %v is below the minimum 10ms", config.Timeout)
	case config.Retention < time.Minute || config.Retention > 14*24*time.Hour:
		return nil, fmt.Errorf("sqsqueue: Config.Retention: %v is not within 1m to 14d", config.Retention)
	case config.DeadLetterURL != "" && strings.HasSuffix(config.DeadLetterURL, ".fifo") != fifo:
		return nil, errors.New("sqsqueue: Config.DeadLetterURL: a FIFO queue needs a FIFO dead-letter queue, and no other does")
	case config.Claims.Store != nil && (config.Claims.Over < 1<<10 || config.Claims.Over > batchBytes/2):
		return nil, fmt.Errorf("sqsqueue: Config.Claims.Over: %d is not within 1 KiB to 512 KiB", config.Claims.Over)
	}
	q := &Queue{api: api, url: url, config: config, limits: queue.Limits{
		Region: config.Region, FIFO: fifo, Batch: batchEntries, BatchBytes: batchBytes,
		MessageBytes: batchBytes, MaxDelay: maxDelay, MaxLease: maxLease, Retention: config.Retention,
	}}
	if fifo {
		q.limits.MaxDelay = 0
	}
	if config.Claims.Store != nil {
		q.limits.MessageBytes = cmp.Or(config.Claims.Max, defaultMax)
	}
	return q, nil
}

// regionOf reads https://sqs.eu-west-1.amazonaws.com/….
func regionOf(url string) string {
	_, host, _ := strings.Cut(url, "://")
	parts := strings.Split(host, ".")
	if len(parts) > 2 && parts[0] == "sqs" && strings.HasPrefix(parts[2], "amazonaws") {
		return parts[1]
	}
	return ""
}

// Limits implements [queue.Transport].
func (q *Queue) Limits() queue.Limits { return q.limits }

// options are given to every request.
var options = []func(*sqs.Options){noRetries}

func noRetries(o *sqs.Options) { o.Retryer = aws.NopRetryer{} }

// ids are the entry IDs of a batch.
var ids = [batchEntries]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}

// index is the inverse of ids, -1 for an ID that is none.
func index(id *string, n int) int {
	if id == nil || len(*id) != 1 || int((*id)[0]-'0') >= n {
		return -1
	}
	return int((*id)[0] - '0')
}

// Send implements [queue.Transport].
func (q *Queue) Send(ctx context.Context, messages []queue.Outgoing) []queue.SendResult {
	results := make([]queue.SendResult, len(messages))
	q.send(ctx, q.url, messages, results)
	return results
}

// send cuts messages into requests. Messages that no queue takes are left out of them.
func (q *Queue) send(ctx context.Context, url string, messages []queue.Outgoing, results []queue.SendResult) {
	r := sendRequest{q: q, url: url, messages: messages, results: results}
	for i := range messages {
		results[i].Region, results[i].Via = q.config.Region, queue.ViaQueue
		body, err := q.body(ctx, &messages[i])
		if err != nil {
			results[i].Err = err
			continue
		}
		r.add(ctx, i, body)
	}
	r.flush(ctx)
}

// body checks the message and claims a large payload.
func (q *Queue) body(ctx context.Context, o *queue.Outgoing) (string, error) {
	if problem := queue.RefuseMessage(q.limits, o); problem != "" {
		return "", &queue.SendError{Name: q.config.Name, Region: q.config.Region, Invalid: true, Err: errors.New(problem)}
	}
	return q.claim(ctx, o)
}

// A sendRequest gathers one batch after the other.
type sendRequest struct {
	q        *Queue
	url      string
	messages []queue.Outgoing
	results  []queue.SendResult

	entries []types.SendMessageBatchRequestEntry
	strings []entryStrings // what the entries point to: one allocation a batch
	at      []int
	bytes   int
	digests bool // SQS's digests are compared: not if the SDK's client was told not to
}

// options are those of every request; the digests are compared here, entry by entry and without copies: the SDK fails the
// whole batch for one of them. Requests are written and answers read here too, where that is plain.
func (r *sendRequest) options(o *sqs.Options) {
	noRetries(o)
	r.q.wires.use(o)
	r.digests = !o.DisableMessageChecksumValidation
	o.DisableMessageChecksumValidation = true
}

type entryStrings struct{ body, group, dedup string }

func (r *sendRequest) add(ctx context.Context, i int, body string) {
	o := &r.messages[i]
	size := len(body)
	for k, v := range o.Attributes {
		size += len(k) + len(v) + len("String")
	}
	if len(r.entries) == batchEntries || r.bytes+size > batchBytes {
		r.flush(ctx)
	}
	if r.entries == nil {
		n := min(batchEntries, len(r.messages)-i)
		r.entries, r.strings, r.at = make([]types.SendMessageBatchRequestEntry, 0, n), make([]entryStrings, batchEntries), make([]int, 0, n)
	}
	n := len(r.entries)
	s := &r.strings[n]
	s.body, s.group = body, cmp.Or(o.Group, o.Tenant)
	e := types.SendMessageBatchRequestEntry{Id: &ids[n], MessageBody: &s.body, MessageAttributes: attributes(o.Attributes)}
	if s.group != "" {
		e.MessageGroupId = &s.group
	}
	if r.q.limits.FIFO {
		s.dedup = cmp.Or(o.DedupID, o.CallID)
		e.MessageDeduplicationId = &s.dedup
	} else {
		e.DelaySeconds = seconds(o.Delay(maxDelay))
	}
	r.entries, r.at, r.bytes = append(r.entries, e), append(r.at, i), r.bytes+size
}

// seconds rounds up: a call must not run early, and a poll that waits for less than a second must not be one that does not wait, of which a worker
// would make as many as it can.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }

func attributes(m map[string]string) map[string]types.MessageAttributeValue {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]types.MessageAttributeValue, len(m))
	for k, v := range m {
		out[k] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
	}
	return out
}

// flush sends what is gathered.
func (r *sendRequest) flush(ctx context.Context) {
	if len(r.entries) == 0 {
		return
	}
	entries, at := r.entries, r.at
	r.entries, r.at, r.bytes, r.digests = nil, nil, 0, true
	ctx, cancel := within(ctx, r.q.config.Timeout)
	defer cancel()
	out, err := r.q.api.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &r.url, Entries: entries}, r.options)
	if err != nil {
		failed := r.q.sendError(err, len(entries) == 1)
		for _, i := range at {
			r.results[i].Err = failed
		}
		return
	}
	for _, i := range at { // until the answer names it
		r.results[i].Err = errUnnamed
	}
	for i := range out.Successful {
		ok := &out.Successful[i]
		n := index(ok.Id, len(at))
		if n < 0 {
			continue
		}
		res := &r.results[at[n]]
		if r.digests && ok.MD5OfMessageBody != nil && !sameDigest(*entries[n].MessageBody, *ok.MD5OfMessageBody) {
			res.Err = &queue.SendError{Name: r.q.config.Name, Region: r.q.config.Region, Outcome: queue.SendUnknown, Err: errDigest}
			continue
		}
		res.Err, res.Durable, res.MessageID = nil, true, aws.ToString(ok.MessageId)
	}
	for _, bad := range out.Failed {
		if n := index(bad.Id, len(at)); n >= 0 {
			r.results[at[n]].Err = r.q.entryError(bad)
		}
	}
	for _, i := range at {
		if r.results[i].Err == errUnnamed {
			r.results[i].Err = &queue.SendError{Name: r.q.config.Name, Region: r.q.config.Region, Outcome: queue.SendUnknown, Err: errUnnamed}
		}
	}
}

var (
	errUnnamed = errors.New("SQS did not say")
	errDigest  = errors.New("SQS acknowledged another body: its MD5 differs")
)

// sameDigest reports whether digest is the MD5 of body, in hexadecimal.
func sameDigest(body, digest string) bool {
	sum := md5.Sum(unsafe.Slice(unsafe.StringData(body), len(body))) // only read
	var text [2 * md5.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:]) == digest
}

// within is context.WithTimeout where ctx does not end sooner anyway, as the client's does.
func within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if at, ok := ctx.Deadline(); ok && time.Until(at) <= timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// Receive implements [queue.Transport].
func (q *Queue) Receive(ctx context.Context, r queue.ReceiveRequest) ([]*queue.Message, error) {
	if r.Max < 1 || r.Lease <= 0 || r.Lease > maxLease || r.Wait < 0 || r.Wait > 20*time.Second {
		return nil, fmt.Errorf("sqsqueue: receive of %d, waiting %v, for %v: want at least 1, up to 20 s and up to 12 h", r.Max, r.Wait, r.Lease)
	}
	began := time.Now()
	wait := seconds(r.Wait)
	request, cancel := context.WithTimeout(ctx, time.Duration(wait)*time.Second+q.config.Timeout)
	defer cancel()
	out, err := q.api.ReceiveMessage(request, &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: int32(min(r.Max, batchEntries)), WaitTimeSeconds: wait, VisibilityTimeout: seconds(r.Lease),
		MessageSystemAttributeNames: systemAttributes, MessageAttributeNames: messageAttributes,
	}, options...)
	if err != nil {
		return nil, fmt.Errorf("sqsqueue %q: Region %q: receive: %w", q.config.Name, q.config.Region, err)
	}
	// The lease began when SQS answered: a network's delay ago, which we take for a second at most.
	now := time.Now()
	until := now.Add(-min(now.Sub(began), time.Second)).Add(r.Lease)
	messages := make([]*queue.Message, len(out.Messages))
	for i := range out.Messages {
		messages[i] = q.message(&out.Messages[i], until)
	}
	return messages, nil
}

var (
	systemAttributes = []types.MessageSystemAttributeName{
		types.MessageSystemAttributeNameSentTimestamp, types.MessageSystemAttributeNameApproximateReceiveCount,
		types.MessageSystemAttributeNameApproximateFirstReceiveTimestamp, types.MessageSystemAttributeNameMessageGroupId,
	}
	messageAttributes = []string{"holdfast.*"}
)

func (q *Queue) message(m *types.Message, until time.Time) *queue.Message {
	got := &queue.Message{
		ID: aws.ToString(m.MessageId), Receipt: aws.ToString(m.ReceiptHandle), Region: q.config.Region, Body: aws.ToString(m.Body),
		Sent: millis(m.Attributes["SentTimestamp"]), FirstReceived: millis(m.Attributes["ApproximateFirstReceiveTimestamp"]), LeaseUntil: until,
	}
	got.Receives, _ = strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	if q.limits.FIFO {
		got.Group = m.Attributes["MessageGroupId"]
	} else {
		got.Tenant = m.Attributes["MessageGroupId"]
	}
	for k, v := range m.MessageAttributes {
		if got.Attributes == nil {
			got.Attributes = make(map[string]string, len(m.MessageAttributes))
		}
		got.Attributes[k] = aws.ToString(v.StringValue)
	}
	q.setClaim(got)
	return got
}

// millis reads a time stamp of SQS; the zero time if there is none.
func millis(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// Extend implements [queue.Transport].
func (q *Queue) Extend(ctx context.Context, messages []*queue.Message, lease time.Duration) []error {
	return q.visibility(ctx, len(messages), func(i int) (*queue.Message, time.Duration) { return messages[i], lease })
}

// Release implements [queue.Transport].
func (q *Queue) Release(ctx context.Context, releases []queue.Release) []error {
	return q.visibility(ctx, len(releases), func(i int) (*queue.Message, time.Duration) { return releases[i].Message, releases[i].After })
}

func (q *Queue) visibility(ctx context.Context, n int, item func(int) (*queue.Message, time.Duration)) []error {
	return inBatches(n, func(from, to int) (map[int]error, error) {
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, 0, to-from)
		for i := from; i < to; i++ {
			m, d := item(i)
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: &ids[i-from], ReceiptHandle: &m.Receipt, VisibilityTimeout: seconds(d)})
		}
		ctx, cancel := within(ctx, q.config.Timeout)
		defer cancel()
		out, err := q.api.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url, Entries: entries}, options...)
		if err != nil {
			return nil, fmt.Errorf("sqsqueue %q: Region %q: change visibility: %w", q.config.Name, q.config.Region, err)
		}
		return leaseErrors(out.Failed, len(entries)), nil
	})
}

// Delete implements [queue.Transport]. The object of a claimed payload goes after the message: the other way round a
// crash would leave a message that points nowhere.
func (q *Queue) Delete(ctx context.Context, messages []*queue.Message) []error {
	errs := q.delete(ctx, messages)
	for i, m := range messages {
		if m.Claim != "" && (errs == nil || errs[i] == nil) {
			q.dropClaim(ctx, m)
		}
	}
	return errs
}

func (q *Queue) delete(ctx context.Context, messages []*queue.Message) []error {
	return inBatches(len(messages), func(from, to int) (map[int]error, error) {
		entries := make([]types.DeleteMessageBatchRequestEntry, 0, to-from)
		for i := from; i < to; i++ {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: &ids[i-from], ReceiptHandle: &messages[i].Receipt})
		}
		ctx, cancel := within(ctx, q.config.Timeout)
		defer cancel()
		out, err := q.api.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries}, options...)
		if err != nil {
			return nil, fmt.Errorf("sqsqueue %q: Region %q: delete: %w", q.config.Name, q.config.Region, err)
		}
		return leaseErrors(out.Failed, len(entries)), nil
	})
}

// inBatches calls do for every ten items and puts the errors together: one for all, or by position in the batch.
func inBatches(n int, do func(from, to int) (map[int]error, error)) (errs []error) {
	for from := 0; from < n; from += batchEntries {
		to := min(n, from+batchEntries)
		some, err := do(from, to)
		if err == nil && len(some) == 0 {
			continue
		}
		if errs == nil {
			errs = make([]error, n)
		}
		for i := from; i < to; i++ {
			errs[i] = cmp.Or(err, some[i-from])
		}
	}
	return errs
}

// Dead implements [queue.Transport]. A claimed payload stays where it is: the letter points to it.
func (q *Queue) Dead(ctx context.Context, letters []queue.DeadLetter) []error {
	errs := make([]error, len(letters))
	if q.config.DeadLetterURL == "" {
		for i := range errs {
			errs[i] = fmt.Errorf("sqsqueue %q: Region %q: no dead-letter queue configured", q.config.Name, q.config.Region)
		}
		return errs
	}
	out := make([]queue.Outgoing, len(letters))
	for i := range letters {
		out[i] = letters[i].Outgoing()
	}
	results := make([]queue.SendResult, len(letters))
	q.send(ctx, q.config.DeadLetterURL, out, results)
	sent := make([]*queue.Message, 0, len(letters))
	at := make([]int, 0, len(letters))
	for i := range results {
		if errs[i] = results[i].Err; errs[i] == nil {
			sent, at = append(sent, letters[i].Message), append(at, i)
		}
	}
	for j, err := range q.delete(ctx, sent) {
		errs[at[j]] = err
	}
	return errs
}

// Stats implements [queue.Transport] with the approximate counts of SQS.
func (q *Queue) Stats(ctx context.Context) (queue.Depth, error) {
	a, err := q.attributes(ctx, q.url, types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed)
	if err != nil {
		return queue.Depth{}, err
	}
	number := func(name types.QueueAttributeName) int { n, _ := strconv.Atoi(a[string(name)]); return n }
	return queue.Depth{
		Visible: number(types.QueueAttributeNameApproximateNumberOfMessages), InFlight: number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		Delayed: number(types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
	}, nil
}

func (q *Queue) attributes(ctx context.Context, url string, names ...types.QueueAttributeName) (map[string]string, error) {
	ctx, cancel := within(ctx, q.config.Timeout)
	defer cancel()
	out, err := q.api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: names}, options...)
	if err != nil {
		return nil, fmt.Errorf("sqsqueue %q: Region %q: attributes of %s: %w", q.config.Name, q.config.Region, url, err)
	}
	return out.Attributes, nil
}

// Calls returns the call IDs that can be received now, for a queue.Ledger; see [queue.Peek]. What is leased or delayed is
// in [Queue.Stats] alone.
func (q *Queue) Calls(ctx context.Context) ([]string, error) { return queue.Peek(ctx, q) }

// Move starts SQS's own redrive of everything in this dead-letter queue to another queue, perSecond messages at a time (1 to
// 500; 0 = as SQS likes). SQS filters nothing, counts nothing for you and allows one such task per queue; see
// queue.Redrive for what does. The destination is always named: SQS does not know where letters that a worker sent
// came from. It implements [queue.Mover].
func (q *Queue) Move(ctx context.Context, to queue.Transport, perSecond int) (task string, err error) {
	target, ok := to.(*Queue)
	if !ok {
		return "", fmt.Errorf("sqsqueue: cannot move to a %T", to)
	}
	var arns [2]string
	for i, x := range []*Queue{q, target} {
		a, err := x.attributes(ctx, x.url, types.QueueAttributeNameQueueArn)
		if err != nil {
			return "", err
		}
		arns[i] = a[string(types.QueueAttributeNameQueueArn)]
	}
	in := &sqs.StartMessageMoveTaskInput{SourceArn: &arns[0], DestinationArn: &arns[1]}
	if perSecond > 0 {
		in.MaxNumberOfMessagesPerSecond = aws.Int32(int32(perSecond))
	}
	ctx, cancel := within(ctx, q.config.Timeout)
	defer cancel()
	out, err := q.api.StartMessageMoveTask(ctx, in, options...)
	if err != nil {
		return "", fmt.Errorf("sqsqueue %q: Region %q: move: %w", q.config.Name, q.config.Region, err)
	}
	return aws.ToString(out.TaskHandle), nil
}
