package sqstest_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// bubble runs f in a bubble with a server of its own and closes the server after it.
func bubble(t *testing.T, cfg sqstest.Config, f func(t *testing.T, s *sqstest.Server, k *kit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, cfg)
		defer synctest.Wait()
		defer s.Close()
		f(t, s, newKit(t, inProcess{s}, "http://sqs.test"))
	})
}

func TestNewRefusesBadConfig(t *testing.T) {
	tests := []struct {
		cfg  sqstest.Config
		want string
	}{
		{sqstest.Config{Account: "12"}, `sqstest: Config.Account: "12" is not twelve digits`},
		{sqstest.Config{Region: "a/b"}, `sqstest: Config.Region: "a/b" has characters that no Region has`},
		{sqstest.Config{Endpoint: "sqs"}, `sqstest: Config.Endpoint: "sqs" is not an absolute URL`},
		{sqstest.Config{InFlight: -1}, `sqstest: Config.InFlight: -1 is negative`},
	}
	for _, tt := range tests {
		if _, err := sqstest.New(tt.cfg); err == nil || err.Error() != tt.want {
			t.Errorf("New(%+v) = %v, want %s", tt.cfg, err, tt.want)
		}
	}
}

func TestProtocol(t *testing.T) {
	s := newServer(t, sqstest.Config{})
	s.Queue("q")
	tests := []struct {
		name, method, target, body string
		status                     int
		code                       string
	}{
		{"unknown action", "POST", "AmazonSQS.FlushQueue", "{}", 400, "InvalidAction"},
		{"action of another service", "POST", "AmazonSNS.Publish", "{}", 400, "InvalidAction"},
		{"wrong method", "GET", "AmazonSQS.ListQueues", "{}", 400, "InvalidAction"},
		{"no body", "POST", "AmazonSQS.ListQueues", "", 400, "SerializationException"},
		{"not JSON", "POST", "AmazonSQS.ListQueues", "<xml/>", 400, "SerializationException"},
		{"two documents", "POST", "AmazonSQS.ListQueues", "{}{}", 400, "SerializationException"},
		{"not UTF-8", "POST", "AmazonSQS.SendMessage", "{\"MessageBody\":\"\xff\"}", 400, "SerializationException"},
		{"number for a string", "POST", "AmazonSQS.SendMessage", `{"MessageBody":1}`, 400, "SerializationException"},
		{"fraction for a number", "POST", "AmazonSQS.SendMessage", `{"MessageBody":"x","DelaySeconds":1.5}`, 400, "SerializationException"},
		{"no queue", "POST", "AmazonSQS.SendMessage", `{"MessageBody":"x"}`, 400, "MissingParameter"},
		{"URL without a path", "POST", "AmazonSQS.SendMessage", `{"MessageBody":"x","QueueUrl":"q"}`, 400, "AWS.SimpleQueueService.NonExistentQueue"},
		{"URL of another account", "POST", "AmazonSQS.SendMessage", `{"MessageBody":"x","QueueUrl":"http://h/111111111111/q"}`, 400, "AWS.SimpleQueueService.NonExistentQueue"},
		{"not a URL", "POST", "AmazonSQS.SendMessage", `{"MessageBody":"x","QueueUrl":"http://%zz"}`, 400, "InvalidAddress"},
		{"lease without a time", "POST", "AmazonSQS.ChangeMessageVisibility", `{"QueueUrl":"/000000000000/q","ReceiptHandle":"x"}`, 400, "MissingParameter"},
		{"delete without a handle", "POST", "AmazonSQS.DeleteMessage", `{"QueueUrl":"/000000000000/q"}`, 400, "MissingParameter"},
		{"unknown members are ignored", "POST", "AmazonSQS.SendMessage", `{"QueueUrl":"/000000000000/q","MessageBody":"x","Colour":"red"}`, 200, ""},
		{"null is absent", "POST", "AmazonSQS.SendMessage", `{"QueueUrl":"/000000000000/q","MessageBody":"x","DelaySeconds":null}`, 200, ""},
		{"escapes", "POST", "AmazonSQS.SendMessage", `{"QueueUrl":"/000000000000/q","MessageBody":"\u00e9\ud83d\ude80"}`, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", strings.NewReader(tt.body))
			r.Header.Set("X-Amz-Target", tt.target)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			code, _, _ := strings.Cut(w.Header().Get("X-Amzn-Query-Error"), ";")
			if w.Code != tt.status || code != tt.code {
				t.Errorf("%d %s, want %d %s: %s", w.Code, code, tt.status, tt.code, w.Body)
			}
			if got := w.Header().Get("Content-Type"); got != "application/x-amz-json-1.0" {
				t.Errorf("Content-Type = %q", got)
			}
		})
	}
	var bodies []string
	for _, m := range s.Queue("q").Messages() {
		bodies = append(bodies, m.Body)
	}
	if got := strings.Join(bodies, " "); got != "x x \u00e9\U0001F680" {
		t.Errorf("bodies = %q", got)
	}
}

