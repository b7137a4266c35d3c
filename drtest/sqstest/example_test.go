package sqstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

func ExampleNew() {
	server, err := sqstest.New(sqstest.Config{})
	if err != nil {
		panic(err)
	}
	ts := httptest.NewServer(server)
	defer ts.Close()
	defer server.Close() // before ts.Close, which waits for open polls
	client := sqs.New(server.Options(ts.URL))

	ctx := context.Background()
	queue, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("orders")})
	if err != nil {
		panic(err)
	}
	_, err = client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("hello")})
	if err != nil {
		panic(err)
	}
	got, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 20})
	if err != nil {
		panic(err)
	}
	fmt.Println(*got.Messages[0].Body)
	fmt.Printf("%+v\n", server.Queue("orders").Counts())
	// Output:
	// hello
	// {Visible:0 InFlight:1 Delayed:0}
}

// A reply that is lost after the message was stored: who sends again, stores it again.
func ExampleServer_Inject() {
	server, client, stop := exampleServer()
	defer stop()
	server.Inject(sqstest.Fault{Op: "SendMessage", DropReply: true, Times: 1})

	orders := server.Queue("orders")
	url := orders.URL()
	_, err := client.SendMessage(context.Background(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("charge 42")})
	fmt.Println("failed:", err != nil)
	_, err = client.SendMessage(context.Background(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("charge 42")})
	fmt.Println("failed:", err != nil)
	fmt.Println("messages:", orders.Depth())
	// Output:
	// failed: true
	// failed: false
	// messages: 2
}

// A throttle: ten requests a second pass.
func ExampleServer_Inject_throttle() {
	server, client, stop := exampleServer()
	defer stop()
	end := server.Inject(sqstest.Fault{Op: "SendMessage", Above: 10, Code: "RequestThrottled"})
	defer end()

	url := server.Queue("orders").URL()
	passed := 0
	for range 15 { // well within a second
		_, err := client.SendMessage(context.Background(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")})
		if _, throttled := errors.AsType[*types.RequestThrottled](err); !throttled {
			passed++
		}
	}
	fmt.Println("some passed:", passed >= 10, "all passed:", passed == 15)
	// Output: some passed: true all passed: false
}

func ExampleQueue_Messages() {
	server, client, stop := exampleServer()
	defer stop()
	orders := server.Queue("orders.fifo")
	url := orders.URL()
	for _, body := range []string{"first", "second", "first"} {
		_, err := client.SendMessage(context.Background(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageGroupId: aws.String("customer-7")})
		if err != nil {
			panic(err)
		}
	}
	for _, m := range orders.Messages() {
		fmt.Println(m.Group, m.Body, m.State)
	}
	fmt.Println(orders.Totals().Deduplicated, "duplicate;", server.Calls("SendMessage").Requests, "requests")
	// Output:
	// customer-7 first visible
	// customer-7 second visible
	// 1 duplicate; 3 requests
}

// exampleServer is a server on loopback and a client that does not retry.
func exampleServer() (*sqstest.Server, *sqs.Client, func()) {
	server, err := sqstest.New(sqstest.Config{})
	if err != nil {
		panic(err)
	}
	ts := httptest.NewServer(server)
	client := sqs.New(server.Options(ts.URL), func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
	return server, client, func() { server.Close(); ts.Close() }
}
