package sqstest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// faulty is a bubble with one queue.
func faulty(t *testing.T, f func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue)) {
	t.Helper()
	bubble(t, sqstest.Config{Seed: 7}, func(t *testing.T, s *sqstest.Server, k *kit) { f(t, s, k, s.Queue("q")) })
}

func TestFaultCode(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		end := s.Inject(sqstest.Fault{Op: "SendMessage", Queue: "q", Code: "RequestThrottled"})
		if _, err := k.trySend(q.URL(), "x"); !is[*types.RequestThrottled](err) {
			t.Errorf("SendMessage = %v, want RequestThrottled", err)
		}
		k.send(s.Queue("other").URL(), "x")
		if got, want := s.Calls("SendMessage"), (sqstest.Calls{Requests: 2, Errors: 1, Faulted: 1}); got != want {
			t.Errorf("Calls = %+v, want %+v", got, want)
		}
		end()
		k.send(q.URL(), "x")
		if n := q.Depth(); n != 1 {
			t.Errorf("depth = %d, want 1", n)
		}
	})
}

func TestFaultCodeOfAnotherKind(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		for _, tt := range []struct {
			fault  sqstest.Fault
			code   string
			status string
		}{
			{sqstest.Fault{Code: "InternalFailure"}, "InternalFailure", "StatusCode: 500"},
			{sqstest.Fault{Code: "ServiceUnavailable"}, "ServiceUnavailable", "StatusCode: 503"},
			{sqstest.Fault{Code: "KmsThrottled", Status: 400}, "KmsThrottled", "StatusCode: 400"},
			{sqstest.Fault{Code: "QueueDoesNotExist"}, "AWS.SimpleQueueService.NonExistentQueue", "StatusCode: 400"},
		} {
			tt.fault.Times = 1
			s.Inject(tt.fault)
			_, err := k.trySend(q.URL(), "x")
			if code(err) != tt.code || !strings.Contains(err.Error(), tt.status) {
				t.Errorf("%+v: %v", tt.fault, err)
			}
		}
		k.send(q.URL(), "x") // every fault had its time
	})
}

func TestFaultLatencyOutlivesTheClient(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		s.Inject(sqstest.Fault{Op: "SendMessage", Latency: 5 * time.Second})
		start := time.Now()
		k.send(q.URL(), "x")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("SendMessage took %v, want 5s", took)
		}
		ctx, cancel := context.WithTimeout(k.ctx, time.Second)
		defer cancel()
		url, body := q.URL(), "y"
		if _, err := k.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("SendMessage = %v, want a deadline", err)
		}
		if n := q.Depth(); n != 1 {
			t.Errorf("depth = %d right after the time-out, want 1", n)
		}
		time.Sleep(5 * time.Second)
		if n := q.Depth(); n != 2 {
			t.Errorf("depth = %d later, want 2: the send went on", n)
		}
	})
}

func TestFaultHang(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		hung := func(want int) {
			t.Helper()
			ctx, cancel := context.WithTimeout(k.ctx, time.Hour)
			defer cancel()
			url, body := q.URL(), "x"
			if _, err := k.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("SendMessage = %v, want a deadline", err)
			}
			if n := q.Depth(); n != want {
				t.Errorf("depth = %d, want %d", n, want)
			}
		}
		s.Inject(sqstest.Fault{Hang: true, Times: 1})
		hung(0)
		s.Inject(sqstest.Fault{HangReply: true, Times: 1})
		hung(1)
	})
}

func TestFaultDropReply(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		s.Inject(sqstest.Fault{DropReply: true, Times: 1})
		if _, err := k.trySend(q.URL(), "x"); err == nil {
			t.Error("SendMessage with a lost reply succeeded")
		}
		if n := q.Depth(); n != 1 {
			t.Errorf("depth = %d, want 1: the send was done", n)
		}
	})
}

func TestFaultThrottle(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		s.Inject(sqstest.Fault{Above: 10, Code: "RequestThrottled"})
		for range 10 { // seconds of 50 requests each
			for range 50 {
				_, _ = k.trySend(q.URL(), "x")
				time.Sleep(20 * time.Millisecond)
			}
		}
		// Ten a second, and the second's worth that the bucket starts with.
		if n := q.Depth(); n < 100 || n > 111 {
			t.Errorf("%d of 500 sends in 10 s passed, want 100 to 111", n)
		}
	})
}