func TestRequestTooLong(t *testing.T) {
	s := newServer(t, sqstest.Config{})
	for _, length := range []int64{17 << 20, -1} {
		r := httptest.NewRequest("POST", "/", io.LimitReader(zeros{}, 17<<20))
		r.ContentLength = length
		r.Header.Set("X-Amz-Target", "AmazonSQS.ListQueues")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "too long") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestServerOfOneRegion(t *testing.T) {
	bubble(t, sqstest.Config{Region: "us-east-1", Endpoint: "http://sqs.us-east-1.amazonaws.com"}, func(t *testing.T, s *sqstest.Server, k *kit) {
		if _, err := k.elsewhere.ListQueues(k.ctx, &sqs.ListQueuesInput{}); code(err) != "SignatureDoesNotMatch" {
			t.Errorf("ListQueues signed for another Region = %v", err)
		}
		url := s.Queue("q").URL()
		if want := "http://sqs.us-east-1.amazonaws.com/000000000000/q"; url != want {
			t.Errorf("URL = %s, want %s", url, want)
		}
		if _, err := k.trySend(url, "hello"); err != nil {
			t.Errorf("SendMessage = %v", err)
		}
		_, err := k.trySend("http://sqs.eu-west-1.amazonaws.com/000000000000/q", "hello")
		if _, ok := errors.AsType[*types.InvalidAddress](err); !ok {
			t.Errorf("SendMessage to the URL of another Region = %v", err)
		}
	})
}

func TestTypedErrors(t *testing.T) {
	bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
		_, err := k.trySend("http://sqs.test/000000000000/none", "hello")
		if missing, ok := errors.AsType[*types.QueueDoesNotExist](err); !ok || missing.ErrorCode() != "AWS.SimpleQueueService.NonExistentQueue" {
			t.Errorf("SendMessage = %#v", err)
		}
		if err := k.tryDelete(k.queue("q", nil), "garbage"); !is[*types.ReceiptHandleIsInvalid](err) {
			t.Errorf("DeleteMessage = %v", err)
		}
	})
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func TestCloseEndsPollsAndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, sqstest.Config{})
		k := newKit(t, inProcess{s}, "http://sqs.test")
		url := k.queue("q", nil)
		k.send(url, "hello")
		k.one(url)
		s.Inject(sqstest.Fault{Op: "SendMessage", Hang: true})
		s.Inject(sqstest.Fault{Op: "ListQueues", Latency: time.Hour})
		start := time.Now()
		var open sync.WaitGroup
		open.Go(func() { _, _ = k.tryReceive(url, wait(20)) })
		open.Go(func() { _, _ = k.trySend(url, "x") })
		open.Go(func() { _, _ = k.client.ListQueues(k.ctx, &sqs.ListQueuesInput{}) })
		synctest.Wait()
		s.Close()
		s.Close()
		open.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("requests ended %v after Close", took)
		}
		if _, err := k.tryReceive(url); code(err) != "ServiceUnavailable" {
			t.Errorf("ReceiveMessage after Close = %v", err)
		}
	})
}

func TestCloseBeforeHTTPTest(t *testing.T) {
	s := newServer(t, sqstest.Config{})
	ts := httptest.NewServer(s)
	client := sqs.New(s.Options(ts.URL))
	url := s.Queue("q").URL()
	ctx, cancel := context.WithCancel(t.Context())
	polled := make(chan error, 1)
	go func() {
		_, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20})
		polled <- err
	}()
	for s.Queue("q").Polls() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-polled; err == nil {
		t.Error("the cancelled poll succeeded")
	}
	if n := s.Queue("q").Polls(); n != 1 {
		t.Errorf("%d polls open after the cancel, want 1", n)
	}
	s.Close()
	ts.Close() // would wait for the poll
}

