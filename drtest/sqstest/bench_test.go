//go:build unix

package sqstest_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// BenchmarkLoopback takes messages through their life with the real client, ten at a time, against
// sqstest and fauxqs. cpu-ns/msg is this process: client and server for sqstest, the client alone
// for fauxqs.
func BenchmarkLoopback(b *testing.B) {
	b.Run("server=sqstest", func(b *testing.B) {
		s := newServer(b, sqstest.Config{})
		ts := httptest.NewServer(s)
		defer ts.Close()
		defer s.Close()
		lives(b, ts.URL)
	})
	b.Run("server=fauxqs", func(b *testing.B) { lives(b, servertest.Env(b, servertest.SQSA)) })
}

// BenchmarkLoopbackSend is one SendMessage a request, from eight goroutines.
func BenchmarkLoopbackSend(b *testing.B) {
	b.Run("server=sqstest", func(b *testing.B) {
		s := newServer(b, sqstest.Config{})
		ts := httptest.NewServer(s)
		defer ts.Close()
		defer s.Close()
		sends(b, ts.URL)
	})
	b.Run("server=fauxqs", func(b *testing.B) { sends(b, servertest.Env(b, servertest.SQSA)) })
}

var queues atomic.Int64

func benchQueue(b *testing.B, endpoint string) (*sqs.Client, *string) {
	transport := &sqstest.Transport{Base: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.Cleanup(transport.CloseIdleConnections)
	client := sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), Credentials: credentials{},
		HTTPClient: &http.Client{Transport: transport},
	})
	name := "bench-" + strconv.FormatInt(time.Now().UnixNano(), 36) + "-" + strconv.FormatInt(queues.Add(1), 10)
	out, err := client.CreateQueue(b.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		b.Fatal(err)
	}
	return client, out.QueueUrl
}

var payload = strings.Repeat("x", 256)

func lives(b *testing.B, endpoint string) {
	client, url := benchQueue(b, endpoint)
	batch := items(10)
	for i := range batch {
		batch[i].MessageBody = &payload
	}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	messages := 0
	for b.Loop() {
		if _, err := client.SendMessageBatch(b.Context(), &sqs.SendMessageBatchInput{QueueUrl: url, Entries: batch}); err != nil {
			b.Fatal(err)
		}
		got, err := client.ReceiveMessage(b.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10})
		if err != nil {
			b.Fatal(err)
		}
		if len(got.Messages) == 0 {
			b.Fatal("no messages")
		}
		var done []types.DeleteMessageBatchRequestEntry
		for i, m := range got.Messages {
			done = append(done, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
		}
		if _, err := client.DeleteMessageBatch(b.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: done}); err != nil {
			b.Fatal(err)
		}
		messages += len(done)
	}
	report(b, messages, cpuTime()-cpu)
}

func sends(b *testing.B, endpoint string) {
	client, url := benchQueue(b, endpoint)
	b.SetParallelism(4)
	b.ResetTimer()
	cpu := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.SendMessage(b.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: &payload}); err != nil {
				b.Error(err)
			}
		}
	})
	report(b, b.N, cpuTime()-cpu)
}

func report(b *testing.B, messages int, cpu time.Duration) {
	b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(cpu)/float64(messages), "cpu-ns/msg")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHandler is the server alone: one SendMessageBatch of ten, one receive, one delete batch
// without a client or a network.
func BenchmarkHandler(b *testing.B) {
	s := newServer(b, sqstest.Config{})
	s.Queue("q")
	var entries []string
	for i := range 10 {
		entries = append(entries, `{"Id":"`+strconv.Itoa(i)+`","MessageBody":"`+payload+`"}`)
	}
	send := `{"QueueUrl":"/000000000000/q","Entries":[` + strings.Join(entries, ",") + `]}`
	b.ReportAllocs()
	for b.Loop() {
		call(s, "SendMessageBatch", send)
		w := call(s, "ReceiveMessage", `{"QueueUrl":"/000000000000/q","MaxNumberOfMessages":10}`)
		var done []string
		for i, part := range strings.Split(w, `"ReceiptHandle":"`)[1:] {
			handle, _, _ := strings.Cut(part, `"`)
			done = append(done, `{"Id":"`+strconv.Itoa(i)+`","ReceiptHandle":"`+handle+`"}`)
		}
		call(s, "DeleteMessageBatch", `{"QueueUrl":"/000000000000/q","Entries":[`+strings.Join(done, ",")+`]}`)
	}
	if n := s.Queue("q").Depth(); n != 0 {
		b.Fatalf("%d messages left", n)
	}
}

func call(h http.Handler, op, body string) string {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "AmazonSQS."+op)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Body.String()
}
