package retryaws_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryaws"
)

// A server that is throttled twice. The SDK numbers the attempts in a header of its own.
func ExampleUse() {
	server := newFakeSQS(throttled, throttled) // speaks enough of SQS
	defer server.Close()

	cfg := server.config() // in a service: config.LoadDefaultConfig(ctx)
	retryaws.Use(&cfg, &retry.Policy{Name: "sqs", Backoff: retry.Fixed(0, 0, 0)})
	client := sqs.NewFromConfig(cfg)

	out, err := client.GetQueueUrl(context.Background(), &sqs.GetQueueUrlInput{QueueName: aws.String("orders")})
	fmt.Println(*out.QueueUrl, err)
	for _, header := range server.seen() {
		fmt.Println(header)
	}
	// Output:
	// http://queue <nil>
	// attempt=1; max=4
	// attempt=2; max=4
	// attempt=3; max=4
}

// An operation that is given up says why, and what is known of all its attempts.
func ExampleUse_givenUp() {
	server := newFakeSQS(lost, broken)
	defer server.Close()

	cfg := server.config()
	retryaws.Use(&cfg, &retry.Policy{Name: "sqs", MaxAttempts: 2, Backoff: retry.Constant(0)})
	client := sqs.NewFromConfig(cfg)

	_, err := client.GetQueueUrl(context.Background(), &sqs.GetQueueUrlInput{QueueName: aws.String("orders")})
	if e, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(e.Reason, "after", e.Attempts, "attempts, outcome unknown:", e.OutcomeUnknown())
	}
	// Output: attempts used up after 2 attempts, outcome unknown: true
}

// The bare retryer, for a client that takes nothing else.
func ExampleNew() {
	server := newFakeSQS(throttled)
	defer server.Close()

	client := sqs.NewFromConfig(server.config(), func(o *sqs.Options) {
		o.Retryer = retryaws.New(&retry.Policy{Name: "sqs", Backoff: retry.Constant(0)})
	})
	out, err := client.GetQueueUrl(context.Background(), &sqs.GetQueueUrlInput{QueueName: aws.String("orders")})
	fmt.Println(*out.QueueUrl, err)
	// Output: http://queue <nil>
}
