package sqstest_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// rules is the conformance suite.
func rules() []rule {
	return slices.Concat(queueRules(), sendRules(), batchRules(), receiveRules(), deleteRules(), leaseRules(), redriveRules(), fifoRules(), fairRules())
}

// The codes that the service has two names for.
var (
	noQueue   = []string{"NonExistentQueue", "QueueDoesNotExist"}
	existing  = []string{"QueueAlreadyExists", "QueueNameExists"}
	parameter = []string{"InvalidParameterValue", "InvalidParameterValueException"}
	absent    = []string{"MissingParameter", "MissingRequiredParameterException"}
)

func queueRules() []rule {
	return []rule{
		{name: "create twice with the same attributes", says: "API CreateQueue", check: func(k *kit) {
			a := k.queue("q", attrs{"VisibilityTimeout": "7"})
			b := k.queue("q", attrs{"VisibilityTimeout": "7"})
			k.equal("second URL", b, a)
		}},
		{name: "create again with another value", says: "API QueueNameExists", check: func(k *kit) {
			k.queue("q", attrs{"VisibilityTimeout": "7"})
			_, err := k.create("q", attrs{"VisibilityTimeout": "8"})
			k.wants("CreateQueue", err, existing...)
		}},
		{name: "create with a bad name", says: "API CreateQueue QueueName", check: func(k *kit) {
			_, err := k.create("no spaces", nil)
			k.wants("CreateQueue", err, parameter...)
			_, err = k.create(strings.Repeat("x", 80), nil)
			k.wants("CreateQueue of a long name", err, parameter...)
		}},
		{name: "FIFO needs its attribute", says: "API CreateQueue FifoQueue", check: func(k *kit) {
			_, err := k.client.CreateQueue(k.ctx, &sqs.CreateQueueInput{QueueName: k.name("a.fifo")})
			k.wants("CreateQueue of a.fifo without FifoQueue", err, parameter...)
			_, err = k.client.CreateQueue(k.ctx, &sqs.CreateQueueInput{QueueName: k.name("a"), Attributes: attrs{"FifoQueue": "true"}})
			k.wants("CreateQueue of a with FifoQueue", err, parameter...)
		}},
		{name: "unknown queue attribute", says: "API InvalidAttributeName", check: func(k *kit) {
			_, err := k.create("q", attrs{"Colour": "red"})
			k.wants("CreateQueue", err, "InvalidAttributeName")
		}},
		{name: "queue attribute out of range", says: "API CreateQueue Attributes", check: func(k *kit) {
			for name, value := range sorted(attrs{"VisibilityTimeout": "43201", "DelaySeconds": "901", "MessageRetentionPeriod": "59", "ReceiveMessageWaitTimeSeconds": "21", "MaximumMessageSize": "1048577"}) {
				_, err := k.create("q", attrs{name: value})
				k.wants("CreateQueue with "+name+"="+value, err, "InvalidAttributeValue")
			}
		}},
		{name: "default queue attributes", says: "API CreateQueue Attributes", check: func(k *kit) {
			url := k.queue("q", nil)
			for name, want := range sorted(attrs{"VisibilityTimeout": "30", "DelaySeconds": "0", "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0", "MaximumMessageSize": "1048576"}) {
				k.equal(name, k.attribute(url, name), want)
			}
			if arn := k.attribute(url, "QueueArn"); !strings.HasPrefix(arn, "arn:aws:sqs:us-east-1:") || !strings.HasSuffix(arn, ":"+*k.name("q")) {
				k.fail("QueueArn = %s", arn)
			}
		}},
		{name: "set and get queue attributes", says: "API SetQueueAttributes", check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.client.SetQueueAttributes(k.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: attrs{"VisibilityTimeout": "11"}})
			k.must("SetQueueAttributes", err)
			k.equal("VisibilityTimeout", k.attribute(url, "VisibilityTimeout"), "11")
			_, err = k.client.SetQueueAttributes(k.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: attrs{"VisibilityTimeout": "-1"}})
			k.wants("SetQueueAttributes of a bad value", err, "InvalidAttributeValue")
		}},
		{name: "no attribute names, no attributes", says: "API GetQueueAttributes", check: func(k *kit) {
			url := k.queue("q", nil)
			out, err := k.client.GetQueueAttributes(k.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url})
			k.must("GetQueueAttributes", err)
			k.equal("attributes", len(out.Attributes), 0)
		}},
		{name: "get an unknown queue attribute", says: "API InvalidAttributeName", check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.client.GetQueueAttributes(k.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{"Colour"}})
			k.wants("GetQueueAttributes", err, "InvalidAttributeName")
		}},
		{name: "queue URL by name", says: "API GetQueueUrl", check: func(k *kit) {
			url := k.queue("q", nil)
			out, err := k.client.GetQueueUrl(k.ctx, &sqs.GetQueueUrlInput{QueueName: k.name("q")})
			k.must("GetQueueUrl", err)
			k.equal("URL", *out.QueueUrl, url)
			_, err = k.client.GetQueueUrl(k.ctx, &sqs.GetQueueUrlInput{QueueName: k.name("other")})
			k.wants("GetQueueUrl of no queue", err, noQueue...)
		}},
		{name: "actions on no queue", says: "API QueueDoesNotExist", check: func(k *kit) {
			url := k.queue("q", nil) + "x"
			_, err := k.trySend(url, "hello")
			k.wants("SendMessage", err, noQueue...)
			_, err = k.tryReceive(url, wait(0))
			k.wants("ReceiveMessage", err, noQueue...)
			_, err = k.client.PurgeQueue(k.ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
			k.wants("PurgeQueue", err, noQueue...)
		}},
		{name: "delete a queue", says: "API DeleteQueue", check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.client.DeleteQueue(k.ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
			k.must("DeleteQueue", err)
			_, err = k.client.GetQueueUrl(k.ctx, &sqs.GetQueueUrlInput{QueueName: k.name("q")})
			k.wants("GetQueueUrl", err, noQueue...)
		}},
		{name: "a deleted name rests 60 s", says: "API QueueDeletedRecently", check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.client.DeleteQueue(k.ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
			k.must("DeleteQueue", err)
			_, err = k.create("q", nil)
			k.wants("CreateQueue", err, "QueueDeletedRecently")
		}},
		{name: "a deleted name is free after 60 s", says: "API QueueDeletedRecently", takes: time.Minute, check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.client.DeleteQueue(k.ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
			k.must("DeleteQueue", err)
			time.Sleep(time.Minute)
			k.queue("q", nil)
		}},
		{name: "list queues by prefix and page", says: "API ListQueues", check: func(k *kit) {
			var want []string
			for i := range 5 {
				want = append(want, k.queue("list-"+strconv.Itoa(i), nil))
			}
			var got []string
			pages := sqs.NewListQueuesPaginator(k.client, &sqs.ListQueuesInput{QueueNamePrefix: k.name("list-"), MaxResults: aws.Int32(2)})
			for pages.HasMorePages() {
				page, err := pages.NextPage(k.ctx)
				k.must("ListQueues", err)
				if len(page.QueueUrls) > 2 {
					k.fail("a page has %d queues, want at most 2", len(page.QueueUrls))
				}
				got = append(got, page.QueueUrls...)
			}
			slices.Sort(got)
			k.equal("queues", got, want)
		}},
		{name: "tags", says: "API TagQueue", check: func(k *kit) {
			out, err := k.client.CreateQueue(k.ctx, &sqs.CreateQueueInput{QueueName: k.name("q"), Tags: attrs{"a": "1", "b": "2"}})
			k.must("CreateQueue", err)
			_, err = k.client.TagQueue(k.ctx, &sqs.TagQueueInput{QueueUrl: out.QueueUrl, Tags: attrs{"b": "3", "c": "4"}})
			k.must("TagQueue", err)
			_, err = k.client.UntagQueue(k.ctx, &sqs.UntagQueueInput{QueueUrl: out.QueueUrl, TagKeys: []string{"a"}})
			k.must("UntagQueue", err)
			tags, err := k.client.ListQueueTags(k.ctx, &sqs.ListQueueTagsInput{QueueUrl: out.QueueUrl})
			k.must("ListQueueTags", err)
			k.equal("tags", tags.Tags, attrs{"b": "3", "c": "4"})
		}},
		{name: "Regions share nothing", says: "Developer guide, Regions and endpoints", check: func(k *kit) {
			k.queue("q", nil)
			_, err := k.elsewhere.GetQueueUrl(k.ctx, &sqs.GetQueueUrlInput{QueueName: k.name("q")})
			k.wants("GetQueueUrl in another Region", err, noQueue...)
		}},
		{name: "counts by state", says: "API GetQueueAttributes", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "a")
			k.send(url, "b")
			k.send(url, "c", func(in *sqs.SendMessageInput) { in.DelaySeconds = 60 })
			k.one(url, most(1))
			k.equal("visible", k.attribute(url, "ApproximateNumberOfMessages"), 1)
			k.equal("in flight", k.attribute(url, "ApproximateNumberOfMessagesNotVisible"), 1)
			k.equal("delayed", k.attribute(url, "ApproximateNumberOfMessagesDelayed"), 1)
		}},
		{name: "purge", says: "API PurgeQueue", check: func(k *kit) {
			url := k.queue("q", attrs{"VisibilityTimeout": "1"})
			k.send(url, "a")
			k.send(url, "b")
			k.one(url, most(1))
			_, err := k.client.PurgeQueue(k.ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
			k.must("PurgeQueue", err)
			k.equal("messages after a purge", len(k.receive(url, wait(2))), 0)
		}},
		{name: "second purge within 60 s", says: "API PurgeQueueInProgress", check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.client.PurgeQueue(k.ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
			k.must("PurgeQueue", err)
			_, err = k.client.PurgeQueue(k.ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
			k.wants("second PurgeQueue", err, "PurgeQueueInProgress")
		}},
		{name: "messages grow too old", says: "API CreateQueue MessageRetentionPeriod", takes: time.Minute, check: func(k *kit) {
			url := k.queue("q", attrs{"MessageRetentionPeriod": "60"})
			k.send(url, "a")
			time.Sleep(59 * time.Second)
			k.one(url, lease(10))
			k.send(url, "b")
			time.Sleep(12 * time.Second)
			k.equal("bodies", k.bodies(url, 2), []string{"b"})
		}},
	}
}

