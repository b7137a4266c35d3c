package retryaws_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/internal/servertest"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryaws"
)

// A network that loses two requests and an answer, between a client and a real SQS server: four attempts, and one
// message, because the queue knows the deduplication ID. Without the servers of scripts/servers an embedded one answers.
func ExampleUse_sqs() {
	endpoint, stop := sqsEndpoint()
	defer stop()
	ctx := context.Background()
	cfg := configFor(endpoint) // in a service: config.LoadDefaultConfig(ctx)
	network := &flaky{base: &sqstest.Transport{Base: &http.Transport{}}}
	cfg.HTTPClient = &http.Client{Transport: network}
	queue := newQueue(ctx, endpoint)

	retryaws.Use(&cfg, &retry.Policy{Name: "sqs", Backoff: retry.FullJitter(time.Millisecond, 10*time.Millisecond)})
	client := sqs.NewFromConfig(cfg)
	_, err := client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: queue, MessageBody: aws.String("charge order 7"),
		MessageGroupId: aws.String("7"), MessageDeduplicationId: aws.String("order-7"),
	})
	fmt.Println(err, "after", network.requests.Load(), "attempts")

	got := holdfast.Must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1}))
	fmt.Println(len(got.Messages), "message:", *got.Messages[0].Body)
	// Output:
	// <nil> after 4 attempts
	// 1 message: charge order 7
}

// sqsEndpoint is the server that tests share, or one in this process.
func sqsEndpoint() (endpoint string, stop func()) {
	if endpoint := os.Getenv(string(servertest.SQSA)); endpoint != "" {
		return endpoint, func() {}
	}
	server := holdfast.Must(sqstest.New(sqstest.Config{}))
	ts := httptest.NewServer(server)
	return ts.URL, func() { server.Close(); ts.Close() }
}

func newQueue(ctx context.Context, endpoint string) *string {
	name := "example-" + strconv.FormatInt(time.Now().UnixNano(), 36) + ".fifo"
	out := holdfast.Must(sqs.NewFromConfig(configFor(endpoint)).CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: aws.String(name), Attributes: map[string]string{"FifoQueue": "true"},
	}))
	return out.QueueUrl
}
