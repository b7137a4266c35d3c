package retryaws_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/servertest"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryaws"
)

// flaky loses the first two requests of each operation on their way and the next answer on its way back.
type flaky struct {
	base     http.RoundTripper
	requests atomic.Int64
}

var errLostRequest = errors.New("connection reset by peer")

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	n := f.requests.Add(1)
	if n <= 2 {
		return nil, errLostRequest
	}
	resp, err := f.base.RoundTrip(r)
	if n == 3 && err == nil {
		resp.Body.Close()
		return nil, errLostRequest
	}
	return resp, err
}

// TestRealSQS sends over a bad network to a real server, with a deduplication ID: four attempts, one message.
func TestRealSQS(t *testing.T) {
	endpoint := servertest.Env(t, servertest.SQSA)
	both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
		ctx := t.Context()
		cfg := configFor(endpoint)
		quiet := sqs.NewFromConfig(cfg)
		queue, err := quiet.CreateQueue(ctx, &sqs.CreateQueueInput{
			QueueName:  aws.String("retryaws-" + strconv.FormatInt(time.Now().UnixNano(), 36) + ".fifo"),
			Attributes: map[string]string{"FifoQueue": "true"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_, _ = quiet.DeleteQueue(context.WithoutCancel(ctx), &sqs.DeleteQueueInput{QueueUrl: queue.QueueUrl})
		}()

		network := &flaky{base: &http.Transport{}}
		cfg.HTTPClient = &http.Client{Transport: network}
		apply(&cfg, &retry.Policy{Name: "sqs", Backoff: retry.FullJitter(time.Millisecond, 10*time.Millisecond)})
		client := sqs.NewFromConfig(cfg)
		sent, err := client.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: queue.QueueUrl, MessageBody: aws.String("charge order 7"),
			MessageGroupId: aws.String("7"), MessageDeduplicationId: aws.String("order-7"),
		})
		if err != nil || network.requests.Load() != 4 {
			t.Fatalf("SendMessage = %v in %d attempts, want success in 4", err, network.requests.Load())
		}
		got, err := quiet.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
		if err != nil || len(got.Messages) != 1 || *got.Messages[0].MessageId != *sent.MessageId {
			t.Errorf("the queue holds %v, %v, want the one message %s", got, err, *sent.MessageId)
		}
		_, err = client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("no-such-queue")})
		if _, ok := errors.AsType[*types.QueueDoesNotExist](err); !ok || network.requests.Load() != 5 {
			t.Errorf("GetQueueUrl = %v in %d attempts, want QueueDoesNotExist in 1", err, network.requests.Load()-4)
		}
	})
}

// TestRealSQSFrozen freezes a private server: the deadline is kept, the error says what is not known, and the
// client works again when the server does.
func TestRealSQSFrozen(t *testing.T) {
	server := servertest.Start(t, servertest.SQSEast)
	cfg := configFor(server.Addr())
	cfg.HTTPClient = &http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{}}
	retryaws.Use(&cfg, &retry.Policy{Name: "sqs", Backoff: retry.Constant(10 * time.Millisecond), MaxAttempts: retry.Unlimited, Budget: retry.NoBudget})
	client := sqs.NewFromConfig(cfg)
	queue, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("frozen")})
	if err != nil {
		t.Fatal(err)
	}
	send := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("x")})
		return err
	}
	server.Freeze()
	err = send()
	e, ok := errors.AsType[*retry.Error](err)
	if !ok || e.Attempts < 2 || outcome.Of(err) != outcome.Unknown {
		t.Errorf("SendMessage to a frozen server = %v, outcome %d, want a retry.Error of several attempts, unknown", err, outcome.Of(err))
	}
	server.Resume()
	if err := send(); err != nil {
		t.Errorf("SendMessage after the freeze = %v", err)
	}
}