func sendRules() []rule {
	return []rule{
		{name: "digests of a message", says: "Developer guide, MD5 of message attributes", check: func(k *kit) {
			url := k.queue("q", nil)
			out := k.send(url, "hello", func(in *sqs.SendMessageInput) {
				in.MessageAttributes = sampleFields()
				in.MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793")}}
			})
			k.equal("MD5 of the body", aws.ToString(out.MD5OfMessageBody), "5d41402abc4b2a76b9719d911017c592")
			k.equal("MD5 of the attributes", aws.ToString(out.MD5OfMessageAttributes), sampleDigest)
			k.equal("MD5 of the system attributes", aws.ToString(out.MD5OfMessageSystemAttributes), traceDigest)
			m := k.one(url)
			k.equal("MD5 of the received body", aws.ToString(m.MD5OfBody), "5d41402abc4b2a76b9719d911017c592")
			k.equal("MD5 of the received attributes", aws.ToString(m.MD5OfMessageAttributes), sampleDigest)
			k.equal("id", *m.MessageId, *out.MessageId)
		}},
		{name: "trace header", says: "API SendMessage MessageSystemAttributes", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello", func(in *sqs.SendMessageInput) {
				in.MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793")}}
			})
			k.equal("AWSTraceHeader", k.one(url).Attributes["AWSTraceHeader"], "Root=1-5759e988-bd862e3fe1be46a994272793")
		}},
		{name: "empty body", says: "API SendMessage MessageBody", check: func(k *kit) {
			_, err := k.trySend(k.queue("q", nil), "")
			k.wants("SendMessage", err, append(slices.Clone(absent), parameter...)...)
		}},
		{name: "characters that no message may have", says: "API InvalidMessageContents", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "tab\t, newline\n, return\r, \U0001F680")
			for _, body := range []string{"\x00", "a\x0bb", "\x1f", "\uFFFE", "\uFFFF"} {
				_, err := k.trySend(url, body)
				k.wants(fmt.Sprintf("SendMessage of %q", body), err, "InvalidMessageContents")
			}
		}},
		{name: "message of 1 MiB", says: "API SendMessage MessageBody", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, strings.Repeat("x", 1<<20))
			_, err := k.trySend(url, strings.Repeat("x", 1<<20+1))
			k.wants("SendMessage of 1 MiB + 1", err, parameter...)
		}},
		{name: "attributes count in the size", says: "Developer guide, message metadata", check: func(k *kit) {
			_, err := k.trySend(k.queue("q", nil), strings.Repeat("x", 1<<20-5), func(in *sqs.SendMessageInput) { in.MessageAttributes = sampleFields() })
			k.wants("SendMessage", err, parameter...)
		}},
		{name: "the queue's own size limit", says: "API CreateQueue MaximumMessageSize", check: func(k *kit) {
			url := k.queue("q", attrs{"MaximumMessageSize": "1024"})
			k.send(url, strings.Repeat("x", 1024))
			_, err := k.trySend(url, strings.Repeat("x", 1025))
			k.wants("SendMessage of 1025 bytes", err, parameter...)
		}},
		{name: "ten message attributes at most", says: "Developer guide, message metadata", check: func(k *kit) {
			_, err := k.trySend(k.queue("q", nil), "hello", func(in *sqs.SendMessageInput) {
				in.MessageAttributes = map[string]types.MessageAttributeValue{}
				for i := range 11 {
					in.MessageAttributes[fmt.Sprint("a", i)] = text("x")
				}
			})
			k.wants("SendMessage", err, parameter...)
		}},
		{name: "reserved attribute names", says: "Developer guide, message metadata", check: func(k *kit) {
			url := k.queue("q", nil)
			for _, name := range []string{"AWS.x", "amazon.x", ".x", "x.", "a..b", "a b"} {
				_, err := k.trySend(url, "hello", func(in *sqs.SendMessageInput) {
					in.MessageAttributes = map[string]types.MessageAttributeValue{name: text("x")}
				})
				k.wants("SendMessage with "+name, err, parameter...)
			}
		}},
		{name: "attribute types", says: "Developer guide, message metadata", check: func(k *kit) {
			url := k.queue("q", nil)
			for kind, value := range sorted(attrs{"Colour": "red", "Number": "seven", "String": ""}) {
				_, err := k.trySend(url, "hello", func(in *sqs.SendMessageInput) {
					in.MessageAttributes = map[string]types.MessageAttributeValue{"x": {DataType: aws.String(kind), StringValue: aws.String(value)}}
				})
				k.wants(fmt.Sprintf("SendMessage with a %s %q", kind, value), err, parameter...)
			}
		}},
		{name: "delay of 15 minutes at most", says: "API SendMessage DelaySeconds", check: func(k *kit) {
			_, err := k.trySend(k.queue("q", nil), "hello", func(in *sqs.SendMessageInput) { in.DelaySeconds = 901 })
			k.wants("SendMessage", err, parameter...)
		}},
		{name: "delay of a message", says: "API SendMessage DelaySeconds", check: func(k *kit) {
			url := k.queue("q", attrs{"DelaySeconds": "60"})
			k.took("the message", 800*time.Millisecond, 2*time.Second, func() {
				k.send(url, "hello", func(in *sqs.SendMessageInput) { in.DelaySeconds = 1 })
				k.one(url, wait(3))
			})
		}},
		{name: "delay of a queue", says: "Developer guide, delay queues", check: func(k *kit) {
			url := k.queue("q", attrs{"DelaySeconds": "1"})
			k.took("the message", 500*time.Millisecond, 2*time.Second, func() {
				k.send(url, "hello")
				k.equal("messages at once", len(k.receive(url, wait(0))), 0)
				k.one(url, wait(3))
			})
		}},
		{name: "deduplication id on a standard queue", says: "API SendMessage MessageDeduplicationId", check: func(k *kit) {
			_, err := k.trySend(k.queue("q", nil), "hello", func(in *sqs.SendMessageInput) { in.MessageDeduplicationId = aws.String("d") })
			k.wants("SendMessage", err, parameter...)
		}},
	}
}

