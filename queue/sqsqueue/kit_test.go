package sqsqueue_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/internal/servertest"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/queuetest"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// deviations is the one table of what the servers do differently from SQS and this package can notice.
var deviations = map[string]map[string]string{
	"sqstest": {},
	"fauxqs":  {},
	"moto": {
		"a stale receipt does not delete": "moto deletes by any receipt the message ever had",
		"FIFO removes duplicates":         "moto forgets the deduplication ID of a deleted message",
	},
}

// credentials that every server takes.
var credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
})

func client(endpoint, region string) *sqs.Client {
	return sqs.New(sqs.Options{Region: region, BaseEndpoint: &endpoint, Credentials: credentials, HTTPClient: &http.Client{Transport: &sqstest.Transport{}}})
}

// create makes a queue with a name of its own.
func create(t testing.TB, api *sqs.Client, fifo bool) string {
	t.Helper()
	var b [8]byte
	rand.Read(b[:])
	in := &sqs.CreateQueueInput{QueueName: aws.String("kit-" + hex.EncodeToString(b[:]))}
	if fifo {
		*in.QueueName += ".fifo"
		in.Attributes = map[string]string{"FifoQueue": "true"}
	}
	out, err := api.CreateQueue(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	url := *out.QueueUrl
	t.Cleanup(func() { _, _ = api.DeleteQueue(context.Background(), &sqs.DeleteQueueInput{QueueUrl: &url}) })
	return url
}

// open makes a queue and its dead-letter queue on api.
func open(t testing.TB, api *sqs.Client, fifo bool, region string) (main, dead *sqsqueue.Queue) {
	t.Helper()
	deadURL := create(t, api, fifo)
	dead, err := sqsqueue.New(api, deadURL, sqsqueue.Config{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	main, err = sqsqueue.New(api, create(t, api, fifo), sqsqueue.Config{DeadLetterURL: deadURL, Region: region})
	if err != nil {
		t.Fatal(err)
	}
	return main, dead
}

func kit(server, endpoint string) queuetest.Kit {
	return queuetest.Kit{Deviations: deviations[server], Open: func(t *testing.T, fifo bool) (main, dead queue.Transport) {
		return open(t, client(endpoint, "us-east-1"), fifo, "us-east-1")
	}}
}

// newServer starts an sqstest server on loopback.
func newServer(t testing.TB) (*sqstest.Server, string) {
	t.Helper()
	server, err := sqstest.New(sqstest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(server)
	t.Cleanup(ts.Close)
	t.Cleanup(server.Close)
	return server, ts.URL
}

func TestConformsOnSqstest(t *testing.T) {
	_, endpoint := newServer(t)
	queuetest.TestTransport(t, kit("sqstest", endpoint))
}

func TestConformsOnFauxqs(t *testing.T) {
	queuetest.TestTransport(t, kit("fauxqs", servertest.Env(t, servertest.SQSA)))
}

func TestConformsOnMoto(t *testing.T) {
	queuetest.TestTransport(t, kit("moto", servertest.Env(t, servertest.SharedMoto)))
}
