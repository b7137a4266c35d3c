package sqsqueue_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// TestServerSideRedrive has a worker bury calls, moves them back by the server's own task and has another worker run them.
func TestServerSideRedrive(t *testing.T) {
	_, endpoint := newServer(t)
	testServerSideRedrive(t, endpoint)
}

// TestServerSideRedriveOnAServer does so on a server that another project wrote. None of those that scripts/servers starts
// has the action: fauxqs does not know it and moto answers 500. local-aws-sqs 2.0.2 has it.
func TestServerSideRedriveOnAServer(t *testing.T) {
	endpoint := os.Getenv("HOLDFAST_TEST_SQS_MOVE")
	if endpoint == "" {
		t.Skip("HOLDFAST_TEST_SQS_MOVE names no server with StartMessageMoveTask, such as local-aws-sqs")
	}
	testServerSideRedrive(t, endpoint)
}

func testServerSideRedrive(t *testing.T, endpoint string) {
	const calls = 25
	api := client(endpoint, "us-east-1")
	deadURL, mainURL := create(t, api, false), create(t, api, false)
	policy := fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"1000"}`, arn(t, api, deadURL))
	if _, err := api.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &mainURL, Attributes: map[string]string{"RedrivePolicy": policy}}); err != nil {
		t.Fatal(err)
	}
	dead := must(t)(sqsqueue.New(api, deadURL, sqsqueue.Config{}))
	main := must(t)(sqsqueue.New(api, mainURL, sqsqueue.Config{DeadLetterURL: deadURL}))
	ledger := queue.NewLedger()
	c, err := queue.NewClient(main, queue.ClientConfig{Ledger: ledger})
	if err != nil {
		t.Fatal(err)
	}
	for n := range calls {
		if _, err := place.Defer(t.Context(), c, order{n}); err != nil {
			t.Fatal(err)
		}
	}
	var down atomic.Bool
	var dies, runs atomic.Int64
	down.Store(true)
	mux := queue.NewMux()
	queue.Handle(mux, place, func(context.Context, order) error {
		if down.Load() {
			return permanent{}
		}
		runs.Add(1)
		return nil
	}, queue.HandlerConfig{})
	w, err := queue.NewWorker(main, mux, queue.WorkerConfig{Ledger: ledger, Poll: time.Second, OnDead: func(context.Context, queue.DeadLetter) { dies.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	within(t, "every call is dead", func() bool { return dies.Load() == calls })

	down.Store(false)
	var audit bytes.Buffer
	report, err := queue.Redrive(t.Context(), dead, main, queue.Filter{}, queue.RedriveConfig{By: "ops", Reason: "fixed", Audit: &audit, ServerSide: true, PerSecond: 100})
	if err != nil || report.Task == "" || !strings.Contains(audit.String(), report.Task) {
		t.Fatalf("Redrive = %+v, %v, audit %s, want a task, recorded", report, err, audit.String())
	}
	within(t, "every call has run", func() bool { return runs.Load() >= calls })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r := ledger.Check(t.Context(), map[string]queue.Holding{"main": main, "dead": dead}); !r.Balanced() || r.Done != calls || runs.Load() != calls {
		t.Errorf("ledger %+v, %d runs, want %d done once", r, runs.Load(), calls)
	}
}

// permanent is an error that no repetition mends.
type permanent struct{}

func (permanent) Error() string   { return "broken" }
func (permanent) Permanent() bool { return true }

func must(t *testing.T) func(*sqsqueue.Queue, error) *sqsqueue.Queue {
	return func(q *sqsqueue.Queue, err error) *sqsqueue.Queue {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
}

func arn(t *testing.T, api *sqs.Client, url string) string {
	t.Helper()
	out, err := api.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Attributes[string(types.QueueAttributeNameQueueArn)]
}

// within waits up to half a minute for what another goroutine or process does.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