func TestOldestPollFirst(t *testing.T) {
	bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
		url := k.queue("q", nil)
		order := make(chan int, 3)
		for i := range 3 {
			go func() {
				k.one(url, wait(20))
				order <- i
			}()
			time.Sleep(time.Second)
		}
		for want := range 3 {
			k.send(url, "hello")
			if got := <-order; got != want {
				t.Errorf("message %d went to poll %d", want, got)
			}
		}
	})
}

// TestPollTakesWhatAppearsAtItsEnd has a poll and a delay end at the same instant, in whatever order.
func TestPollTakesWhatAppearsAtItsEnd(t *testing.T) {
	for range 20 {
		bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello", func(in *sqs.SendMessageInput) { in.DelaySeconds = 20 })
			k.one(url, wait(20))
		})
	}
}

// TestOlderPollTakesWhatAppearsAsANewOneComes has a message appear at the instant of a new poll.
func TestOlderPollTakesWhatAppearsAsANewOneComes(t *testing.T) {
	for range 20 {
		bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
			url := k.queue("q", nil)
			k.send(url, "hello", func(in *sqs.SendMessageInput) { in.DelaySeconds = 10 })
			older := make(chan int, 1)
			go func() { older <- len(k.receive(url, wait(15))) }()
			time.Sleep(10 * time.Second)
			if n := len(k.receive(url, wait(20))); n != 0 || <-older != 1 {
				t.Errorf("the new poll got %d messages", n)
			}
		})
	}
}

func TestRepeatedAttemptRenewsTheLease(t *testing.T) {
	bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
		url := k.queue("q.fifo", nil)
		k.send(url, "a", group("g", "1"))
		attempt := func(in *sqs.ReceiveMessageInput) { in.ReceiveRequestAttemptId = aws.String("try") }
		first := k.one(url, attempt, lease(10))
		time.Sleep(8 * time.Second)
		if again := k.one(url, attempt, lease(10)); again.Attributes["ApproximateReceiveCount"] != "1" {
			t.Errorf("receive count %s, want 1", again.Attributes["ApproximateReceiveCount"])
		}
		time.Sleep(8 * time.Second)
		k.delete(url, first)
		k.send(url, "b", group("g", "2"))
		if got := k.one(url, attempt); *got.Body != "b" {
			t.Errorf("attempt after the delete brought %q", *got.Body)
		}
	})
}

func TestAttemptIsNotRepeatedAfterAChange(t *testing.T) {
	for name, disturb := range map[string]func(*kit, string, types.Message){
		"lease changed": func(k *kit, url string, m types.Message) { k.must("ChangeMessageVisibility", k.change(url, m, 60)) },
		"received by another": func(k *kit, url string, _ types.Message) {
			time.Sleep(10 * time.Second)
			k.one(url)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
				url := k.queue("q.fifo", nil)
				k.send(url, "a", group("g", "1"))
				attempt := func(in *sqs.ReceiveMessageInput) { in.ReceiveRequestAttemptId = aws.String("try") }
				disturb(k, url, k.one(url, attempt, lease(10)))
				if got := k.receive(url, attempt, wait(0)); len(got) != 0 {
					t.Errorf("the attempt was repeated with %q", *got[0].Body)
				}
			})
		})
	}
}

func TestDeletedQueueEndsPolls(t *testing.T) {
	bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
		url := k.queue("q", nil)
		go func() {
			time.Sleep(time.Second)
			_, _ = k.client.DeleteQueue(k.ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
		}()
		if _, err := k.tryReceive(url, wait(20)); !is[*types.QueueDoesNotExist](err) {
			t.Errorf("ReceiveMessage = %v", err)
		}
	})
}

func TestInFlightLimit(t *testing.T) {
	bubble(t, sqstest.Config{InFlight: 3}, func(t *testing.T, s *sqstest.Server, k *kit) {
		for _, suffix := range []string{"", ".fifo"} {
			url := k.queue("q"+suffix, nil)
			for i := range 5 {
				if suffix == "" {
					k.send(url, "hello")
				} else {
					k.send(url, "hello", group(strconv.Itoa(i), strconv.Itoa(i)))
				}
			}
			first := k.receive(url)
			if len(first) != 3 {
				t.Errorf("%d messages, want 3", len(first))
			}
			switch more, err := k.tryReceive(url, wait(0)); {
			case suffix == "" && !is[*types.OverLimit](err):
				t.Errorf("standard queue at its limit: %v, want OverLimit", err)
			case suffix != "" && (err != nil || len(more) != 0):
				t.Errorf("FIFO queue at its limit: %d messages, %v, want none and no error", len(more), err)
			}
			k.delete(url, first[0])
			k.one(url)
		}
	})
}