func text(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
}

func sampleFields() map[string]types.MessageAttributeValue {
	return map[string]types.MessageAttributeValue{
		"city":  text("Gdańsk"),
		"price": {DataType: aws.String("Number.eur"), StringValue: aws.String("12.50")},
		"blob":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 254, 255}},
	}
}

func batchRules() []rule {
	return []rule{
		{name: "batch of ten", says: "API SendMessageBatch", check: func(k *kit) {
			url := k.queue("q", nil)
			out, err := k.sendBatch(url, items(10)...)
			k.must("SendMessageBatch", err)
			k.equal("successes", len(out.Successful), 10)
			got := k.drain(url, 10)
			slices.Sort(got)
			k.equal("bodies", got, "[0 1 2 3 4 5 6 7 8 9]")
		}},
		{name: "empty batch", says: "API EmptyBatchRequest", check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.client.SendMessageBatch(k.ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: []types.SendMessageBatchRequestEntry{}})
			k.wants("SendMessageBatch", err, "EmptyBatchRequest")
		}},
		{name: "batch of eleven", says: "API TooManyEntriesInBatchRequest", check: func(k *kit) {
			_, err := k.sendBatch(k.queue("q", nil), items(11)...)
			k.wants("SendMessageBatch", err, "TooManyEntriesInBatchRequest")
		}},
		{name: "batch with an id twice", says: "API BatchEntryIdsNotDistinct", check: func(k *kit) {
			_, err := k.sendBatch(k.queue("q", nil), item("a", "x"), item("a", "y"))
			k.wants("SendMessageBatch", err, "BatchEntryIdsNotDistinct")
		}},
		{name: "batch with a bad id", says: "API InvalidBatchEntryId", check: func(k *kit) {
			url := k.queue("q", nil)
			_, err := k.sendBatch(url, item("a b", "x"))
			k.wants("SendMessageBatch with a space", err, "InvalidBatchEntryId")
			_, err = k.sendBatch(url, item(strings.Repeat("x", 81), "x"))
			k.wants("SendMessageBatch with 81 characters", err, "InvalidBatchEntryId")
		}},
		{name: "batch over 1 MiB", says: "API BatchRequestTooLong", check: func(k *kit) {
			_, err := k.sendBatch(k.queue("q", nil), item("a", strings.Repeat("x", 600<<10)), item("b", strings.Repeat("x", 600<<10)))
			k.wants("SendMessageBatch", err, "BatchRequestTooLong")
		}},
		{name: "batch with one bad delay", says: "API SendMessageBatch", check: func(k *kit) {
			url := k.queue("q", nil)
			bad := item("bad", "x")
			bad.DelaySeconds = 901
			k.partial(url, bad, parameter...)
		}},
		{name: "batch with one bad character", says: "API SendMessageBatch", check: func(k *kit) {
			k.partial(k.queue("q", nil), item("bad", "\x00"), "InvalidMessageContents")
		}},
		{name: "batch on FIFO keeps the order of its entries", says: "API SendMessageBatch", check: func(k *kit) {
			url := k.queue("q.fifo", attrs{"ContentBasedDeduplication": "true"})
			all := items(10)
			for i := range all {
				all[i].MessageGroupId = aws.String("g")
			}
			_, err := k.sendBatch(url, all...)
			k.must("SendMessageBatch", err)
			k.equal("bodies", k.drain(url, 10), "[0 1 2 3 4 5 6 7 8 9]")
		}},
	}
}

