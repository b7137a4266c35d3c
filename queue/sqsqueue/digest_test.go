package sqsqueue_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// changing is a client whose SQS stores another body than it was sent in the entry called 1.
type changing struct{ sqsqueue.API }

func (c changing) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, options ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	out, err := c.API.SendMessageBatch(ctx, in, options...)
	if err != nil {
		return nil, err
	}
	for i := range out.Successful {
		if *out.Successful[i].Id == "1" {
			other := "d41d8cd98f00b204e9800998ecf8427e"
			out.Successful[i].MD5OfMessageBody = &other
		}
	}
	return out, nil
}

// TestDigestsAreCompared: an acknowledgement of another body is none, and the entries beside it keep theirs.
func TestDigestsAreCompared(t *testing.T) {
	_, endpoint := newServer(t)
	api := client(endpoint, "us-east-1")
	trusting := sqs.New(api.Options(), func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
	for name, test := range map[string]struct {
		api     sqsqueue.API
		changed bool
	}{
		"as they are":           {api, false},
		"one differs":           {changing{api}, true},
		"switched off, as told": {changing{trusting}, false},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := sqsqueue.New(test.api, create(t, api, false), sqsqueue.Config{})
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range q.Send(t.Context(), []queue.Outgoing{{CallID: "a", Body: "0"}, {CallID: "b", Body: "1"}, {CallID: "c", Body: "2"}}) {
				want := test.changed && i == 1
				if bad := r.Err != nil; bad != want || r.Durable == want || want && outcome.Of(r.Err) != outcome.Unknown {
					t.Errorf("result of %d = %+v, want an unknown outcome: %v", i, r, want)
				}
			}
		})
	}
}
