package sqsqueue_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// waits notes what an SQS without messages is asked for.
type waits struct {
	sqsqueue.API
	seconds int32
	patient bool // the request has more time than SQS takes to say that there is nothing
}

func (w *waits) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	w.seconds = in.WaitTimeSeconds
	deadline, ok := ctx.Deadline()
	w.patient = !ok || time.Until(deadline) > time.Duration(w.seconds)*time.Second
	return &sqs.ReceiveMessageOutput{}, nil
}

// A poll that waits for less than a second still waits: a worker would make as many as it can of polls that do not, and SQS bills each.
func TestShortPollsWait(t *testing.T) {
	for wait, want := range map[time.Duration]int32{0: 0, time.Millisecond: 1, 1500 * time.Millisecond: 2, 20 * time.Second: 20} {
		api := &waits{}
		q, err := sqsqueue.New(api, "https://sqs.us-east-1.amazonaws.com/000000000000/q", sqsqueue.Config{Timeout: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Receive(t.Context(), queue.ReceiveRequest{Max: 1, Lease: time.Minute, Wait: wait}); err != nil || api.seconds != want {
			t.Errorf("Receive that waits for %v asks for %d s, %v, want %d", wait, api.seconds, err, want)
		}
		if !api.patient {
			t.Errorf("Receive that waits for %v gives up before SQS has waited for %d s", wait, want)
		}
	}
}