// partial sends a sound entry and a bad one.
func (k *kit) partial(url string, bad types.SendMessageBatchRequestEntry, codes ...string) {
	out, err := k.sendBatch(url, item("good", "good"), bad)
	k.must("SendMessageBatch", err)
	if len(out.Successful) != 1 || len(out.Failed) != 1 || *out.Successful[0].Id != "good" || *out.Failed[0].Id != "bad" {
		k.fail("%d successes and %d failures, want good to succeed and bad to fail", len(out.Successful), len(out.Failed))
	}
	if f := out.Failed[0]; !slices.Contains(codes, *f.Code) || !f.SenderFault {
		k.fail("failure = %s, sender's fault %t; want %s, true", *f.Code, f.SenderFault, codes)
	}
	k.equal("bodies", k.drain(url, 2), "[good]")
}

func receiveRules() []rule {
	return []rule{
		{name: "message attributes by name and prefix", says: "API ReceiveMessage MessageAttributeNames", check: func(k *kit) {
			url := k.queue("q", attrs{"VisibilityTimeout": "0"})
			k.send(url, "hello", func(in *sqs.SendMessageInput) {
				in.MessageAttributes = map[string]types.MessageAttributeValue{"bar.a": text("1"), "bar.b": text("2"), "foo": text("3")}
			})
			for names, want := range map[string]int{"All": 3, ".*": 3, "bar.*": 2, "foo": 1, "none": 0} {
				m := k.one(url, func(in *sqs.ReceiveMessageInput) { in.MessageAttributeNames = []string{names} })
				k.equal("attributes for "+names, len(m.MessageAttributes), want)
			}
		}},
		{name: "digest covers the attributes returned", says: "API Message MD5OfMessageAttributes", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello", func(in *sqs.SendMessageInput) {
				in.MessageAttributes = sampleFields()
				in.MessageAttributes["extra"] = text("x")
			})
			m := k.one(url, func(in *sqs.ReceiveMessageInput) { in.MessageAttributeNames = []string{"city", "price", "blob"} })
			k.equal("MD5", aws.ToString(m.MD5OfMessageAttributes), sampleDigest)
		}},
		{name: "system attributes", says: "API ReceiveMessage MessageSystemAttributeNames", check: func(k *kit) {
			url := k.queue("q", nil)
			before := time.Now().Add(-2 * time.Second).UnixMilli()
			k.send(url, "hello")
			m := k.one(url)
			k.equal("ApproximateReceiveCount", m.Attributes["ApproximateReceiveCount"], 1)
			for _, name := range []string{"SentTimestamp", "ApproximateFirstReceiveTimestamp"} {
				if ms, err := strconv.ParseInt(m.Attributes[name], 10, 64); err != nil || ms < before || ms > before+10_000 {
					k.fail("%s = %q", name, m.Attributes[name])
				}
			}
			if m.Attributes["SenderId"] == "" {
				k.fail("no SenderId")
			}
		}},
		{name: "system attributes only when asked", says: "API ReceiveMessage MessageSystemAttributeNames", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url, func(in *sqs.ReceiveMessageInput) {
				in.MessageSystemAttributeNames = []types.MessageSystemAttributeName{"SentTimestamp"}
			})
			k.equal("attributes", len(m.Attributes), 1)
		}},
		{name: "system attributes by their old parameter", says: "API ReceiveMessage AttributeNames", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url, func(in *sqs.ReceiveMessageInput) {
				in.MessageSystemAttributeNames = nil
				//lint:ignore SA1019 the old parameter is what the rule is about
				in.AttributeNames = []types.QueueAttributeName{"All"} //nolint:staticcheck // as above
			})
			k.equal("ApproximateReceiveCount", m.Attributes["ApproximateReceiveCount"], 1)
		}},
		{name: "ten messages at most", says: "API ReceiveMessage MaxNumberOfMessages", check: func(k *kit) {
			url := k.queue("q", nil)
			for _, n := range []int32{-1, 11} {
				_, err := k.tryReceive(url, most(n))
				k.wants(fmt.Sprint("ReceiveMessage of ", n), err, parameter...)
			}
		}},
		{name: "one message by default", says: "API ReceiveMessage MaxNumberOfMessages", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "a")
			k.send(url, "b")
			k.one(url, most(0))
		}},
		{name: "poll of 20 s at most", says: "API ReceiveMessage WaitTimeSeconds", check: func(k *kit) {
			_, err := k.tryReceive(k.queue("q", nil), wait(21))
			k.wants("ReceiveMessage", err, parameter...)
		}},
		{name: "lease of 12 h at most", says: "API ReceiveMessage VisibilityTimeout", check: func(k *kit) {
			_, err := k.tryReceive(k.queue("q", nil), lease(43201))
			k.wants("ReceiveMessage", err, parameter...)
		}},
		{name: "short poll of an empty queue", says: "Developer guide, short polling", check: func(k *kit) {
			url := k.queue("q", nil)
			k.took("ReceiveMessage", 0, 500*time.Millisecond, func() { k.equal("messages", len(k.receive(url, wait(0))), 0) })
		}},
		{name: "long poll waits", says: "Developer guide, long polling", check: func(k *kit) {
			url := k.queue("q", nil)
			k.took("ReceiveMessage", time.Second, 1800*time.Millisecond, func() { k.equal("messages", len(k.receive(url, wait(1))), 0) })
		}},
		{name: "long poll by the queue's attribute", says: "API CreateQueue ReceiveMessageWaitTimeSeconds", check: func(k *kit) {
			url := k.queue("q", attrs{"ReceiveMessageWaitTimeSeconds": "1"})
			k.took("ReceiveMessage", time.Second, 1800*time.Millisecond, func() { k.receive(url, wait(0)) })
		}},
		{name: "long poll wakes on a send", says: "Developer guide, long polling", check: func(k *kit) {
			url := k.queue("q", nil)
			sent := make(chan error, 1)
			go func() {
				time.Sleep(300 * time.Millisecond)
				_, err := k.trySend(url, "hello")
				sent <- err
			}()
			k.took("ReceiveMessage", 200*time.Millisecond, 1500*time.Millisecond, func() { k.one(url, wait(4)) })
			k.must("SendMessage", <-sent)
		}},
		{name: "long poll wakes at the end of a lease", says: "Developer guide, visibility timeout", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			k.took("ReceiveMessage", 500*time.Millisecond, 2*time.Second, func() {
				k.one(url, lease(1))
				k.one(url, wait(4))
			})
		}},
		{name: "a cancelled poll takes a message with it", says: "observed by users of the Java SDK", check: func(k *kit) {
			url := k.queue("q", attrs{"VisibilityTimeout": "2"})
			ctx, cancel := context.WithTimeout(k.ctx, 300*time.Millisecond)
			defer cancel()
			_, err := k.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 4})
			if err == nil {
				k.fail("the poll was not cancelled")
			}
			k.send(url, "hello")
			k.equal("messages after the cancel", len(k.receive(url, wait(0))), 0)
			k.equal("ApproximateReceiveCount", k.one(url, wait(4)).Attributes["ApproximateReceiveCount"], 2)
		}},
		{name: "a leased message is hidden and comes back", says: "Developer guide, visibility timeout", check: func(k *kit) {
			url := k.queue("q", attrs{"VisibilityTimeout": "1"})
			k.send(url, "hello")
			a := k.one(url)
			k.equal("messages in the lease", len(k.receive(url, wait(0))), 0)
			b := k.one(url, wait(3))
			k.equal("id", *b.MessageId, *a.MessageId)
			k.equal("ApproximateReceiveCount", b.Attributes["ApproximateReceiveCount"], 2)
			if *a.ReceiptHandle == *b.ReceiptHandle {
				k.fail("the second receive has the first one's handle")
			}
		}},
		{name: "oldest messages go first", says: "Developer guide, best-effort ordering", check: func(k *kit) {
			url := k.queue("q", nil)
			for i := range 5 {
				k.send(url, strconv.Itoa(i))
			}
			k.equal("bodies", k.bodies(url, 5), "[0 1 2 3 4]")
		}},
	}
}

