package drtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/drtest/simnet"
	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// newReal returns a World in real time that must leave no goroutine behind.
func newReal(t *testing.T, config drtest.Config) *drtest.World {
	t.Helper()
	before := goroutines()
	w, err := drtest.NewReal(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if left := stays(before); left != "" {
			t.Errorf("goroutines left after Close:\n%s", left)
		}
	})
	return w
}

// goroutines returns the heads of all goroutines, without their states.
func goroutines() map[string]bool {
	buf := make([]byte, 1<<22)
	ids := map[string]bool{}
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		id, _, _ := strings.Cut(stack, "[")
		ids[id] = true
	}
	return ids
}

// stays waits up to 10 s for the goroutines that were not there before to end, and returns the stacks of those left.
func stays(before map[string]bool) (left string) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		left = ""
		buf := make([]byte, 1<<22)
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if id, _, _ := strings.Cut(stack, "["); !before[id] && strings.Contains(stack, "holdfast/drtest") && !strings.Contains(stack, "testing.(*T).Run") {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}

func TestNewRealRefusesWhatOnlyABubbleHas(t *testing.T) {
	for field, config := range map[string]drtest.Config{
		"StartAt": {StartAt: time.Now()}, "Watchdog": {Watchdog: time.Second}, "Limit": {Limit: time.Second},
		"TieFree": {TieFree: true}, "Settle": {Settle: -1}, "Fidelity": {Fidelity: 9},
	} {
		if _, err := drtest.NewReal(t.Context(), config); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("NewReal with a bad %s = %v, want an error that names it", field, err)
		}
	}
}

// A Region is lost in real time: users of HTTP, Redis and SQS fail over, and the report says how long it took.
func TestRealWorldLosesARegion(t *testing.T) {
	w := newReal(t, drtest.Config{Name: "lost", Settle: 500 * time.Millisecond})
	w.Net().SetLinks("users", "east", simnet.Shape{Latency: 5 * time.Millisecond})
	w.Net().SetLinks("users", "west", simnet.Shape{Latency: 10 * time.Millisecond})
	users := w.Region("users")
	var urls []string
	var caches []*redis.Client
	var queues []*sqs.Client
	for _, name := range []string{"east", "west"} {
		r := w.Region(name)
		r.Serve("api."+name, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, name) }))
		urls = append(urls, "http://api."+name+"/")
		caches = append(caches, redistest.Start(r).Client(users))
		queues = append(queues, sqstest.Start(r).Client(users, func(o *sqs.Options) { o.RetryMaxAttempts = 1 }))
		if _, err := queues[len(queues)-1].CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")}); err != nil {
			t.Fatal(err)
		}
	}
	client := users.HTTPClient()
	w.Load(drtest.Load{Name: "orders", Clients: 4, Rate: drtest.Poisson(20), Timeout: 20 * time.Second, Do: func(ctx context.Context, op *drtest.Op) error {
		var errs []error
		for i, url := range urls {
			err := order(ctx, client, url, caches[i], queues[i])
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}})
	w.Play(drtest.Timeline("lose east", drtest.At(400*time.Millisecond, fault.RegionDown("east", fault.ModeRefuse)).For(600*time.Millisecond)))
	w.Check(check.RTO(time.Second), check.Availability(0.9))
	w.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := w.Report()
	if !r.Passed() || !r.RealTime || r.Name != "lost" || len(r.Loads) != 1 || r.Loads[0].OK < 50 {
		t.Errorf("report:\n%s", r.Text())
	}
	served := map[string]int{}
	for _, op := range w.History().Ops() {
		served[op.Region]++
	}
	if served["east"] == 0 || served["west"] == 0 {
		t.Errorf("operations by Region: %v, want some of each", served)
	}
}