func TestFaultShare(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		s.Inject(sqstest.Fault{Share: 0.2, Code: "InternalFailure"})
		for range 1000 {
			_, _ = k.trySend(q.URL(), "x")
		}
		// Five standard deviations around 800; the seed is fixed anyway.
		if n := q.Depth(); n < 737 || n > 863 {
			t.Errorf("%d of 1000 sends passed, want about 800", n)
		}
		s.ClearFaults()
		if _, err := k.trySend(q.URL(), "x"); err != nil {
			t.Errorf("SendMessage after ClearFaults = %v", err)
		}
	})
}

func TestFaultDuplicateSend(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		s.Inject(sqstest.Fault{Op: "SendMessage", Duplicate: true})
		k.send(q.URL(), "x")
		if got := k.receive(q.URL()); len(got) != 2 || *got[0].MessageId == *got[1].MessageId {
			t.Errorf("%d messages, want two with ids of their own", len(got))
		}
		fifo := s.Queue("q.fifo")
		k.send(fifo.URL(), "x", group("g", "d"))
		if n := fifo.Depth(); n != 1 {
			t.Errorf("FIFO depth = %d, want 1", n)
		}
	})
}

func TestFaultDuplicateReceive(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		s.Inject(sqstest.Fault{Op: "ReceiveMessage", Duplicate: true})
		k.send(q.URL(), "x")
		a := k.one(q.URL())
		k.delete(q.URL(), a)
		b := k.one(q.URL(), wait(0))
		if *a.MessageId != *b.MessageId || *a.ReceiptHandle == *b.ReceiptHandle {
			t.Errorf("second delivery %s, want %s with another handle", *b.MessageId, *a.MessageId)
		}
		k.delete(q.URL(), b)
		if got := k.receive(q.URL(), wait(20)); len(got) != 0 || q.Depth() != 0 {
			t.Errorf("%d messages, depth %d; a twin has no twin", len(got), q.Depth())
		}
	})
}

func TestFaultDuplicateDelete(t *testing.T) {
	faulty(t, func(t *testing.T, s *sqstest.Server, k *kit, q *sqstest.Queue) {
		s.Inject(sqstest.Fault{Op: "DeleteMessage", Duplicate: true, Times: 1})
		k.send(q.URL(), "x")
		k.delete(q.URL(), k.one(q.URL()))
		k.delete(q.URL(), k.one(q.URL(), wait(20), lease(20), func(*sqs.ReceiveMessageInput) { time.Sleep(30 * time.Second) }))
		if n := q.Depth(); n != 0 {
			t.Errorf("depth = %d", n)
		}
	})
}

func TestInjectRefusesBadFaults(t *testing.T) {
	s := newServer(t, sqstest.Config{})
	for _, tt := range []struct {
		fault sqstest.Fault
		want  string
	}{
		{sqstest.Fault{}, "it does nothing"},
		{sqstest.Fault{Op: "FlushQueue", Hang: true}, `"FlushQueue" is not an action`},
		{sqstest.Fault{Share: 1.5, Hang: true}, "Fault.Share: 1.5"},
		{sqstest.Fault{Above: -1, Hang: true}, "Fault.Above: -1"},
		{sqstest.Fault{Times: -1, Hang: true}, "Fault.Times: -1"},
		{sqstest.Fault{Latency: -1}, "Fault.Latency: -1ns"},
		{sqstest.Fault{Status: 200, Code: "X"}, "Fault.Status: 200"},
		{sqstest.Fault{Status: 500, Hang: true}, "Fault.Status: 500 needs a Code"},
	} {
		func() {
			defer func() {
				if p, _ := recover().(string); !strings.Contains(p, tt.want) {
					t.Errorf("Inject(%+v) panicked with %q, want %q", tt.fault, p, tt.want)
				}
			}()
			s.Inject(tt.fault)
		}()
	}
}