func deleteRules() []rule {
	return []rule{
		{name: "delete", says: "API DeleteMessage", check: func(k *kit) {
			url := k.queue("q", attrs{"VisibilityTimeout": "1"})
			k.send(url, "hello")
			k.delete(url, k.one(url))
			k.equal("messages", len(k.receive(url, wait(2))), 0)
		}},
		{name: "delete twice", says: "API DeleteMessage", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url)
			k.delete(url, m)
			k.delete(url, m)
		}},
		{name: "delete with garbage", says: "API ReceiptHandleIsInvalid", check: func(k *kit) {
			k.wants("DeleteMessage", k.tryDelete(k.queue("q", nil), "garbage"), "ReceiptHandleIsInvalid")
		}},
		{name: "delete with an old handle", says: "API DeleteMessage", check: func(k *kit) {
			url := k.queue("q", attrs{"VisibilityTimeout": "1"})
			k.send(url, "hello")
			old := k.one(url)
			k.one(url, wait(3))
			k.delete(url, old)
			k.one(url, wait(3))
		}},
		{name: "delete after the lease", says: "API DeleteMessage", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url, lease(1))
			time.Sleep(1200 * time.Millisecond)
			k.delete(url, m)
			k.equal("messages", len(k.receive(url, wait(1))), 0)
		}},
		{name: "delete a batch with one bad handle", says: "API DeleteMessageBatch", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			out, err := k.client.DeleteMessageBatch(k.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: []types.DeleteMessageBatchRequestEntry{
				{Id: aws.String("good"), ReceiptHandle: k.one(url).ReceiptHandle}, {Id: aws.String("bad"), ReceiptHandle: aws.String("garbage")},
			}})
			k.must("DeleteMessageBatch", err)
			if len(out.Successful) != 1 || len(out.Failed) != 1 || *out.Failed[0].Id != "bad" {
				k.fail("%d successes and %d failures, want 1 and 1", len(out.Successful), len(out.Failed))
			}
			k.equal("code", *out.Failed[0].Code, "ReceiptHandleIsInvalid")
		}},
	}
}