// order is one HTTP request, one Redis command and one SQS message.
func order(ctx context.Context, client *http.Client, url string, cache *redis.Client, queue *sqs.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if err := cache.Incr(ctx, "orders").Err(); err != nil {
		return err
	}
	_, err = queue.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(queueURL(url)), MessageBody: aws.String("order")})
	return err
}

func queueURL(api string) string {
	region := strings.TrimSuffix(strings.TrimPrefix(api, "http://api."), "/")
	return "http://sqs." + region + ".amazonaws.com/000000000000/q"
}

// inject runs in virtual and in real time.
func inject(t *testing.T, w *drtest.World) {
	east, users := w.Region("east"), w.Region("users")
	w.Net().SetLinks("users", "east", simnet.Shape{})
	east.Serve("api", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	get := func() error {
		resp, err := users.HTTPClient().Get("http://api/")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []fault.Fault{{}, fault.RegionDown("nowhere", fault.ModeReset), fault.RegionDown("east", simnet.ModeUp)} {
		if _, err := w.Inject(bad); err == nil {
			t.Errorf("Inject(%v) did not fail", bad)
		}
	}
	undo, err := w.Inject(fault.RegionDown("east", fault.ModeRefuse))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Inject(fault.RegionDown("east", fault.ModeReset)); err == nil || !strings.Contains(err.Error(), "same target") {
		t.Errorf("a second fault on the target: %v", err)
	}
	if err := w.Schedule(drtest.Timeline("again", drtest.At(0, fault.RegionDown("east", fault.ModeReset)))); err == nil {
		t.Error("Schedule on the target of an injected fault did not fail")
	}
	if err := get(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("request while the Region is down: %v", err)
	}
	undo()
	undo()
	if err := get(); err != nil {
		t.Errorf("request after undo: %v", err)
	}
	if f := w.History().Faults(); len(f) != 1 || !f[0].Ended || f[0].Event != -1 {
		t.Errorf("faults: %+v", f)
	}

	// Heal ends what was injected, what is being played and what is still to come.
	if _, err := w.Inject(fault.Partition("users", "east")); err != nil {
		t.Fatal(err)
	}
	w.Play(drtest.Timeline("much",
		drtest.At(0, fault.RegionDown("east", fault.ModeRefuse)),
		drtest.At(time.Hour, fault.Gray("api", 1)),
		drtest.When(drtest.OnMark("never", ""), fault.Gray("api", 1))))
	time.Sleep(10 * time.Millisecond)
	w.Heal("enough")
	if err := get(); err != nil {
		t.Errorf("request after Heal: %v", err)
	}
	for _, f := range w.History().Faults() {
		if !f.Ended {
			t.Errorf("fault lasts on after Heal: %+v", f)
		}
	}
	w.Wait()
}

func TestInjectInRealTime(t *testing.T) { inject(t, newReal(t, drtest.Config{})) }

func TestInjectInVirtualTime(t *testing.T) { drtest.Run(t, drtest.Config{}, inject) }

// What is injected and never undone ends with the World.
func TestCloseUndoes(t *testing.T) {
	w := newReal(t, drtest.Config{})
	w.Region("east")
	undone := make(chan fault.Fault, 1)
	w.OnFault(func(f fault.Fault) (func(), error) { return func() { undone <- f }, nil })
	if _, err := w.Inject(fault.RegionDown("east", fault.ModeHang)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-undone:
	default:
		t.Error("Close returned before the fault was undone")
	}
	if _, err := w.Inject(fault.RegionDown("east", fault.ModeHang)); err == nil {
		t.Error("Inject after Close did not fail")
	}
	if err := w.Schedule(drtest.Timeline("late", drtest.At(0, fault.RegionDown("east", fault.ModeHang)))); err == nil {
		t.Error("Schedule after Close did not fail")
	}
}

func TestOnFaultMayRefuse(t *testing.T) {
	w, err := drtest.NewReal(t.Context(), drtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.Region("east")
	broken := errors.New("no permission")
	var undone int
	w.OnFault(func(fault.Fault) (func(), error) { return func() { undone++ }, nil })
	w.OnFault(func(fault.Fault) (func(), error) { return nil, broken })
	if _, err := w.Inject(fault.RegionDown("east", fault.ModeHang)); !errors.Is(err, broken) {
		t.Errorf("Inject = %v", err)
	}
	w.Play(drtest.Timeline("down", drtest.At(0, fault.RegionDown("east", fault.ModeHang)).For(time.Millisecond)))
	w.Wait()
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "did not happen: no permission") {
		t.Errorf("Close = %v", err)
	}
	if undone != 2 {
		t.Errorf("undone %d times, want 2", undone)
	}
}

func TestHistorySince(t *testing.T) {
	w := newReal(t, drtest.Config{Settle: time.Millisecond})
	w.Gauge("depth", func() float64 { return 1 })
	w.Load(drtest.Load{Name: "l", Clients: 3, Rate: drtest.Constant(50), Length: 700 * time.Millisecond, Do: func(_ context.Context, op *drtest.Op) error {
		op.Acked(op.Key())
		w.Applied("charge", op.Key())
		return nil
	}})
	done := make(chan struct{})
	go func() { w.Wait(); close(done) }()
	var at history.Cursor
	var got history.News
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-time.After(20 * time.Millisecond):
		}
		var news history.News
		news, at = w.History().Since(at)
		got.Ops, got.Acks, got.Effects = append(got.Ops, news.Ops...), append(got.Acks, news.Acks...), append(got.Effects, news.Effects...)
		if len(news.Samples["depth"]) > 0 {
			got.Samples = news.Samples
		}
		if interim := w.Report(); interim == nil {
			t.Fatal("no report so far")
		}
	}
	if fmt.Sprint(got.Ops) != fmt.Sprint(w.History().Ops()) || len(got.Acks) != len(got.Ops) || len(got.Effects) != len(got.Ops) || len(got.Ops) < 90 || got.Samples == nil {
		t.Errorf("followed %d operations, %d acks, %d effects, samples %v; the history has %d operations", len(got.Ops), len(got.Acks), len(got.Effects), got.Samples, len(w.History().Ops()))
	}
}

