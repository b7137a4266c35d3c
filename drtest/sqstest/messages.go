package sqstest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkSends does the work on a send's contents that needs no lock: the checks and the digests.
func (c *call) checkSends() *apiError {
	if c.op == "SendMessage" {
		checked, err := c.in.check()
		c.in.checked = checked
		return err
	}
	if err := checkBatch(c.in.Entries); err != nil {
		return err
	}
	total := 0
	for i := range c.in.Entries {
		e := &c.in.Entries[i]
		if e.checked, e.bad = e.check(); e.bad == nil {
			total += e.checked.size
		}
	}
	if total > payload {
		return errBatchTooLong.with("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", payload, total)
	}
	return nil
}

// checkBatch checks what makes the whole batch fail.
func checkBatch(entries []entry) *apiError {
	if len(entries) == 0 {
		return errBatchEmpty.with("There should be at least one entry in the request.")
	}
	if len(entries) > batchEntries {
		return errBatchTooMany.with("Maximum number of entries per request are %d. You have sent %d.", batchEntries, len(entries))
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if e.Id == "" || len(e.Id) > batchEntryID || !only(e.Id, wordDash) {
			return errBatchID.with("A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		if seen[e.Id] {
			return errBatchIDs.with("Id %s repeated.", e.Id)
		}
		seen[e.Id] = true
	}
	return nil
}

// each runs one action for every entry of a batch and collects what became of them.
func each(entries []entry, do func(*entry) (any, *apiError)) batchOutput {
	out := batchOutput{Successful: make([]any, 0, len(entries))}
	for i := range entries {
		e := &entries[i]
		done, err := do(e)
		if err != nil {
			out.Failed = append(out.Failed, failedEntry{Id: e.Id, Code: err.kind.code, Message: err.message, SenderFault: err.kind.status < 500})
			continue
		}
		out.Successful = append(out.Successful, done)
	}
	return out
}

func sendMessage(c *call, q *queue, now time.Time) (any, *apiError) {
	out, err := c.send(q, &c.in.entry, now)
	q.hand(now)
	return out, err
}

func sendMessageBatch(c *call, q *queue, now time.Time) (any, *apiError) {
	out := each(c.in.Entries, func(e *entry) (any, *apiError) {
		if e.bad != nil {
			return nil, e.bad
		}
		sent, err := c.send(q, e, now)
		sent.Id = e.Id
		return sent, err
	})
	q.hand(now)
	return out, nil
}

// send stores one message, twice if a fault says so.
func (c *call) send(q *queue, e *entry, now time.Time) (sendOutput, *apiError) {
	if err := q.accepts(e); err != nil {
		return sendOutput{}, err
	}
	out := q.store(e, c.sender, now)
	if c.twice {
		q.store(e, c.sender, now)
	}
	if c.poison {
		q.store(poisoned(e), c.sender, now)
	}
	return out, nil
}

// poison is a body that is neither JSON, XML nor base64.
const poison = "{poison: <"

// poisoned returns the entry of a message that nobody can parse, in the place of e.
func poisoned(e *entry) *entry {
	bad := entry{MessageBody: poison, MessageGroupId: e.MessageGroupId, DelaySeconds: e.DelaySeconds}
	if e.MessageDeduplicationId != "" {
		bad.MessageDeduplicationId = poison + e.MessageDeduplicationId
	}
	bad.checked, _ = bad.check() // it is sound
	return &bad
}

// accepts checks what depends on the queue.
func (q *queue) accepts(e *entry) *apiError {
	if e.checked.size > q.maxSize {
		return errParameter.with("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", q.maxSize)
	}
	if d := e.DelaySeconds; d != nil {
		if *d < 0 || *d > longestDelay {
			return badParameter("DelaySeconds", *d, "DelaySeconds must be >= 0 and <= 900.")
		}
		if q.fifo && *d != 0 {
			return badParameter("DelaySeconds", *d, "The request include parameter that is not valid for this queue type.")
		}
	}
	if !tokenOK(e.MessageGroupId) {
		return badParameter("MessageGroupId", e.MessageGroupId, "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	if !tokenOK(e.MessageDeduplicationId) {
		return badParameter("MessageDeduplicationId", e.MessageDeduplicationId, "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	switch {
	case !q.fifo && e.MessageDeduplicationId != "":
		return badParameter("MessageDeduplicationId", e.MessageDeduplicationId, "The request include parameter that is not valid for this queue type.")
	case q.fifo && e.MessageGroupId == "":
		return missing("MessageGroupId")
	case q.fifo && e.MessageDeduplicationId == "" && !q.contentDedup:
		return errParameter.with("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}

// store keeps one accepted message, unless a FIFO queue has seen its deduplication id.
func (q *queue) store(e *entry, sender string, now time.Time) sendOutput {
	g := q.region
	out := sendOutput{MD5OfMessageBody: e.checked.bodyMD5, MD5OfMessageAttributes: e.checked.fieldMD5, MD5OfMessageSystemAttributes: e.checked.traceMD5}
	dedup := e.MessageDeduplicationId
	if q.fifo && dedup == "" {
		dedup = e.checked.contentID()
	}
	key := q.dedupKey(e.MessageGroupId, dedup)
	if old := q.recall(key, now); old != nil {
		q.totals.Deduplicated++
		out.MessageId, out.SequenceNumber = old.id, sequenceNumber(old.sequence)
		return out
	}
	m := &message{
		content: e.checked, num: g.nextNumber(), id: g.uuid(), group: e.MessageGroupId, dedup: dedup,
		sequence: g.nextSequence(), sender: sender, sent: g.stamp(), kept: now,
	}
	delay := q.delay
	if e.DelaySeconds != nil && !q.fifo {
		delay = time.Duration(*e.DelaySeconds) * time.Second
	}
	q.totals.Sent++
	q.add(m, now, delay)
	out.MessageId = m.id
	if q.fifo {
		q.memorize(&sent{key: key, until: now.Add(dedupWindow), id: m.id, sequence: m.sequence})
		out.SequenceNumber = sequenceNumber(m.sequence)
	}
	return out
}

func sequenceNumber(n uint64) string { return strconv.FormatUint(10_000_000_000_000_000_000+n, 10) }

func (q *queue) dedupKey(group, dedup string) string {
	if q.dedupByGroup {
		return group + " " + dedup // neither may contain a space
	}
	return dedup
}

// recall returns what was sent under key within the window.
func (q *queue) recall(key string, now time.Time) *sent {
	for len(q.forget) > 0 && !now.Before(q.forget[0].until) {
		delete(q.remembered, q.forget[0].key)
		q.forget = q.forget[1:]
	}
	if !q.fifo {
		return nil
	}
	return q.remembered[key]
}

func (q *queue) memorize(s *sent) {
	q.remembered[s.key] = s
	q.forget = append(q.forget, s)
}

func (c *call) receive() (any, *apiError) {
	c.region.mu.Lock()
	q, err := c.queue()
	var p *poll
	if err == nil {
		p, err = c.poll(q)
	}
	c.region.mu.Unlock()
	if err != nil {
		return nil, err
	}
	got, err := q.receive(p)
	if err != nil {
		return nil, err
	}
	out := receiveOutput{Messages: make([]messageOutput, 0, len(got))}
	for i := range got {
		out.Messages = append(out.Messages, c.show(q, &got[i]))
	}
	return out, nil
}

// poll reads the receive's parameters.
func (c *call) poll(q *queue) (*poll, *apiError) {
	p := &poll{most: 1, visibility: q.visibility, wait: q.wait, attempt: c.in.ReceiveRequestAttemptId, twice: c.twice}
	if n := c.in.MaxNumberOfMessages; n != nil {
		if *n < 1 || *n > receiveMessages {
			return nil, badParameter("MaxNumberOfMessages", *n, "Must be between 1 and 10, if provided.")
		}
		p.most = *n
	}
	if n := c.in.WaitTimeSeconds; n != nil {
		if *n < 0 || *n > longestPoll {
			return nil, badParameter("WaitTimeSeconds", *n, "Must be >= 0 and <= 20, if provided.")
		}
		p.wait = time.Duration(*n) * time.Second
	}
	if n := c.in.VisibilityTimeout; n != nil {
		if err := visibilityOK(*n); err != nil {
			return nil, err
		}
		p.visibility = time.Duration(*n) * time.Second
	}
	if p.attempt != "" && (!q.fifo || !tokenOK(p.attempt)) {
		return nil, badParameter("ReceiveRequestAttemptId", p.attempt, "It is for FIFO queues, and has 1 to 128 alphanumeric and punctuation characters.")
	}
	return p, nil
}

func visibilityOK(n int) *apiError {
	if n < 0 || n > longestLease {
		return badParameter("VisibilityTimeout", n, "Must be between 0 and 43200.")
	}
	return nil
}

// show writes a delivery with the attributes that the request asks for.
func (c *call) show(q *queue, d *delivery) messageOutput {
	out := messageOutput{MessageId: d.id, ReceiptHandle: handle(q, d.num, d.receipt), MD5OfBody: d.bodyMD5, Body: d.body}
	names := append(slices.Clone(c.in.AttributeNames), c.in.MessageSystemAttributeNames...)
	if len(names) > 0 {
		out.Attributes = map[string]string{}
		for name, value := range d.system(q.fifo) {
			if value != "" && (slices.Contains(names, name) || slices.Contains(names, "All")) {
				out.Attributes[name] = value
			}
		}
	}
	for name, field := range d.fields {
		if asked(c.in.MessageAttributeNames, name) {
			if out.MessageAttributes == nil {
				out.MessageAttributes = map[string]attribute{}
			}
			out.MessageAttributes[name] = field
		}
	}
	out.MD5OfMessageAttributes = d.fieldMD5
	if len(out.MessageAttributes) != len(d.fields) {
		out.MD5OfMessageAttributes = digest(out.MessageAttributes)
	}
	return out
}

// system lists the system attributes; an empty one is absent.
func (d *delivery) system(fifo bool) map[string]string {
	all := map[string]string{
		"SenderId":                         d.sender,
		"SentTimestamp":                    strconv.FormatInt(d.sent.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(d.receives),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(d.first.UnixMilli(), 10),
		"MessageGroupId":                   d.group,
		"MessageDeduplicationId":           d.dedup,
		"AWSTraceHeader":                   d.trace,
		"DeadLetterQueueSourceArn":         d.source,
	}
	if fifo {
		all["SequenceNumber"] = sequenceNumber(d.sequence)
	}
	return all
}

// asked matches a message attribute's name against names, "All", ".*" and prefixes such as "bar.*".
func asked(names []string, name string) bool {
	for _, n := range names {
		prefix, wild := strings.CutSuffix(n, ".*")
		if n == name || n == "All" || wild && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func deleteMessage(c *call, q *queue, _ time.Time) (any, *apiError) {
	return none{}, c.delete(q, &c.in.entry)
}

func deleteMessageBatch(c *call, q *queue, _ time.Time) (any, *apiError) {
	if err := checkBatch(c.in.Entries); err != nil {
		return nil, err
	}
	return each(c.in.Entries, func(e *entry) (any, *apiError) { return doneEntry{e.Id}, c.delete(q, e) }), nil
}

// delete removes the message of a handle. A message that is gone already is success; an old handle
// is success without effect on a standard queue and an error on a FIFO queue, as is one whose
// lease is over there.
func (c *call) delete(q *queue, e *entry) *apiError {
	m, receipt, err := q.held(e.ReceiptHandle)
	if err != nil || m == nil {
		return err
	}
	current := m.receipt == receipt
	if q.fifo && !(current && m.state == stateInFlight) {
		return badParameter("ReceiptHandle", e.ReceiptHandle, "The receipt handle has expired.")
	}
	if !current || c.twice && !q.fifo {
		return nil
	}
	q.totals.Deleted++
	q.remove(m)
	q.hand(time.Now()) // a FIFO group may be open again
	return nil
}

// held reads a receipt handle and finds its message, nil when that is gone.
func (q *queue) held(handle string) (m *message, receipt uint64, err *apiError) {
	if handle == "" {
		return nil, 0, missing("ReceiptHandle")
	}
	num, receipt, ok := q.region.open(q, handle)
	if !ok {
		return nil, 0, errReceipt.with("The input receipt handle %q is not a valid receipt handle.", handle)
	}
	return q.messages[num], receipt, nil
}

func changeMessageVisibility(c *call, q *queue, now time.Time) (any, *apiError) {
	err := q.changeLease(&c.in.entry, now)
	q.hand(now)
	return none{}, err
}

func changeMessageVisibilityBatch(c *call, q *queue, now time.Time) (any, *apiError) {
	if err := checkBatch(c.in.Entries); err != nil {
		return nil, err
	}
	out := each(c.in.Entries, func(e *entry) (any, *apiError) { return doneEntry{e.Id}, q.changeLease(e, now) })
	q.hand(now)
	return out, nil
}

// changeLease sets the lease of an in-flight message to a new length from now on.
func (q *queue) changeLease(e *entry, now time.Time) *apiError {
	if e.VisibilityTimeout == nil {
		return missing("VisibilityTimeout")
	}
	if err := visibilityOK(*e.VisibilityTimeout); err != nil {
		return err
	}
	m, receipt, err := q.held(e.ReceiptHandle)
	switch {
	case err != nil:
		return err
	case m == nil || m.receipt != receipt:
		return badParameter("ReceiptHandle", e.ReceiptHandle, "Message does not exist or is not available for visibility timeout change.")
	case m.state != stateInFlight:
		return errNotInFlight.with("The specified message is not in flight.")
	}
	lease := time.Duration(*e.VisibilityTimeout) * time.Second
	if now.Sub(m.leasedAt).Truncate(time.Second)+lease > longestLease*time.Second {
		return badParameter("VisibilityTimeout", *e.VisibilityTimeout, "Total VisibilityTimeout for the message is beyond the limit [43200 seconds].")
	}
	m.visibleAt, m.touched = now.Add(lease), true
	q.timers.put(m)
	q.advance(now)
	return nil
}