func leaseRules() []rule {
	return []rule{
		{name: "release at once", says: "API ChangeMessageVisibility", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			k.must("ChangeMessageVisibility", k.change(url, k.one(url), 0))
			k.one(url, wait(0))
		}},
		{name: "extend a lease", says: "API ChangeMessageVisibility", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			k.must("ChangeMessageVisibility", k.change(url, k.one(url, lease(1)), 60))
			k.equal("messages", len(k.receive(url, wait(2))), 0)
		}},
		{name: "a changed lease counts from the change", says: "API ChangeMessageVisibility", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url)
			time.Sleep(1200 * time.Millisecond)
			k.took("the message", 1200*time.Millisecond, 3*time.Second, func() {
				k.must("ChangeMessageVisibility", k.change(url, m, 2))
				k.one(url, wait(4))
			})
		}},
		{name: "an extended lease is not kept", says: "API ChangeMessageVisibility", check: func(k *kit) {
			url := k.queue("q", attrs{"VisibilityTimeout": "1"})
			k.send(url, "hello")
			m := k.one(url)
			k.must("ChangeMessageVisibility", k.change(url, m, 60))
			k.must("ChangeMessageVisibility", k.change(url, m, 0))
			k.one(url, wait(0))
			k.one(url, wait(3))
		}},
		{name: "change leases in a batch", says: "API ChangeMessageVisibilityBatch", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			out, err := k.client.ChangeMessageVisibilityBatch(k.ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
				{Id: aws.String("good"), ReceiptHandle: k.one(url).ReceiptHandle}, {Id: aws.String("bad"), ReceiptHandle: aws.String("garbage")},
			}})
			k.must("ChangeMessageVisibilityBatch", err)
			k.equal("successes and failures", []int{len(out.Successful), len(out.Failed)}, []int{1, 1})
			k.one(url, wait(0))
		}},
		{name: "lease beyond 12 h", says: "API ChangeMessageVisibility VisibilityTimeout", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			k.wants("ChangeMessageVisibility", k.change(url, k.one(url), 43201), parameter...)
		}},
		{name: "leases beyond 12 h in all", says: "API ChangeMessageVisibility", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url)
			time.Sleep(1200 * time.Millisecond)
			k.wants("ChangeMessageVisibility", k.change(url, m, 43200), parameter...)
		}},
		{name: "change the lease of a visible message", says: "API MessageNotInflight", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url)
			k.must("ChangeMessageVisibility", k.change(url, m, 0))
			k.wants("second ChangeMessageVisibility", k.change(url, m, 5), append([]string{"MessageNotInflight"}, parameter...)...)
		}},
		{name: "change the lease of a deleted message", says: "API ChangeMessageVisibility", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			m := k.one(url)
			k.delete(url, m)
			k.wants("ChangeMessageVisibility", k.change(url, m, 5), append([]string{"MessageNotInflight", "ReceiptHandleIsInvalid"}, parameter...)...)
		}},
		{name: "change a lease with an old handle", says: "observed by users of ecs-watchbot", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello")
			old := k.one(url, lease(1))
			k.one(url, wait(3))
			k.wants("ChangeMessageVisibility", k.change(url, old, 0), append([]string{"MessageNotInflight"}, parameter...)...)
		}},
		{name: "change a lease with garbage", says: "API ReceiptHandleIsInvalid", check: func(k *kit) {
			k.wants("ChangeMessageVisibility", k.change(k.queue("q", nil), types.Message{ReceiptHandle: aws.String("garbage")}, 5), "ReceiptHandleIsInvalid")
		}},
	}
}

