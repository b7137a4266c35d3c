package sqstest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// dead makes a queue, a dead-letter queue with n messages that came from it, and their ARNs.
func (k *kit) dead(n int) (url, dlq, urlARN, dlqARN string) {
	url, dlq = k.withDLQ("", 1, attrs{"VisibilityTimeout": "0"})
	for i := range n {
		k.send(url, fmt.Sprint(i))
	}
	for k.attribute(dlq, "ApproximateNumberOfMessages") != fmt.Sprint(n) {
		k.receive(url)
	}
	return url, dlq, k.attribute(url, "QueueArn"), k.attribute(dlq, "QueueArn")
}

func (k *kit) startMove(in sqs.StartMessageMoveTaskInput) string {
	out, err := k.client.StartMessageMoveTask(k.ctx, &in)
	k.must("StartMessageMoveTask", err)
	return *out.TaskHandle
}

func (k *kit) moves(source string, most int32) []types.ListMessageMoveTasksResultEntry {
	out, err := k.client.ListMessageMoveTasks(k.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &source, MaxResults: &most})
	k.must("ListMessageMoveTasks", err)
	return out.Results
}

// moving runs f with its kit; a broken expectation is an error of t.
func moving(t *testing.T, f func(t *testing.T, k *kit)) {
	bubble(t, sqstest.Config{}, func(t *testing.T, _ *sqstest.Server, k *kit) {
		if complaint := (rule{check: func(k *kit) { f(t, k) }}).run(k); complaint != "" {
			t.Error(complaint)
		}
	})
}

func TestMoveBackToTheSource(t *testing.T) {
	moving(t, func(t *testing.T, k *kit) {
		url, dlq, _, source := k.dead(3)
		time.Sleep(time.Hour)
		k.startMove(sqs.StartMessageMoveTaskInput{SourceArn: &source})
		k.equal("left in the dead-letter queue", k.attribute(dlq, "ApproximateNumberOfMessages"), "0")
		got := map[string]bool{}
		for _, m := range k.receive(url, func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 10 }) {
			got[*m.Body] = true
			k.equal("receives", m.Attributes["ApproximateReceiveCount"], "1")
			k.equal("sent", m.Attributes["SentTimestamp"], fmt.Sprint(time.Now().UnixMilli()))
		}
		k.equal("bodies", fmt.Sprint(got), "map[0:true 1:true 2:true]")
		tasks := k.moves(source, 10)
		if len(tasks) != 1 || *tasks[0].Status != "COMPLETED" || tasks[0].ApproximateNumberOfMessagesMoved != 3 || tasks[0].TaskHandle != nil {
			t.Errorf("tasks %+v, want one that moved three, without a handle", tasks)
		}
	})
}

func TestMoveIsPacedAndCancelled(t *testing.T) {
	moving(t, func(t *testing.T, k *kit) {
		_, dlq, target, source := k.dead(10)
		other := k.queue("other", nil)
		otherARN := k.attribute(other, "QueueArn")
		handle := k.startMove(sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &otherARN, MaxNumberOfMessagesPerSecond: aws.Int32(3)})
		_, err := k.client.StartMessageMoveTask(k.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &target})
		k.wants("a second task", err, "AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation")
		k.equal("moved at once", k.attribute(other, "ApproximateNumberOfMessages"), "3")
		time.Sleep(1500 * time.Millisecond)
		k.equal("moved in 1.5 s", k.attribute(other, "ApproximateNumberOfMessages"), "6")
		out, err := k.client.CancelMessageMoveTask(k.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: &handle})
		k.must("CancelMessageMoveTask", err)
		k.equal("moved when cancelled", out.ApproximateNumberOfMessagesMoved, int64(6))
		time.Sleep(time.Minute)
		k.equal("left", k.attribute(dlq, "ApproximateNumberOfMessages"), "4")
		k.startMove(sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &otherARN})
		k.equal("left after another task", k.attribute(dlq, "ApproximateNumberOfMessages"), "0")
		tasks := k.moves(source, 10)
		if len(tasks) != 2 || *tasks[0].Status != "COMPLETED" || *tasks[1].Status != "CANCELLED" {
			t.Errorf("tasks %+v, want the newest first", tasks)
		}
		k.equal("tasks by default", len(k.moves(source, 1)), 1)
	})
}

func TestMoveWakesAPoll(t *testing.T) {
	moving(t, func(_ *testing.T, k *kit) {
		_, _, _, source := k.dead(4)
		other := k.queue("other", nil)
		otherARN := k.attribute(other, "QueueArn")
		k.startMove(sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &otherARN, MaxNumberOfMessagesPerSecond: aws.Int32(3)})
		k.equal("first", len(k.receive(other, func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 10 })), 3)
		k.took("the poll", time.Second, time.Second, func() {
			got := k.receive(other, func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = 20 })
			k.equal("second", len(got), 1)
		})
	})
}

func TestMoveRefuses(t *testing.T) {
	moving(t, func(t *testing.T, k *kit) {
		url, dlq, target, source := k.dead(0)
		missing := []string{"ResourceNotFoundException"}
		for name, tt := range map[string]struct {
			in   sqs.StartMessageMoveTaskInput
			want []string
		}{
			"no such source":        {sqs.StartMessageMoveTaskInput{SourceArn: aws.String(source + "x")}, missing},
			"no such target":        {sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: aws.String(target + "x")}, missing},
			"no dead-letter queue":  {sqs.StartMessageMoveTaskInput{SourceArn: &target}, parameter},
			"to itself":             {sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &source}, parameter},
			"faster than SQS moves": {sqs.StartMessageMoveTaskInput{SourceArn: &source, MaxNumberOfMessagesPerSecond: aws.Int32(501)}, parameter},
		} {
			_, err := k.client.StartMessageMoveTask(k.ctx, &tt.in)
			k.wants(name, err, tt.want...)
		}
		_, err := k.client.CancelMessageMoveTask(k.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: aws.String("x")})
		k.wants("no such task", err, missing...)

		// What a worker sent to the dead-letter queue has no source that SQS knows.
		k.send(dlq, "by a worker")
		k.startMove(sqs.StartMessageMoveTaskInput{SourceArn: &source})
		if tasks := k.moves(source, 1); *tasks[0].Status != "FAILED" || aws.ToString(tasks[0].FailureReason) != "CouldNotDetermineMessageSource" {
			t.Errorf("task %+v, want it failed for want of a source", tasks[0])
		}
		k.startMove(sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &target})
		k.equal("with a destination", *k.one(url).Body, "by a worker")
	})
}
