package drtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// inWorld runs f with a server in the east and a client among the users, 30 ms away.
func inWorld(t *testing.T, f func(t *testing.T, w *drtest.World, client *http.Client)) {
	t.Helper()
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			w.Region("east").Serve("api", http.HandlerFunc(hello))
			client := w.Region("users").HTTPClient()
			client.Timeout = 5 * time.Second
			if _, err := get(t.Context(), client, "http://api/"); err != nil {
				t.Fatal(err)
			}
			f(t, w, client)
		})
	})
}

func play(w *drtest.World, e ...drtest.Event) { w.Play(drtest.Timeline("test", e...)) }

// share returns which part of n requests succeed.
func share(t *testing.T, client *http.Client, url string, n int) float64 {
	t.Helper()
	ok := 0
	for range n {
		if _, err := get(t.Context(), client, url); err == nil {
			ok++
		}
	}
	return float64(ok) / float64(n)
}

func between(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s = %v, want between %v and %v", what, got, low, high)
	}
}

func TestRegionDownModes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		for mode, want := range map[drtest.Event]error{
			drtest.At(0, fault.RegionDown("east", fault.ModeBlackhole)): context.DeadlineExceeded,
			drtest.At(0, fault.RegionDown("east", fault.ModeRefuse)):    syscall.ECONNREFUSED,
			drtest.At(0, fault.RegionDown("east", fault.ModeReset)):     syscall.ECONNRESET,
			drtest.At(0, fault.RegionDown("east", fault.ModeHang)):      context.DeadlineExceeded,
		} {
			play(w, mode.For(10*time.Second))
			time.Sleep(time.Second)
			if _, err := get(t.Context(), client, "http://api/"); !errors.Is(err, want) {
				t.Errorf("%v: Get = %v, want %v", mode.Fault, err, want)
			}
			time.Sleep(20 * time.Second)
			if _, err := get(t.Context(), client, "http://api/"); err != nil {
				t.Errorf("%v: Get after heal = %v", mode.Fault, err)
			}
		}
	})
}

func TestGray(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		play(w, drtest.At(0, fault.Gray("api", 0.3).On("GET /bad")).For(time.Hour))
		time.Sleep(time.Second)
		between(t, "success of GET /bad", share(t, client, "http://api/bad", 300), 0.6, 0.8)
		between(t, "success of GET /bad/deep", share(t, client, "http://api/bad/deep", 300), 0.6, 0.8)
		between(t, "success of GET /badge", share(t, client, "http://api/badge", 50), 1, 1)
	})
}

func TestThrottleSaysWhenToComeBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		play(w, drtest.At(0, fault.Throttle("api", 1, 429, 1500*time.Millisecond)).For(time.Minute))
		time.Sleep(time.Second)
		resp, err := client.Get("http://api/")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "2" {
			t.Errorf("status %d, Retry-After %q, want 429 and 2", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	})
}

// A refuser writes errors of its own protocol.
type refuser struct{ http.HandlerFunc }

func (refuser) Refuse(w http.ResponseWriter, _ *http.Request, status int, _ time.Duration) {
	w.Header().Set("X-Error", "Throttled")
	w.WriteHeader(status)
}

func TestRefuserWritesItsOwnErrors(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		w.Region("east").Serve("queue", refuser{hello})
		play(w, drtest.At(0, fault.Throttle("queue", 1, 503, 0).On("SendMessage")).For(time.Minute))
		time.Sleep(time.Second)
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://queue/", nil)
		req.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
		resp, err := w.Region("users").HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != 503 || resp.Header.Get("X-Error") != "Throttled" {
			t.Errorf("status %d, header %q", resp.StatusCode, resp.Header.Get("X-Error"))
		}
	})
}

func TestLatencyRamps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		play(w, drtest.At(0, fault.Latency("users", "east", time.Second)).For(time.Minute).Ramp(20*time.Second))
		took := func() time.Duration {
			start := time.Now()
			if _, err := get(t.Context(), client, "http://api/"); err != nil {
				t.Error(err)
			}
			return time.Since(start).Round(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if got, want := took(), 660*time.Millisecond; got != want { // step 3 of 10
			t.Errorf("a quarter up the ramp a request took %v, want %v", got, want)
		}
		time.Sleep(25 * time.Second)
		if got, want := took(), 2060*time.Millisecond; got != want {
			t.Errorf("at full strength a request took %v, want %v", got, want)
		}
		time.Sleep(time.Minute)
		if got, want := took(), 60*time.Millisecond; got != want {
			t.Errorf("after the fault a request took %v, want %v", got, want)
		}
	})
}

func TestFlap(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east, users := w.Region("east"), w.Region("users")
		east.Serve("api", http.HandlerFunc(hello))
		play(w, drtest.At(10*time.Second, fault.Gray("api", 1)).For(14*time.Second).Flap(2*time.Second, 3*time.Second))
		var bad []int
		client := users.HTTPClient()
		for second := range 30 {
			time.Sleep(500 * time.Millisecond)
			if _, err := get(t.Context(), client, "http://api/"); err != nil {
				bad = append(bad, second)
			}
			time.Sleep(time.Until(bubbleSecond(second + 1)))
		}
		if want := []int{10, 11, 15, 16, 20, 21}; !slices.Equal(bad, want) {
			t.Errorf("bad seconds %v, want %v", bad, want)
		}
	})
}

