package sqstest_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// TestConformanceWorld holds the server to the rules over real HTTP and a simulated network.
func TestConformanceWorld(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
				judge(t, "sqstest", r, r.run(worldKit(t, w)))
			})
		})
	}
}

func worldKit(t *testing.T, w *drtest.World) *kit {
	app := w.Region("app")
	noRetry := func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} }
	return &kit{
		ctx: t.Context(), prefix: "w",
		client:    sqstest.Start(w.Region("us-east-1")).Client(app, noRetry),
		elsewhere: sqstest.Start(w.Region("eu-west-1")).Client(app, noRetry),
	}
}

func TestWorldInMessages(t *testing.T) {
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		k := worldKit(t, w)
		url := k.queue("q", nil)
		k.send(url, "hello")
		k.delete(url, k.one(url))
	})
}

func TestWorldURLs(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		k := worldKit(t, w)
		url := k.queue("q", nil)
		if want := "http://sqs.us-east-1.amazonaws.com/000000000000/w-q"; url != want {
			t.Errorf("URL = %s, want %s", url, want)
		}
		_, err := k.elsewhere.SendMessage(k.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")})
		if !is[*types.InvalidAddress](err) {
			t.Errorf("SendMessage to a queue of another Region = %v", err)
		}
	})
}

// TestWorldIDs has two Worlds draw the same message ids, and two Regions different ones.
func TestWorldIDs(t *testing.T) {
	var ids []string
	for range 2 {
		drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
			k := worldKit(t, w)
			ids = append(ids, *k.send(k.queue("q", nil), "x").MessageId)
			k.client = k.elsewhere
			ids = append(ids, *k.send(k.queue("q", nil), "x").MessageId)
		})
	}
	if ids[0] != ids[2] || ids[1] != ids[3] || ids[0] == ids[1] {
		t.Errorf("ids = %v", ids)
	}
}

func TestWorldFaultsSpeakTheProtocol(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		server := sqstest.Start(w.Region("us-east-1"))
		client := server.Client(w.Region("app"), func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
		url := server.Queue("q").URL()
		const host = "sqs.us-east-1.amazonaws.com"
		w.Play(drtest.Timeline("refusals",
			drtest.At(time.Second, fault.Throttle(host, 1, http.StatusTooManyRequests, 3*time.Second).On("SendMessage")).For(time.Second),
			drtest.At(3*time.Second, fault.Gray(host, 1)).For(time.Second),
		))
		send := func() error {
			_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")})
			return err
		}
		time.Sleep(1500 * time.Millisecond)
		if err := send(); !is[*types.RequestThrottled](err) {
			t.Errorf("SendMessage under a throttle = %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := send(); code(err) != "InternalFailure" || !strings.Contains(err.Error(), "StatusCode: 500") {
			t.Errorf("SendMessage to a gray host = %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := send(); err != nil {
			t.Errorf("SendMessage after the faults = %v", err)
		}
		if got, want := server.Calls("SendMessage"), (sqstest.Calls{Requests: 3, Errors: 2, Faulted: 2}); got != want {
			t.Errorf("Calls = %+v, want %+v", got, want)
		}
	})
}

func TestWorldClockSkew(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		k := worldKit(t, w)
		url := k.queue("q", nil)
		w.Play(drtest.Timeline("fast clock", drtest.At(time.Second, fault.ClockSkew("us-east-1", time.Hour)).For(time.Minute)))
		time.Sleep(2 * time.Second)
		before := time.Now()
		k.send(url, "x")
		ms, err := strconv.ParseInt(k.one(url, lease(5)).Attributes["SentTimestamp"], 10, 64)
		if want := before.Add(time.Hour).UnixMilli(); err != nil || ms < want || ms > want+1000 {
			t.Errorf("SentTimestamp = %d, want about %d: the Region's clock is an hour fast", ms, want)
		}
		k.one(url, wait(20)) // leases do not feel the clock
		if took := time.Since(before); took > 7*time.Second {
			t.Errorf("the lease of 5s ended after %v", took)
		}
	})
}

// TestWorldPollOfADeadClient has a client vanish in the middle of a poll: the next message is
// leased to it, and comes to somebody else after the lease.
func TestWorldPollOfADeadClient(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east, app, other := w.Region("us-east-1"), w.Region("app"), w.Region("other")
		server := sqstest.Start(east)
		q := server.Queue("q")
		url := q.URL()
		dead := server.Client(app)
		go func() {
			_, _ = dead.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20})
		}()
		time.Sleep(time.Second)
		w.Net().Overlay(app.Name(), simnet.Any, func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
		w.Net().Overlay(simnet.Any, app.Name(), func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
		live := server.Client(other)
		if _, err := live.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")}); err != nil {
			t.Fatal(err)
		}
		if got := q.Counts(); got.InFlight != 1 {
			t.Errorf("Counts = %+v, want the message in flight", got)
		}
		sent := time.Now()
		for {
			got, err := live.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Messages) == 1 {
				break
			}
		}
		if took := time.Since(sent).Round(time.Second); took != 30*time.Second {
			t.Errorf("the message came back after %v, want 30s", took)
		}
	})
}

func TestIDsFollowFromTheSeed(t *testing.T) {
	id := func(seed uint64) (id string) {
		drtest.Run(t, drtest.Config{Seed: seed}, func(t *testing.T, w *drtest.World) {
			east := w.Region("us-east-1")
			s := sqstest.Start(east)
			s.Queue("orders")
			client := s.Client(east)
			out, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String(s.Queue("orders").URL()), MessageBody: aws.String("x")})
			if err != nil {
				t.Fatal(err)
			}
			id = *out.MessageId
		})
		return id
	}
	if a := id(1); a != id(1) || a == id(2) {
		t.Error("message ids are not fixed by the seed")
	}
}
