package benchmarks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

type note struct {
	Text string `json:"text"`
}

var noteCall = queue.Define[note]("bench.note.v1")

// canned is an HTTP client that answers at once, without a network: what is left is the client's own work.
type canned struct {
	requests *atomic.Int64
	away     time.Duration // what an answer takes
}

// batchReply acknowledges the entries 0 to 9.
var batchReply = func() string {
	var ok []string
	for i := range 10 {
		ok = append(ok, fmt.Sprintf(`{"Id":"%d","MessageId":"00000000-0000-0000-0000-00000000000%d","MD5OfMessageBody":"x"}`, i, i))
	}
	return `{"Successful":[` + strings.Join(ok, ",") + `]}`
}()

func (c canned) Do(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	if c.away > 0 {
		time.Sleep(c.away)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: io.NopCloser(strings.NewReader(batchReply)), Request: r}, nil
}

// credentials that every server takes.
var credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
})

func cannedClient(away time.Duration) (*sqs.Client, *atomic.Int64) {
	requests := new(atomic.Int64)
	return sqs.New(sqs.Options{Region: "us-east-1", Credentials: credentials, HTTPClient: canned{requests, away}, DisableMessageChecksumValidation: true, Retryer: aws.NopRetryer{}}), requests
}

const cannedURL = "https://sqs.us-east-1.amazonaws.com/000000000000/bench"