// The end of the context ends loads, processes and faults; Close is still needed and still works.
func TestRealWorldEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := drtest.NewReal(ctx, drtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	w.Region("east").Go("p", func(ctx context.Context) error { <-ctx.Done(); close(ended); return ctx.Err() })
	l := w.Load(drtest.Load{Name: "l", Rate: drtest.Constant(100), Do: func(context.Context, *drtest.Op) error { return nil }})
	w.Play(drtest.Timeline("t", drtest.At(0, fault.RegionDown("east", fault.ModeHang))))
	time.Sleep(50 * time.Millisecond)
	cancel()
	<-ended
	l.Stop()
	w.Wait()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestRealWorldReportsFailures(t *testing.T) {
	w, err := drtest.NewReal(t.Context(), drtest.Config{Settle: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w.Region("east").Go("p", func(context.Context) error { return errors.New("lost its mind") })
	w.Load(drtest.Load{Name: "l", Rate: drtest.Constant(1000), Length: time.Second, Do: func(context.Context, *drtest.Op) error { panic("boom") }})
	w.Wait()
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "lost its mind") || !strings.Contains(err.Error(), "boom") {
		t.Errorf("Close = %v", err)
	}
}

// Who does not end with the World is named by Close.
func TestCloseNamesWhoStays(t *testing.T) {
	w, err := drtest.NewReal(t.Context(), drtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	started, never, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w.Region("east").Go("stubborn", func(context.Context) error {
		defer close(ended)
		close(started)
		<-never
		return nil
	})
	<-started
	if err := w.CloseWithin(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "TestCloseNamesWhoStays") {
		t.Errorf("Close = %v, want the goroutine that stays", err)
	}
	close(never)
	<-ended
}