func TestZeroLeaseComesOncePerReceive(t *testing.T) {
	bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
		for _, name := range []string{"q", "q.fifo"} {
			url := k.queue(name, attrs{"VisibilityTimeout": "0"})
			if name == "q" {
				k.send(url, "hello")
			} else {
				k.send(url, "hello", group("g", "d"))
			}
			k.one(url)
			k.one(url)
		}
	})
}

func TestTagLimits(t *testing.T) {
	bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
		url := k.queue("q", nil)
		many := attrs{}
		for i := range 50 {
			many[strconv.Itoa(i)] = ""
		}
		tag := func(tags attrs) error {
			_, err := k.client.TagQueue(k.ctx, &sqs.TagQueueInput{QueueUrl: &url, Tags: tags})
			return err
		}
		if err := tag(many); err != nil {
			t.Errorf("50 tags: %v", err)
		}
		for _, tags := range []attrs{{"one more": ""}, {"aws:x": ""}, {strings.Repeat("x", 129): ""}, {"0": strings.Repeat("x", 257)}} {
			if err := tag(tags); code(err) != "InvalidParameterValue" {
				t.Errorf("TagQueue(%v) = %v", tags, err)
			}
		}
	})
}

func TestInspection(t *testing.T) {
	bubble(t, sqstest.Config{}, func(t *testing.T, s *sqstest.Server, k *kit) {
		q := s.Queue("orders")
		k.send(q.URL(), "visible", func(in *sqs.SendMessageInput) { in.MessageAttributes = sampleFields() })
		k.send(q.URL(), "delayed", func(in *sqs.SendMessageInput) { in.DelaySeconds = 10 })
		k.send(q.URL(), "leased", group("tenant", ""))
		k.must("ChangeMessageVisibility", k.change(q.URL(), k.one(q.URL(), most(1)), 0)) // to the end of the line
		k.one(q.URL(), most(1), lease(7))
		if got, want := q.Counts(), (sqstest.Counts{Visible: 1, InFlight: 1, Delayed: 1}); got != want || q.Depth() != 3 {
			t.Errorf("Counts = %+v, want %+v", got, want)
		}
		all := q.Messages()
		now := time.Now()
		states := []string{all[0].State, all[1].State, all[2].State}
		if got := strings.Join(states, ", "); got != "visible, delayed, in flight" {
			t.Errorf("states = %s", got)
		}
		if !all[1].VisibleAt.Equal(now.Add(10*time.Second)) || !all[2].VisibleAt.Equal(now.Add(7*time.Second)) || !all[0].VisibleAt.IsZero() {
			t.Errorf("visible at %v, %v and %v", all[0].VisibleAt, all[1].VisibleAt, all[2].VisibleAt)
		}
		if all[0].Attributes["price"] != "12.50" || all[0].Receives != 1 || all[2].Group != "tenant" {
			t.Errorf("messages = %+v", all)
		}
		if got, want := s.Calls("ReceiveMessage"), (sqstest.Calls{Requests: 2}); got != want {
			t.Errorf("Calls = %+v, want %+v", got, want)
		}
		if got := s.Calls("PurgeQueue"); got != (sqstest.Calls{}) {
			t.Errorf("Calls of nothing = %+v", got)
		}
		if names := s.Queues("us-east-1"); len(names) != 1 || names[0].Name() != "orders" || names[0].ARN() != "arn:aws:sqs:us-east-1:000000000000:orders" {
			t.Errorf("Queues = %v", names)
		}
		if _, err := s.CreateQueue("orders", attrs{"DelaySeconds": "1"}); err == nil {
			t.Error("CreateQueue with other attributes succeeded")
		}
	})
}