// BenchmarkQueueClient is ten messages in one request without a network; an operation is one message. sdk is
// SendMessageBatch by hand with bodies that are there already; transport is sqsqueue with the same bodies; client is Defer
// from ten goroutines at a time, with encoding, ID, envelope and batching.
func BenchmarkQueueClient(b *testing.B) {
	body := strings.Repeat("x", 512)
	ctx := context.Background()
	b.Run("sdk", func(b *testing.B) {
		api, _ := cannedClient(0)
		defer cpu(b)()
		b.ReportAllocs()
		for range (b.N + 9) / 10 {
			if err := sendTen(ctx, api, cannedURL, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("transport", func(b *testing.B) {
		api, _ := cannedClient(0)
		q := newQueue(b, api, cannedURL)
		out := make([]queue.Outgoing, 10)
		for i := range out {
			out[i] = queue.Outgoing{CallID: "x", Body: body}
		}
		defer cpu(b)()
		b.ReportAllocs()
		for range (b.N + 9) / 10 {
			if r := q.Send(ctx, out); r[9].Err != nil {
				b.Fatal(r[9].Err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		api, requests := cannedClient(0)
		c, err := queue.NewClient(newQueue(b, api, cannedURL), queue.ClientConfig{})
		if err != nil {
			b.Fatal(err)
		}
		text := note{strings.Repeat("x", 512)}
		defer cpu(b)()
		b.ReportAllocs()
		inParallel(b, 128, func() error { _, err := noteCall.Defer(ctx, c, text); return err })
		b.ReportMetric(float64(b.N)/float64(requests.Load()), "msg/request")
	})
}

// BenchmarkQueueClientPairs is the price of Defer over the SDK: rounds of all in turn, medians, an operation is one message.
// The bodies are the very bytes that Defer makes, or as long:
//
//   - sdk sends ten a request by hand, bodies ready, from 13 goroutines;
//   - sdk-json makes the bodies of their arguments with encoding/json first;
//   - sdk-gather is sdk-json for callers who have one argument each, as Defer's have: 128 goroutines, a channel and 13 goroutines
//     that send what is in it, without names for calls, without contexts, without counting anything;
//   - defer is 128 goroutines with one call each.
//
// The server is a millisecond away, and costs nothing. The collector runs as in a process with 64 MiB of live heap: with the
// 4 MiB of an idle one it is half of what they cost.
func BenchmarkQueueClientPairs(b *testing.B) {
	const some = 5_000
	ctx := context.Background()
	api, _ := cannedClient(time.Millisecond)
	recorder := &recording{API: api}
	q := newQueue(b, recorder, cannedURL)
	c, err := queue.NewClient(q, queue.ClientConfig{})
	if err != nil {
		b.Fatal(err)
	}
	text := note{strings.Repeat("x", 512)}
	if _, err := noteCall.Defer(ctx, c, text); err != nil {
		b.Fatal(err)
	}
	body := recorder.body
	ballast := make([]byte, 64<<20)
	defer runtime.KeepAlive(ballast)
	pairs(b, some, []variant{
		{"sdk", func() {
			inParallelN(b, 13, some/10, func() error { return sendTen(ctx, api, cannedURL, body) })
		}},
		{"sdk-json", func() {
			inParallelN(b, 13, some/10, func() error {
				var bodies [10]string
				for i := range bodies {
					bodies[i] = newEvent(text)
				}
				return sendBatch(ctx, api, cannedURL, bodies[:])
			})
		}},
		{"sdk-gather", func() {
			in := make(chan gathered, 128)
			done := make(chan struct{})
			go func() {
				defer close(done)
				inParallelN(b, 13, 13, func() error {
					return gather(in, func(bodies []string) error { return sendBatch(ctx, api, cannedURL, bodies) })
				})
			}()
			inParallelN(b, 128, some, func() error {
				g := gathered{newEvent(text), make(chan error, 1)}
				in <- g
				return <-g.sent
			})
			close(in)
			<-done
		}},
		{"defer", func() {
			inParallelN(b, 128, some, func() error { _, err := noteCall.Defer(ctx, c, text); return err })
		}},
	})()
	b.ReportMetric(float64(recorder.sent.Load())/float64(recorder.requests.Load()), "msg/request")
}

// event is an envelope by hand.
type event struct {
	SpecVersion, ID, Source, Type string
	Time                          time.Time
	Data                          note
}

func newEvent(text note) string {
	body, err := json.Marshal(event{"1.0", "0192f5a0-0000-7000-8000-000000000000", "client", noteCall.Name(), time.Now().UTC(), text})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// gathered is a body on its way to gather, which says in sent what became of it.
type gathered struct {
	body string
	sent chan error
}

// gather sends what comes out of in, ten at a time or what has come within 2 ms, until in is closed.
func gather(in <-chan gathered, send func(bodies []string) error) error {
	for first := range in {
		all, bodies := []gathered{first}, []string{first.body}
		linger := time.NewTimer(2 * time.Millisecond)
		for waiting := true; waiting && len(all) < 10; {
			select {
			case g, ok := <-in:
				if waiting = ok; ok {
					all, bodies = append(all, g), append(bodies, g.body)
				}
			case <-linger.C:
				waiting = false
			}
		}
		linger.Stop()
		err := send(bodies)
		for _, g := range all {
			g.sent <- err
		}
	}
	return nil
}

// recording keeps a body that was sent.
type recording struct {
	sqsqueue.API
	body           string
	requests, sent atomic.Int64
}

func (r *recording) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, options ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	if r.requests.Add(1) == 1 {
		r.body = *in.Entries[0].MessageBody
	}
	r.sent.Add(int64(len(in.Entries)))
	return r.API.SendMessageBatch(ctx, in, options...)
}

// sendTen is a batch by hand, of one body.
func sendTen(ctx context.Context, api *sqs.Client, url, body string) error {
	var bodies [10]string
	for i := range bodies {
		bodies[i] = body
	}
	return sendBatch(ctx, api, url, bodies[:])
}

func sendBatch(ctx context.Context, api *sqs.Client, url string, bodies []string) error {
	entries := make([]types.SendMessageBatchRequestEntry, len(bodies))
	for i := range entries {
		entries[i] = types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: &bodies[i]}
	}
	_, err := api.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
	return err
}

func newQueue(b *testing.B, api sqsqueue.API, url string) *sqsqueue.Queue {
	q, err := sqsqueue.New(api, url, sqsqueue.Config{Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	return q
}

// inParallel runs f b.N times on n goroutines.
func inParallel(b *testing.B, n int, f func() error) { inParallelN(b, n, b.N, f) }

// inParallelN runs f times times on n goroutines.
func inParallelN(b *testing.B, n, times int, f func() error) {
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			for range (times + n - 1 - g) / n {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkQueueLoopback sends over HTTP to a server in this process, whose work is counted too: one request a message
// by the SDK, and Defer with its batches, both from 64 goroutines.
func BenchmarkQueueLoopback(b *testing.B) {
	server, err := sqstest.New(sqstest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	ts := httptest.NewServer(server)
	defer ts.Close()
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, WriteBufferSize: 32 << 10}
	defer transport.CloseIdleConnections()
	api := sqs.New(server.Options(ts.URL), func(o *sqs.Options) { o.Retryer = aws.NopRetryer{}; o.HTTPClient = &http.Client{Transport: transport} })
	url := server.Queue("bench").URL()
	if !strings.HasPrefix(url, "http") {
		url = ts.URL + url
	}
	ctx := context.Background()
	body := strings.Repeat("x", 256)
	rate := func(b *testing.B, f func() error) {
		defer cpu(b)()
		began := time.Now()
		inParallel(b, 64, f)
		b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "msg/s")
	}
	b.Run("sdk-single", func(b *testing.B) {
		rate(b, func() error {
			_, err := api.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
			return err
		})
	})
	b.Run("holdfast", func(b *testing.B) {
		c, err := queue.NewClient(newQueue(b, api, url), queue.ClientConfig{SendTimeout: 10 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		rate(b, func() error { _, err := noteCall.Defer(ctx, c, note{body}); return err })
	})
}

// BenchmarkQueueServer sends to a server in a process of its own (HOLDFAST_TEST_SQS_A: scripts/servers starts one), one request
// a message by the SDK, ten a request by the SDK, and Defer with its batches in turn, with 64 and with 128 messages
// at a time. An operation is one message; CPU is this process's, which is the client, with 64 MiB of live heap.
func BenchmarkQueueServer(b *testing.B) {
	endpoint := os.Getenv("HOLDFAST_TEST_SQS_A")
	if endpoint == "" {
		b.Skip("HOLDFAST_TEST_SQS_A names no server")
	}
	for _, writers := range []int{64, 128} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) { benchmarkServer(b, endpoint, writers) })
	}
}

func benchmarkServer(b *testing.B, endpoint string, writers int) {
	const some = 128 * 50 // long enough that goroutines with small stacks, and the last batches of a round, do not count
	// With room for a batch, as package sqsqueue advises.
	transport := &http.Transport{MaxIdleConnsPerHost: writers, WriteBufferSize: 32 << 10}
	defer transport.CloseIdleConnections()
	api := sqs.New(sqs.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials, Retryer: aws.NopRetryer{}, HTTPClient: &http.Client{Transport: transport}})
	ctx := context.Background()
	out, err := api.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(fmt.Sprintf("bench-%d", time.Now().UnixNano()))})
	if err != nil {
		b.Fatal(err)
	}
	url := *out.QueueUrl
	defer func() { _, _ = api.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url}) }()
	recorder := &recording{API: api}
	c, err := queue.NewClient(newQueue(b, recorder, url), queue.ClientConfig{SendTimeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	text := note{strings.Repeat("x", 256)}
	if _, err := noteCall.Defer(ctx, c, text); err != nil {
		b.Fatal(err)
	}
	ballast := make([]byte, 64<<20)
	defer runtime.KeepAlive(ballast)
	rates := map[string][]float64{}
	timed := func(name string, writers, times int, f func() error) variant {
		return variant{name, func() {
			began := time.Now()
			inParallelN(b, writers, times, f)
			rates[name] = append(rates[name], some/time.Since(began).Seconds())
		}}
	}
	pairs(b, some, []variant{
		timed("defer", writers, some, func() error { _, err := noteCall.Defer(ctx, c, text); return err }),
		timed("sdk-batch", writers/10, some/10, func() error { return sendTen(ctx, api, url, recorder.body) }),
		timed("sdk-single", writers, some, func() error {
			_, err := api.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &recorder.body})
			return err
		}),
	})()
	b.ReportMetric(median(rates["defer"]), "defer-msg/s")
	b.ReportMetric(median(rates["sdk-single"]), "sdk-single-msg/s")
	b.ReportMetric(median(rates["defer"])/median(rates["sdk-single"]), "times-msg/s")
	b.ReportMetric(float64(recorder.sent.Load())/float64(recorder.requests.Load()), "msg/request")
}

// BenchmarkQueueMemory is the whole life of a call in memory: Defer, receive, decode, run, delete.
func BenchmarkQueueMemory(b *testing.B) {
	m, err := queue.NewMemory(queue.MemoryConfig{})
	if err != nil {
		b.Fatal(err)
	}
	out := queue.Outgoing{CallID: "x"}
	e := queue.Envelope{ID: "0192f5a0-0000-7000-8000-000000000000", Name: noteCall.Name(), Source: "bench", Time: time.Now().UTC(), Data: []byte(`{"text":"hello"}`)}
	out.Body = string(e.Append(nil))
	var wg sync.WaitGroup
	mux := queue.NewMux()
	queue.Handle(mux, noteCall, func(context.Context, note) error { wg.Done(); return nil }, queue.HandlerConfig{})
	b.ReportAllocs()
	var used int64
	for n := 0; n < b.N; n += 50_000 { // in rounds: a collector that walks a million waiting messages measures itself
		some := min(50_000, b.N-n)
		wg.Add(some)
		for range some {
			m.Send(b.Context(), []queue.Outgoing{out})
		}
		w, err := queue.NewWorker(m, mux, queue.WorkerConfig{Workers: 64})
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		before := cpuTime()
		go func() { done <- w.Run(ctx) }()
		wg.Wait()
		used += cpuTime() - before
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}