func redriveRules() []rule {
	return []rule{
		{name: "too many receives", says: "Developer guide, dead-letter queues", check: func(k *kit) {
			url, dlq := k.withDLQ("", 2, attrs{"VisibilityTimeout": "0"})
			sent := k.send(url, "hello")
			first := k.one(url)
			k.one(url)
			k.equal("third receive", len(k.receive(url)), 0)
			m := k.one(dlq)
			k.equal("id", *m.MessageId, *sent.MessageId)
			k.equal("body", *m.Body, "hello")
			k.equal("SentTimestamp", m.Attributes["SentTimestamp"], first.Attributes["SentTimestamp"])
		}},
		{name: "a dead letter names its source", says: "API DeadLetterQueueSourceArn", check: func(k *kit) {
			url, dlq := k.withDLQ("", 1, attrs{"VisibilityTimeout": "0"})
			k.send(url, "hello")
			k.one(url)
			k.equal("second receive", len(k.receive(url)), 0)
			k.equal("DeadLetterQueueSourceArn", k.one(dlq).Attributes["DeadLetterQueueSourceArn"], k.attribute(url, "QueueArn"))
		}},
		{name: "a dead letter counts all its receives", says: "API ReceiveMessage ApproximateReceiveCount", check: func(k *kit) {
			url, dlq := k.withDLQ("", 2, attrs{"VisibilityTimeout": "0"})
			k.send(url, "hello")
			k.one(url)
			k.one(url)
			k.equal("third receive", len(k.receive(url)), 0)
			if n := k.one(dlq).Attributes["ApproximateReceiveCount"]; n != "3" && n != "4" {
				k.fail("ApproximateReceiveCount = %s, want 3, or 4 if the receive that moved it counts", n)
			}
		}},
		{name: "dead letters wake a poll of their queue", says: "Developer guide, dead-letter queues", check: func(k *kit) {
			url, dlq := k.withDLQ("", 1, attrs{"VisibilityTimeout": "0"})
			k.send(url, "hello")
			k.one(url)
			moved := make(chan error, 1)
			go func() {
				time.Sleep(300 * time.Millisecond)
				_, err := k.tryReceive(url, wait(0))
				moved <- err
			}()
			k.took("ReceiveMessage", 200*time.Millisecond, 2*time.Second, func() { k.one(dlq, wait(4)) })
			k.must("ReceiveMessage", <-moved)
		}},
		{name: "dead letters of FIFO keep their group", says: "Developer guide, dead-letter queues", check: func(k *kit) {
			url, dlq := k.withDLQ(".fifo", 1, attrs{"VisibilityTimeout": "0"})
			k.send(url, "hello", group("g", "d"))
			k.one(url)
			k.equal("second receive", len(k.receive(url)), 0)
			k.equal("MessageGroupId", k.one(dlq).Attributes["MessageGroupId"], "g")
		}},
		{name: "list the sources of a dead-letter queue", says: "API ListDeadLetterSourceQueues", check: func(k *kit) {
			url, dlq := k.withDLQ("", 1, nil)
			out, err := k.client.ListDeadLetterSourceQueues(k.ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &dlq})
			k.must("ListDeadLetterSourceQueues", err)
			k.equal("sources", out.QueueUrls, []string{url})
		}},
		{name: "no dead-letter queue of that name", says: "Developer guide, dead-letter queues", check: func(k *kit) {
			arn := k.attribute(k.queue("q", nil), "QueueArn")
			_, err := k.create("source", attrs{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":"%sx","maxReceiveCount":3}`, arn)})
			k.wants("CreateQueue", err, append(slices.Clone(parameter), noQueue...)...)
		}},
		{name: "a FIFO dead-letter queue for a standard queue", says: "API CreateQueue RedrivePolicy", check: func(k *kit) {
			arn := k.attribute(k.queue("dlq.fifo", nil), "QueueArn")
			_, err := k.create("source", attrs{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":3}`, arn)})
			k.wants("CreateQueue", err, parameter...)
		}},
		{name: "a dead-letter queue that allows nobody", says: "API CreateQueue RedriveAllowPolicy", check: func(k *kit) {
			arn := k.attribute(k.queue("dlq", attrs{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`}), "QueueArn")
			_, err := k.create("source", attrs{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":3}`, arn)})
			k.wants("CreateQueue", err, parameter...)
		}},
		{name: "maxReceiveCount out of range", says: "Developer guide, dead-letter queues", check: func(k *kit) {
			arn := k.attribute(k.queue("dlq", nil), "QueueArn")
			for _, n := range []int{0, 1001} {
				_, err := k.create("source", attrs{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, arn, n)})
				k.wants(fmt.Sprint("CreateQueue with ", n), err, append([]string{"InvalidAttributeValue"}, parameter...)...)
			}
		}},
		{name: "age of a standard dead letter", says: "Developer guide, dead-letter queue retention", takes: time.Minute, check: func(k *kit) {
			k.equal("dead letters", k.agedDeadLetters(""), 0)
		}},
		{name: "age of a FIFO dead letter", says: "Developer guide, dead-letter queue retention", takes: time.Minute, check: func(k *kit) {
			k.equal("dead letters", k.agedDeadLetters(".fifo"), 1)
		}},
	}
}

// agedDeadLetters counts what a dead-letter queue of one minute holds of a message that was moved
// there 40 s after it was sent, another 40 s later.
func (k *kit) agedDeadLetters(suffix string) int {
	url, dlq := k.withDLQ(suffix, 1, attrs{"VisibilityTimeout": "0"})
	_, err := k.client.SetQueueAttributes(k.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &dlq, Attributes: attrs{"MessageRetentionPeriod": "60"}})
	k.must("SetQueueAttributes", err)
	if suffix == "" {
		k.send(url, "hello")
	} else {
		k.send(url, "hello", group("g", "d"))
	}
	k.one(url)
	time.Sleep(40 * time.Second)
	k.receive(url, wait(0))
	time.Sleep(40 * time.Second)
	return len(k.receive(dlq))
}

func fifoRules() []rule {
	return []rule{
		{name: "FIFO keeps the order of a group", says: "Developer guide, FIFO delivery logic", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			for i := range 5 {
				k.send(url, strconv.Itoa(i), group("g", strconv.Itoa(i)))
			}
			k.equal("bodies", k.drain(url, 5), "[0 1 2 3 4]")
		}},
		{name: "FIFO gives several of a group at once", says: "Developer guide, FIFO delivery logic", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			for i := range 3 {
				k.send(url, strconv.Itoa(i), group("g", strconv.Itoa(i)))
			}
			k.equal("messages", len(k.receive(url)), 3)
		}},
		{name: "FIFO holds a group while it is in flight", says: "Developer guide, FIFO delivery logic", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "a1", group("a", "1"))
			k.send(url, "a2", group("a", "2"))
			k.send(url, "b1", group("b", "3"))
			a := k.one(url, most(1))
			k.equal("first", *a.Body, "a1")
			k.equal("other group", *k.one(url).Body, "b1")
			k.equal("messages", len(k.receive(url, wait(0))), 0)
			k.delete(url, a)
			k.equal("next of the group", *k.one(url).Body, "a2")
		}},
		{name: "FIFO wakes a poll when a group opens", says: "Developer guide, FIFO delivery logic", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "a1", group("a", "1"))
			k.send(url, "a2", group("a", "2"))
			a := k.one(url, most(1))
			deleted := make(chan error, 1)
			go func() {
				time.Sleep(300 * time.Millisecond)
				deleted <- k.tryDelete(url, *a.ReceiptHandle)
			}()
			k.took("ReceiveMessage", 200*time.Millisecond, 2*time.Second, func() { k.equal("body", *k.one(url, wait(4)).Body, "a2") })
			k.must("DeleteMessage", <-deleted)
		}},
		{name: "FIFO keeps the order after a release", says: "Developer guide, FIFO delivery logic", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "1", group("g", "1"))
			k.send(url, "2", group("g", "2"))
			k.must("ChangeMessageVisibility", k.change(url, k.one(url, most(1)), 0))
			k.equal("bodies", k.drain(url, 2), "[1 2]")
		}},
		{name: "FIFO deduplicates what is queued", says: "Developer guide, exactly-once processing", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "first", group("g", "d"))
			k.send(url, "second", group("g", "d"))
			k.equal("bodies", k.drain(url, 2), "[first]")
		}},
		{name: "FIFO deduplicates what was deleted", says: "API SendMessage MessageDeduplicationId", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "first", group("g", "d"))
			k.drain(url, 1)
			k.send(url, "second", group("g", "d"))
			k.equal("bodies", k.drain(url, 1), "[]")
		}},
		{name: "FIFO deduplicates by content", says: "API CreateQueue ContentBasedDeduplication", check: func(k *kit) {
			url := k.queue("q.fifo", attrs{"ContentBasedDeduplication": "true"})
			k.send(url, "same", group("g", ""))
			k.send(url, "same", group("g", ""))
			k.send(url, "same", group("g", "own"))
			k.send(url, "other", group("g", ""))
			k.equal("bodies", k.drain(url, 4), "[same same other]")
		}},
		{name: "FIFO deduplicates by group", says: "API CreateQueue DeduplicationScope", check: func(k *kit) {
			url := k.queue("q.fifo", attrs{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
			k.send(url, "a", group("a", "d"))
			k.send(url, "b", group("b", "d"))
			k.send(url, "c", group("a", "d"))
			k.equal("messages", len(k.drain(url, 3)), 2)
		}},
		{name: "FIFO forgets after five minutes", says: "API SendMessage MessageDeduplicationId", takes: 5 * time.Minute, check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "first", group("g", "d"))
			k.drain(url, 1)
			time.Sleep(4*time.Minute + 58*time.Second)
			k.send(url, "second", group("g", "d"))
			time.Sleep(3 * time.Second)
			k.send(url, "third", group("g", "d"))
			k.equal("bodies", k.drain(url, 2), "[third]")
		}},
		{name: "FIFO needs a group", says: "API SendMessage MessageGroupId", check: func(k *kit) {
			_, err := k.trySend(k.queue("q.fifo", nil), "hello", func(in *sqs.SendMessageInput) { in.MessageDeduplicationId = aws.String("d") })
			k.wants("SendMessage", err, append(slices.Clone(absent), parameter...)...)
		}},
		{name: "FIFO needs a deduplication id", says: "API SendMessage MessageDeduplicationId", check: func(k *kit) {
			_, err := k.trySend(k.queue("q.fifo", nil), "hello", group("g", ""))
			k.wants("SendMessage", err, parameter...)
		}},
		{name: "FIFO has no delay of a message", says: "API SendMessage DelaySeconds", check: func(k *kit) {
			_, err := k.trySend(k.queue("q.fifo", nil), "hello", group("g", "d"), func(in *sqs.SendMessageInput) { in.DelaySeconds = 5 })
			k.wants("SendMessage", err, parameter...)
		}},
		{name: "FIFO system attributes", says: "API ReceiveMessage MessageSystemAttributeNames", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			first := aws.ToString(k.send(url, "a", group("g", "1")).SequenceNumber)
			m := k.one(url, most(1))
			k.equal("MessageGroupId", m.Attributes["MessageGroupId"], "g")
			k.equal("MessageDeduplicationId", m.Attributes["MessageDeduplicationId"], "1")
			k.equal("SequenceNumber", m.Attributes["SequenceNumber"], first)
		}},
		{name: "FIFO sequence numbers grow", says: "API SendMessage SequenceNumber", check: func(k *kit) {
			url, last := k.queue("q.fifo", nil), ""
			for i := range 8 { // random numbers pass once in 40,320 times
				next := aws.ToString(k.send(url, "a", group("g", strconv.Itoa(i))).SequenceNumber)
				if next == "" || len(next) < len(last) || len(next) == len(last) && next <= last {
					k.fail("%q after %q", next, last)
				}
				last = next
			}
		}},
		{name: "FIFO repeats a receive attempt", says: "API ReceiveMessage ReceiveRequestAttemptId", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "a", group("g", "1"))
			attempt := func(in *sqs.ReceiveMessageInput) { in.ReceiveRequestAttemptId = aws.String("try") }
			a, b := k.one(url, attempt), k.one(url, attempt)
			k.equal("handle", *b.ReceiptHandle, *a.ReceiptHandle)
			k.delete(url, a)
			k.equal("messages after the delete", len(k.receive(url, attempt, wait(0))), 0)
		}},
		{name: "FIFO refuses a late delete", says: "API ReceiveMessage ReceiveRequestAttemptId", check: func(k *kit) {
			url := k.queue("q.fifo", nil)
			k.send(url, "a", group("g", "1"))
			m := k.one(url, lease(1))
			time.Sleep(1200 * time.Millisecond)
			k.wants("DeleteMessage", k.tryDelete(url, *m.ReceiptHandle), parameter...)
			k.one(url)
		}},
		{name: "FIFO delay of the queue", says: "Developer guide, delay queues", check: func(k *kit) {
			url := k.queue("q.fifo", attrs{"DelaySeconds": "1"})
			k.send(url, "1", group("g", "1"))
			k.send(url, "2", group("g", "2"))
			k.equal("messages at once", len(k.receive(url, wait(0))), 0)
			k.equal("bodies", k.drain2(url), "[1 2]")
		}},
	}
}

