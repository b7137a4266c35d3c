package sqstest_test

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

type attrs = map[string]string

// queue creates a queue; FIFO when the name ends so.
func (k *kit) queue(name string, attributes attrs) (url string) {
	out, err := k.create(name, attributes)
	k.must("CreateQueue", err)
	return *out.QueueUrl
}

func (k *kit) create(name string, attributes attrs) (*sqs.CreateQueueOutput, error) {
	if strings.HasSuffix(name, ".fifo") {
		attributes = maps.Clone(attributes)
		if attributes == nil {
			attributes = attrs{}
		}
		attributes["FifoQueue"] = "true"
	}
	return k.client.CreateQueue(k.ctx, &sqs.CreateQueueInput{QueueName: k.name(name), Attributes: attributes})
}

func (k *kit) name(name string) *string { return aws.String(k.prefix + "-" + name) }

// withDLQ creates a queue and its dead-letter queue.
func (k *kit) withDLQ(suffix string, receives int, attributes attrs) (url, dlq string) {
	dlq = k.queue("dlq"+suffix, nil)
	all := attrs{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, k.attribute(dlq, "QueueArn"), receives)}
	maps.Copy(all, attributes)
	return k.queue("source"+suffix, all), dlq
}

func (k *kit) attribute(url, name string) string {
	out, err := k.client.GetQueueAttributes(k.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeName(name)}})
	k.must("GetQueueAttributes", err)
	return out.Attributes[name]
}

// send is a SendMessage; change may alter it.
func (k *kit) send(url, body string, change ...func(*sqs.SendMessageInput)) *sqs.SendMessageOutput {
	out, err := k.trySend(url, body, change...)
	k.must("SendMessage", err)
	return out
}

func (k *kit) trySend(url, body string, change ...func(*sqs.SendMessageInput)) (*sqs.SendMessageOutput, error) {
	in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}
	for _, f := range change {
		f(in)
	}
	return k.client.SendMessage(k.ctx, in)
}

func group(group, dedup string) func(*sqs.SendMessageInput) {
	return func(in *sqs.SendMessageInput) {
		in.MessageGroupId = &group
		if dedup != "" {
			in.MessageDeduplicationId = &dedup
		}
	}
}

// receive is one ReceiveMessage of up to ten messages with all attributes that waits up to 1 s.
func (k *kit) receive(url string, change ...func(*sqs.ReceiveMessageInput)) []types.Message {
	out, err := k.tryReceive(url, change...)
	k.must("ReceiveMessage", err)
	return out
}

func (k *kit) tryReceive(url string, change ...func(*sqs.ReceiveMessageInput)) ([]types.Message, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	}
	for _, f := range change {
		f(in)
	}
	out, err := k.client.ReceiveMessage(k.ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

func wait(seconds int32) func(*sqs.ReceiveMessageInput) {
	return func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = seconds }
}

func most(n int32) func(*sqs.ReceiveMessageInput) {
	return func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = n }
}

func lease(seconds int32) func(*sqs.ReceiveMessageInput) {
	return func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = seconds }
}

// one receives exactly one message.
func (k *kit) one(url string, change ...func(*sqs.ReceiveMessageInput)) types.Message {
	got := k.receive(url, change...)
	if len(got) != 1 {
		k.fail("received %d messages, want 1", len(got))
	}
	return got[0]
}

// bodies receives until n messages came or a receive brings none, and returns their bodies.
func (k *kit) bodies(url string, n int) []string {
	var all []string
	for len(all) < n {
		got := k.receive(url)
		if len(got) == 0 {
			break
		}
		for _, m := range got {
			all = append(all, *m.Body)
		}
	}
	return all
}

// drain receives and deletes until n messages came or a receive brings none.
func (k *kit) drain(url string, n int) []string {
	var all []string
	for len(all) < n {
		got := k.receive(url)
		if len(got) == 0 {
			break
		}
		for _, m := range got {
			all = append(all, *m.Body)
			k.delete(url, m)
		}
	}
	return all
}

func (k *kit) delete(url string, m types.Message) {
	k.must("DeleteMessage", k.tryDelete(url, *m.ReceiptHandle))
}

func (k *kit) tryDelete(url, handle string) error {
	_, err := k.client.DeleteMessage(k.ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: &handle})
	return err
}

func (k *kit) change(url string, m types.Message, seconds int32) error {
	_, err := k.client.ChangeMessageVisibility(k.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds})
	return err
}

func (k *kit) sendBatch(url string, entries ...types.SendMessageBatchRequestEntry) (*sqs.SendMessageBatchOutput, error) {
	return k.client.SendMessageBatch(k.ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
}

func item(id, body string) types.SendMessageBatchRequestEntry {
	return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
}

// items are n batch entries with the ids and bodies 0, 1, …
func items(n int) []types.SendMessageBatchRequestEntry {
	var all []types.SendMessageBatchRequestEntry
	for i := range n {
		all = append(all, item(strconv.Itoa(i), strconv.Itoa(i)))
	}
	return all
}

// wants fails unless the error has one of the codes; a code matches with and without its prefix.
func (k *kit) wants(what string, err error, codes ...string) {
	got := code(err)
	if i := strings.LastIndexByte(got, '.'); i >= 0 {
		got = got[i+1:]
	}
	if !slices.Contains(codes, got) {
		k.fail("%s = %s, want %s", what, got, strings.Join(codes, " or "))
	}
}

func (k *kit) equal(what string, got, want any) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		k.fail("%s = %v, want %v", what, got, want)
	}
}

// took fails unless f takes from low to high.
func (k *kit) took(what string, low, high time.Duration, f func()) {
	start := time.Now()
	f()
	if d := time.Since(start); d < low || d > high+k.slack {
		k.fail("%s took %v, want %v to %v", what, d.Round(time.Millisecond), low, high+k.slack)
	}
}

// sorted walks a map by key, so that a rule breaks in the same way each time.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