// bubbleSecond is the start of a second of a World with the default date.
func bubbleSecond(n int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)
}

func TestPartitionOneWayLosesAnswers(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			var served atomic.Int32
			w.Region("east").Serve("api", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
			client := w.Region("users").HTTPClient()
			client.Timeout = 5 * time.Second
			if _, err := get(t.Context(), client, "http://api/"); err != nil {
				t.Fatal(err)
			}
			play(w, drtest.At(0, fault.PartitionOneWay("east", fault.Others)).For(time.Minute))
			time.Sleep(time.Second)
			if _, err := get(t.Context(), client, "http://api/"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get = %v", err)
			}
			if n := served.Load(); n != 2 {
				t.Errorf("the handler ran %d times, want 2", n)
			}
		})
	})
}

func TestCrashAndRestart(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		causes := make(chan error, 10)
		p := w.Region("east").Go("worker", func(ctx context.Context) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		})
		time.Sleep(time.Second)
		play(w,
			drtest.At(0, fault.Crash("worker")),
			drtest.At(10*time.Second, fault.Crash("worker")).For(time.Minute),
			drtest.At(20*time.Second, fault.RegionDown("east", fault.ModeRefuse)).For(10*time.Second),
			drtest.At(100*time.Second, fault.RegionDown("east", fault.ModeHang)).For(10*time.Second))
		for _, step := range []struct {
			sleep  time.Duration
			starts int
		}{{5 * time.Second, 2}, {30 * time.Second, 2}, {40 * time.Second, 3}, {time.Minute, 3}} {
			time.Sleep(step.sleep)
			if got := p.Starts(); got != step.starts {
				t.Errorf("%v after the start: %d starts, want %d", time.Since(bubbleSecond(0)), got, step.starts)
			}
		}
		for len(causes) > 0 {
			if err := <-causes; !errors.Is(err, drtest.ErrCrashed) {
				t.Errorf("cause %v", err)
			}
		}
	})
}

func TestClockSkew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		play(w, drtest.At(0, fault.ClockSkew("east", -time.Hour)).For(time.Minute))
		time.Sleep(time.Second)
		if got := time.Until(w.Region("east").Now()); got != -time.Hour {
			t.Errorf("clocks are off by %v", got)
		}
		resp, err := client.Get("http://api/")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		date, err := http.ParseTime(resp.Header.Get("Date"))
		if err != nil || time.Until(date).Round(time.Minute) != -time.Hour {
			t.Errorf("Date header %v, %v", date, err)
		}
		time.Sleep(time.Minute)
		if got := time.Until(w.Region("east").Now()); got != 0 {
			t.Errorf("after the fault clocks are off by %v", got)
		}
	})
}

func TestWhenFollowsAMark(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		a := w.Region("east").Store("a")
		b := w.Region("west").Store("b", drtest.ReplicaOf(a))
		play(w,
			drtest.When(drtest.OnMark(history.MarkPromoted, "b").Then(5*time.Second), fault.RegionDown("west", fault.ModeRefuse)).For(time.Second),
			drtest.When(drtest.OnMark("never", ""), fault.ClockSkew("east", time.Second)),
			drtest.When(drtest.OnFailures(3), fault.ClockSkew("west", time.Second)).For(time.Second))
		time.Sleep(20 * time.Second)
		if err := b.Promote(1); err != nil {
			t.Error(err)
		}
		w.Load(drtest.Load{Name: "failing", Rate: drtest.Constant(1), Length: 10 * time.Second, Do: func(context.Context, *drtest.Op) error {
			return errors.New("no")
		}})
		w.Wait()
		var got []string
		for _, f := range w.History().Faults() {
			got = append(got, f.Text+" "+f.From.Round(time.Second).String())
		}
		if want := []string{"clocks of west are off by 1s 23s", "west is down (refuse) 25s"}; !slices.Equal(got, want) {
			t.Errorf("faults %q, want %q", got, want)
		}
	})
}

func TestPlayRefuses(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		w.Region("east").Store("db")
		play(w, drtest.At(0, fault.RegionDown("east", fault.ModeHang)).For(time.Minute))
		for _, e := range []drtest.Event{
			drtest.At(0, fault.Gray("nowhere", 1)),
			drtest.At(0, fault.ReplicationPause("db")),
			drtest.At(0, fault.ReplicationPause("nothing")),
			drtest.At(0, fault.Crash("nobody")),
			drtest.At(0, fault.Partition("east", "nowhere")),
			drtest.At(30*time.Second, fault.RegionDown("east", fault.ModeHang)),
		} {
			if err := w.Admit(drtest.Timeline("bad", e)); err == nil {
				t.Errorf("Play takes %v", e.Fault)
			}
		}
	})
}
