package sqstest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

const eastHost = "sqs.us-east-1.amazonaws.com"

// underFault sends one message during a fault and one after it, and returns what consumers get each time.
func underFault(t *testing.T, f fault.Fault, queue string, send ...func(*sqs.SendMessageInput)) (during, after []string) {
	t.Helper()
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		k := worldKit(t, w)
		url := k.queue(queue, nil)
		w.Play(drtest.Timeline("fault", drtest.At(time.Second, f).For(time.Minute)))
		time.Sleep(2 * time.Second)
		k.send(url, "one", send...)
		during = k.drain(url, 10)
		time.Sleep(time.Minute)
		for _, change := range send {
			send = append(send[:0:0], change, func(in *sqs.SendMessageInput) { in.MessageDeduplicationId = aws.String("later") })
		}
		k.send(url, "two", send...)
		after = k.drain(url, 10)
	})
	return during, after
}

func TestWorldDuplicates(t *testing.T) {
	during, after := underFault(t, fault.Duplicate(eastHost, 1).On("SendMessage"), "q")
	if !slices.Equal(during, []string{"one", "one"}) || !slices.Equal(after, []string{"two"}) {
		t.Errorf("received %q and, after the fault, %q", during, after)
	}
}

func TestWorldPoison(t *testing.T) {
	for queue, send := range map[string][]func(*sqs.SendMessageInput){"q": nil, "q.fifo": {group("g", "d")}} {
		t.Run(queue, func(t *testing.T) {
			during, after := underFault(t, fault.Poison(eastHost, 1), queue, send...)
			if len(during) != 2 || during[0] != "one" || !strings.HasPrefix(during[1], "{poison") || !slices.Equal(after, []string{"two"}) {
				t.Errorf("received %q and, after the fault, %q", during, after)
			}
		})
	}
}

// Queues work, but none can be made, while the control plane is down.
func TestWorldControlPlaneDown(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		k := worldKit(t, w)
		url := k.queue("q", nil)
		w.Play(drtest.Timeline("fault", drtest.At(time.Second, fault.ControlPlaneDown("us-east-1")).For(time.Minute)))
		time.Sleep(2 * time.Second)
		if _, err := k.create("other", nil); code(err) != "ServiceUnavailable" {
			t.Errorf("CreateQueue = %v", err)
		}
		k.send(url, "x")
		k.delete(url, k.one(url))
		time.Sleep(time.Minute)
		k.queue("other", nil)
	})
}

func TestWorldCapacityLimit(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		k := worldKit(t, w)
		url := k.queue("q", nil)
		w.Play(drtest.Timeline("fault", drtest.At(time.Second, fault.CapacityLimit(eastHost, 2)).For(time.Minute)))
		time.Sleep(2 * time.Second)
		var codes []string
		for range 4 {
			_, err := k.trySend(url, "x")
			codes = append(codes, code(err))
		}
		if want := []string{"success", "success", "ServiceUnavailable", "ServiceUnavailable"}; !slices.Equal(codes, want) {
			t.Errorf("SendMessage = %q, want %q", codes, want)
		}
		time.Sleep(time.Minute)
		k.send(url, "x")
	})
}

func TestWorldRefusesUnknownActions(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		sqstest.Start(w.Region("us-east-1"))
		err := w.Schedule(drtest.Timeline("bad", drtest.At(0, fault.Duplicate(eastHost, 1).On("Fly"))))
		if want := `events[0].fault.host: sqstest: "Fly" is not an action`; err == nil || !strings.Contains(err.Error(), want) {
			t.Error(fmt.Sprintf("Schedule = %v, want ", err) + want)
		}
	})
}
