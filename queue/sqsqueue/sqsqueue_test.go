package sqsqueue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// bucket is an object store in memory.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	deleted []string
}

func (b *bucket) Put(_ context.Context, key string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key] = slices.Clone(body)
	return nil
}

func (b *bucket) Get(_ context.Context, key string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o, ok := b.objects[key]; ok {
		return o, nil
	}
	return nil, fmt.Errorf("get %q: %w", key, sqsqueue.ErrNoObject)
}

func (b *bucket) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	b.deleted = append(b.deleted, key)
	return nil
}

func TestClaimCheck(t *testing.T) {
	_, endpoint := newServer(t)
	api := client(endpoint, "us-east-1")
	deadURL, url := create(t, api, false), create(t, api, false)
	store := &bucket{objects: map[string][]byte{}}
	q, err := sqsqueue.New(api, url, sqsqueue.Config{DeadLetterURL: deadURL, Claims: sqsqueue.Claims{Store: store, Over: 1 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	text := queue.Define[string]("text.v1")
	c, err := queue.NewClient(q, queue.ClientConfig{SendTimeout: 30 * time.Second}) // the machine may be busy, and nothing is lost here
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("x", 3<<20) // more than any message
	for _, id := range []string{"good", "missing", "damaged"} {
		if _, err := text.Defer(t.Context(), c, want, queue.ID(id)); err != nil {
			t.Fatal(err)
		}
	}
	for key := range store.objects {
		switch {
		case strings.HasPrefix(key, "missing/"):
			delete(store.objects, key)
		case strings.HasPrefix(key, "damaged/"):
			store.objects[key][100] ^= 1
		}
	}
	mux := queue.NewMux()
	got, dead := make(chan string, 3), make(chan queue.DeadLetter, 3)
	queue.Handle(mux, text, func(_ context.Context, s string) error { got <- s; return nil }, queue.HandlerConfig{})
	w, err := queue.NewWorker(q, mux, queue.WorkerConfig{Poll: time.Second, OnDead: func(_ context.Context, l queue.DeadLetter) { dead <- l }})
	if err != nil {
		t.Fatal(err)
	}
	go w.Run(context.Background())
	if s := <-got; s != want {
		t.Errorf("arrived with %d bytes, want %d", len(s), len(want))
	}
	for range 2 {
		if l := <-dead; l.Reason != queue.ReasonClaimMissing || l.CallID == "good" {
			t.Errorf("letter %s with reason %q, want claim_missing", l.CallID, l.Reason)
		}
	}
	if _, err := w.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if len(store.deleted) != 1 || !strings.HasPrefix(store.deleted[0], "good/") {
		t.Errorf("objects deleted: %v, want the good one's alone", store.deleted)
	}
}

func TestOutcomesOfSends(t *testing.T) {
	server, endpoint := newServer(t)
	q, _ := open(t, client(endpoint, "us-east-1"), false, "us-east-1")
	send := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		return q.Send(ctx, []queue.Outgoing{{CallID: "a", Body: "x"}})[0].Err
	}
	tests := []struct {
		name  string
		fault sqstest.Fault
		want  outcome.Outcome
	}{
		{"throttled", sqstest.Fault{Op: "SendMessageBatch", Code: "RequestThrottled", Times: 1}, outcome.NotRun},
		{"server error", sqstest.Fault{Op: "SendMessageBatch", Code: "InternalFailure", Times: 1}, outcome.Unknown},
		{"reply lost", sqstest.Fault{Op: "SendMessageBatch", DropReply: true, Times: 1}, outcome.Unknown},
	}
	for _, tt := range tests {
		before := server.Calls("SendMessageBatch").Requests
		end := server.Inject(tt.fault)
		if err := send(); outcome.Of(err) != tt.want || outcome.Permanent(err) {
			t.Errorf("%s: %v has outcome %d, want %d", tt.name, err, outcome.Of(err), tt.want)
		}
		end()
		if n := server.Calls("SendMessageBatch").Requests - before; n != 1 {
			t.Errorf("%s: %d requests, want 1: the SDK must not retry", tt.name, n)
		}
	}
	gone, err := sqsqueue.New(client("http://127.0.0.1:1", "us-east-1"), "http://127.0.0.1:1/q", sqsqueue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := gone.Send(t.Context(), []queue.Outgoing{{CallID: "a", Body: "x"}})[0].Err; outcome.Of(err) != outcome.NotRun || time.Since(began) > time.Second {
		t.Errorf("connection refused: %v after %v, want not run at once", err, time.Since(began))
	}
}

// Two queues of one Region are told apart by their errors.
func TestErrorsNameTheQueue(t *testing.T) {
	for name, want := range map[string]string{"": `"mails"`, "mails of orders": `"mails of orders"`} {
		q, err := sqsqueue.New(client("http://127.0.0.1:1", "us-east-1"), "http://127.0.0.1:1/000000000000/mails", sqsqueue.Config{Name: name, Region: "us-east-1"})
		if err != nil {
			t.Fatal(err)
		}
		_, received := q.Receive(t.Context(), queue.ReceiveRequest{Max: 1, Lease: time.Minute})
		sent := q.Send(t.Context(), []queue.Outgoing{{CallID: "a", Body: "{}"}})[0].Err
		for what, err := range map[string]error{
			"Receive": received, "Send": sent, "Delete": q.Delete(t.Context(), []*queue.Message{{Receipt: "r"}})[0],
			"Dead": q.Dead(t.Context(), []queue.DeadLetter{{}})[0],
		} {
			if err == nil || !strings.Contains(err.Error(), want+`: Region "us-east-1": `) {
				t.Errorf("%s = %v, want an error that names %s", what, err, want)
			}
		}
		if e, ok := errors.AsType[*queue.SendError](sent); !ok || strconv.Quote(e.Name) != want {
			t.Errorf("Send = %#v, want a SendError of %s", sent, want)
		}
	}
}

func TestCheck(t *testing.T) {
	_, endpoint := newServer(t)
	api := client(endpoint, "us-east-1")
	main, _ := open(t, api, false, "us-east-1")
	var attributes []string
	for _, p := range main.Check(t.Context()) {
		attributes = append(attributes, p.Attribute)
	}
	for _, want := range []string{"MessageRetentionPeriod", "RedrivePolicy"} {
		if !slices.Contains(attributes, want) {
			t.Errorf("problems %v, want %s among them", attributes, want)
		}
	}
	deadURL, url := create(t, api, false), create(t, api, false)
	policy := `{"maxReceiveCount":"100","deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:` + deadURL[strings.LastIndexByte(deadURL, '/')+1:] + `"}`
	for u, a := range map[string]map[string]string{url: {"MessageRetentionPeriod": "1209600", "RedrivePolicy": policy}, deadURL: {"MessageRetentionPeriod": "1209600"}} {
		if _, err := api.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &u, Attributes: a}); err != nil {
			t.Fatal(err)
		}
	}
	good, err := sqsqueue.New(api, url, sqsqueue.Config{DeadLetterURL: deadURL, Region: "us-east-1", Retention: 14 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if problems := good.Check(t.Context()); len(problems) > 0 {
		t.Errorf("problems of a good queue: %v", problems)
	}
	for once, want := range map[time.Duration]int{15 * 24 * time.Hour: 1, 28 * 24 * time.Hour: 0} {
		q, err := sqsqueue.New(api, url, sqsqueue.Config{DeadLetterURL: deadURL, Region: "us-east-1", Retention: 14 * 24 * time.Hour, OnceRetention: once})
		if err != nil {
			t.Fatal(err)
		}
		if problems := q.Check(t.Context()); len(problems) != want || want > 0 && problems[0].Attribute != "Config.OnceRetention" {
			t.Errorf("problems with keys that are remembered for %v: %v, want %d", once, problems, want)
		}
	}
	away, _ := sqsqueue.New(client("http://127.0.0.1:1", "us-east-1"), "http://127.0.0.1:1/q", sqsqueue.Config{})
	if problems := away.Check(t.Context()); len(problems) != 1 || problems[0].Attribute != "GetQueueAttributes" {
		t.Errorf("problems of a queue that is away: %v", problems)
	}
}

func TestConfigErrors(t *testing.T) {
	api := client("http://127.0.0.1:1", "us-east-1")
	for want, c := range map[string]sqsqueue.Config{
		"Timeout": {Timeout: 1}, "Retention": {Retention: time.Second}, "DeadLetterURL": {DeadLetterURL: "https://x/q.fifo"},
		"Claims.Over": {Claims: sqsqueue.Claims{Store: &bucket{}, Over: 1}},
	} {
		if _, err := sqsqueue.New(api, "https://sqs.eu-west-1.amazonaws.com/1/q", c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New with a bad %s = %v", want, err)
		}
	}
	if _, err := sqsqueue.New(nil, "", sqsqueue.Config{}); err == nil {
		t.Error("New without a client succeeds")
	}
	q, err := sqsqueue.New(api, "https://sqs.eu-west-1.amazonaws.com/1/q", sqsqueue.Config{})
	if err != nil || q.Limits().Region != "eu-west-1" {
		t.Errorf("Region %q, %v, want it from the URL", q.Limits().Region, err)
	}
	if _, err := q.Move(t.Context(), nil, 0); err == nil {
		t.Error("Move to nothing succeeds")
	}
}

// TestPolicies keeps docs/iam.md what the table says. HOLDFAST_UPDATE=1 rewrites it.
func TestPolicies(t *testing.T) {
	const path = "../../docs/iam.md"
	want := sqsqueue.PolicyDoc()
	if os.Getenv("HOLDFAST_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is stale (%v): HOLDFAST_UPDATE=1 go test ./queue/sqsqueue -run TestPolicies", path, err)
	}
}

// TestOperationsAreThoseOfTheTable runs everything against a server that counts, and compares with the policies.
func TestOperationsAreThoseOfTheTable(t *testing.T) {
	server, endpoint := newServer(t)
	main, dead := open(t, client(endpoint, "us-east-1"), false, "us-east-1")
	before := map[string]int{}
	for _, op := range sqstest.Operations() {
		before[op] = server.Calls(op).Requests
	}
	ctx := t.Context()
	main.Send(ctx, []queue.Outgoing{{CallID: "a", Body: "a"}, {CallID: "b", Body: "b"}})
	got, err := main.Receive(ctx, queue.ReceiveRequest{Max: 2, Lease: time.Minute})
	if err != nil || len(got) == 0 {
		t.Fatal(err)
	}
	main.Extend(ctx, got, time.Minute)
	main.Dead(ctx, []queue.DeadLetter{{Message: got[0], Body: "x", CallID: "a", Reason: queue.ReasonAttempts}})
	main.Delete(ctx, got)
	_, _ = main.Stats(ctx)
	main.Check(ctx)
	_, _ = dead.Move(ctx, main, 1)
	used := map[string]bool{}
	for _, op := range sqstest.Operations() {
		used[op] = server.Calls(op).Requests > before[op]
	}
	listed := map[string]bool{}
	for _, op := range sqsqueue.OperationsUsed() {
		listed[op] = true
	}
	for op := range used {
		if used[op] != listed[op] {
			t.Errorf("%s: used %t, in the policies' table %t", op, used[op], listed[op])
		}
	}
}