// drain2 waits up to 3 s for each of two messages.
func (k *kit) drain2(url string) (all []string) {
	for range 2 {
		for _, m := range k.receive(url, wait(3), most(1)) {
			all = append(all, *m.Body)
			k.delete(url, m)
		}
	}
	return all
}

func fairRules() []rule {
	return []rule{
		{name: "group id on a standard queue", says: "Developer guide, fair queues", check: func(k *kit) {
			url := k.queue("q", nil)
			k.send(url, "a", group("tenant", ""))
			k.send(url, "b", group("tenant", ""))
			got := k.receive(url)
			for len(got) < 2 {
				more := k.receive(url)
				if len(more) == 0 {
					break
				}
				got = append(got, more...)
			}
			k.equal("messages at once", len(got), 2)
			k.equal("MessageGroupId", got[0].Attributes["MessageGroupId"], "tenant")
		}},
		{name: "quiet tenants go before a noisy one", says: "Developer guide, how fair queues work", check: func(k *kit) {
			url := k.queue("q", nil)
			for range 5 {
				all := items(10)
				for i := range all {
					all[i].MessageGroupId = aws.String("noisy")
				}
				_, err := k.sendBatch(url, all...)
				k.must("SendMessageBatch", err)
			}
			k.send(url, "quiet", group("quiet", ""))
			if got := k.bodies(url, 41); !slices.Contains(got, "quiet") {
				k.fail("the quiet tenant's message is not among the first %d of 51", len(got))
			}
		}},
	}
}