// TestNothingIsLostOrInvented plays random actions and holds the books after each: what was stored
// is there or went through one of the doors.
func TestNothingIsLostOrInvented(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			bubble(t, sqstest.Config{Seed: seed + 1}, func(t *testing.T, s *sqstest.Server, k *kit) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				fifo := seed%2 == 1
				suffix := ""
				if fifo {
					suffix = ".fifo"
				}
				dlq := s.Queue("dlq" + suffix)
				source, err := s.CreateQueue("source"+suffix, attrs{
					"FifoQueue": strconv.FormatBool(fifo), "MessageRetentionPeriod": "60", "VisibilityTimeout": "5",
					"RedrivePolicy": `{"deadLetterTargetArn":"` + dlq.ARN() + `","maxReceiveCount":3}`,
				})
				if err != nil {
					t.Fatal(err)
				}
				s.Inject(sqstest.Fault{Share: 0.1, Duplicate: true})
				play(k, rnd, source.URL(), fifo, func() {
					for _, q := range []*sqstest.Queue{source, dlq} {
						in, out := q.Totals(), q.Counts()
						if stored, gone := in.Sent+in.Doubled, in.Deleted+in.Purged+in.Expired+in.DeadLettered; stored-gone != out.Total() || out.Total() != len(q.Messages()) {
							t.Fatalf("%s: %+v, but %+v", q.Name(), in, out)
						}
					}
				})
			})
		})
	}
}

func play(k *kit, rnd *rand.Rand, url string, fifo bool, check func()) {
	var held []types.Message
	for i := range 300 {
		switch rnd.IntN(6) {
		case 0, 1:
			if fifo {
				k.send(url, "x", group(strconv.Itoa(rnd.IntN(4)), strconv.Itoa(rnd.IntN(200))))
			} else {
				k.send(url, "x", func(in *sqs.SendMessageInput) { in.DelaySeconds = int32(rnd.IntN(3)) })
			}
		case 2:
			held = append(held, k.receive(url, wait(int32(rnd.IntN(2))), most(int32(1+rnd.IntN(10))))...)
		case 3:
			if len(held) > 0 {
				_ = k.tryDelete(url, *held[rnd.IntN(len(held))].ReceiptHandle) // may be stale
			}
		case 4:
			if len(held) > 0 {
				_ = k.change(url, held[rnd.IntN(len(held))], int32(rnd.IntN(4)))
			}
		case 5:
			time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
		}
		if i == 200 {
			_, err := k.client.PurgeQueue(k.ctx, &sqs.PurgeQueueInput{QueueUrl: aws.String(url)})
			k.must("PurgeQueue", err)
		}
		check()
	}
}

// TestTransportOutlivesTheSDKsBody has a base that asks for the end of the body only after the SDK
// has taken its own away, as a slow writer of net/http does.
func TestTransportOutlivesTheSDKsBody(t *testing.T) {
	sent := &sdkBody{Reader: strings.NewReader("hello")}
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		got, err := io.ReadAll(io.LimitReader(r.Body, 5))
		if string(got) != "hello" || err != nil || r.ContentLength != 5 {
			t.Errorf("body = %q, %v, length %d", got, err, r.ContentLength)
		}
		_ = sent.Close()
		if n, err := io.Copy(io.Discard, r.Body); n != 0 || err != nil {
			t.Errorf("end of the body: %d, %v", n, err)
		}
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	r := httptest.NewRequest("POST", "/", sent)
	r.ContentLength = 5
	if _, err := (&sqstest.Transport{Base: base}).RoundTrip(r); err != nil {
		t.Error(err)
	}
}

// An sdkBody behaves like the body of the SDK's requests after its close.
type sdkBody struct {
	*strings.Reader
	closed bool
}

func (b *sdkBody) Close() error { b.closed = true; return nil }

func (b *sdkBody) WriteTo(w io.Writer) (int64, error) {
	if b.closed {
		return 0, io.EOF
	}
	return b.Reader.WriteTo(w)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestManyConsumers has producers and consumers race over loopback: each message is handled once.
func TestManyConsumers(t *testing.T) {
	s := newServer(t, sqstest.Config{})
	ts := httptest.NewServer(s)
	defer ts.Close()
	defer s.Close()
	client := sqs.New(s.Options(ts.URL))
	q := s.Queue("q")
	url := q.URL()
	const messages, workers = 400, 4
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for w := range workers {
		all.Go(func() {
			for i := range messages / workers {
				if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(strconv.Itoa(w*messages + i))}); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for q.Totals().Deleted < messages {
				out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
				if err != nil {
					t.Error(err)
					return
				}
				for _, m := range out.Messages {
					mu.Lock()
					seen[*m.Body]++
					mu.Unlock()
					if _, err := client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if len(seen) != messages || q.Depth() != 0 || q.Totals().Received != messages {
		t.Errorf("%d bodies seen, %d left, %+v", len(seen), q.Depth(), q.Totals())
	}
}
