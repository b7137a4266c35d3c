package drtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// hazards are Worlds that must fail, quickly and with the place. Each runs in a process of its own.
var hazards = []struct {
	name   string
	config drtest.Config
	f      func(t *testing.T, w *drtest.World)
	want   []string // expressions; %here stands for a line of this file
}{
	{"a mutex held across a sleep", drtest.Config{Watchdog: time.Second}, func(_ *testing.T, w *drtest.World) {
		var mu sync.Mutex
		w.Region("east").Go("holder", func(context.Context) error { mu.Lock(); time.Sleep(time.Hour); mu.Unlock(); return nil })
		time.Sleep(time.Minute)
		mu.Lock()
	}, []string{`virtual time has not moved`, `sync\.Mutex\.Lock\] at %here`, `hold no lock across a sleep`, `who may hold the lock`, `\[sleep\] at %here`}},

	{"a real listener", drtest.Config{Watchdog: time.Second}, func(t *testing.T, _ *drtest.World) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = l.Accept()
	}, []string{`IO wait\] at %here`, `real socket`}},

	{"a request through the default client", drtest.Config{}, func(t *testing.T, _ *drtest.World) {
		resp, err := http.Get("http://127.0.0.1:1/")
		if err == nil {
			_ = resp.Body.Close()
		}
	}, []string{`real connection to 127\.0\.0\.1:1 from inside a World, at %here`}},

	{"an https request through a clone of the default transport", drtest.Config{}, func(t *testing.T, _ *drtest.World) {
		client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
		resp, err := client.Get("https://127.0.0.1:1/")
		if err == nil {
			_ = resp.Body.Close()
		}
	}, []string{`real connection to 127\.0\.0\.1:1 from inside a World, at %here`}},

	{"a dialer of one's own", drtest.Config{Watchdog: time.Second}, func(t *testing.T, _ *drtest.World) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // keeps it: the collector would close it, and so reset the connection
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Read(make([]byte, 1))
	}, []string{`IO wait\] at %here`, `real socket`}},

	{"a function that waits for ever while a load runs", drtest.Config{Watchdog: 300 * time.Millisecond}, func(_ *testing.T, w *drtest.World) {
		w.Load(drtest.Load{Name: "endless", Clients: 5, Rate: drtest.Constant(2), Do: func(context.Context, *drtest.Op) error { return nil }})
		<-make(chan int)
	}, []string{`the World has no plan beyond \d+`, `chan receive\] at %here`}},

	{"a load with a name that is taken", drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		l := drtest.Load{Name: "twin", Rate: drtest.Constant(1), Do: func(context.Context, *drtest.Op) error { return nil }}
		w.Load(l)
		w.Load(l)
	}, []string{`hazard_test\.go:\d+: drtest: Load "twin": Name: there is a load of that name`}},

	{"a channel from outside", drtest.Config{Watchdog: time.Second}, func(*testing.T, *drtest.World) {
		<-outside
	}, []string{`chan receive\] at %here`, `made outside the World`}},

	{"a busy loop", drtest.Config{Watchdog: 200 * time.Millisecond}, func(*testing.T, *drtest.World) {
		for n := 0; ; n++ {
			if n%1000 == 0 {
				runtime.Gosched()
			}
		}
	}, []string{`this is running`, `at %here`}},

	{"a goroutine that waits for ever", drtest.Config{}, func(*testing.T, *drtest.World) {
		go func() { select {} }()
	}, []string{`1 goroutines left`, `at %here`}},

	{"a goroutine that ticks for ever", drtest.Config{}, func(*testing.T, *drtest.World) {
		go func() {
			for {
				time.Sleep(time.Second)
			}
		}()
	}, []string{`1 goroutines left`, `at %here`}},

	{"a deadlock of all", drtest.Config{}, func(*testing.T, *drtest.World) {
		<-make(chan int)
	}, []string{`reached its limit of 168h0m0s`, `chan receive\] at %here`}},

	{"a load that panics", drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		w.Load(drtest.Load{Name: "bad", Rate: drtest.Constant(1), Do: func(context.Context, *drtest.Op) error { panic("boom") }})
	}, []string{`Load "bad" panicked: boom, at %here`}},

	{"a process that panics", drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		w.Region("east").Go("bad", func(context.Context) error { panic("boom") })
		time.Sleep(time.Second)
	}, []string{`process "bad" in east ended: panicked: boom, at %here`}},

	{"a process that fails", drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		w.Region("east").Go("bad", func(context.Context) error { return errors.New("boom") })
		time.Sleep(time.Second)
	}, []string{`process "bad" in east ended: boom`}},

	{"an unknown Region", drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		w.Region("east")
		w.Play(drtest.Timeline("typo", drtest.At(0, fault.RegionDown("east", fault.ModeRefuse)), drtest.At(0, fault.RegionDown("esat", fault.ModeRefuse))))
	}, []string{`hazard_test\.go:\d+: drtest: Scenario "typo": events\[1\]\.fault\.region: the World has no such region: "esat"`}},

	{"a load without a rate", drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		w.Load(drtest.Load{Name: "idle", Do: func(context.Context, *drtest.Op) error { return nil }})
	}, []string{`hazard_test\.go:\d+: drtest: Load "idle": Rate: 0 per second is not above 0`}},

	{"a check that fails", drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		w.Applied("charge", "1")
		time.Sleep(time.Second)
		w.Applied("charge", "1")
		w.Check(check.AppliedOnce())
	}, []string{`failed +AppliedOnce: 1 of 2 effects were repetitions`, `charge of "1" at 0s and again at 1s`, `event hash`}},

	{"a tie", drtest.Config{TieFree: true}, func(_ *testing.T, w *drtest.World) {
		wake := make(chan struct{})
		time.AfterFunc(10*time.Second, func() { close(wake) })
		w.Load(drtest.Load{Name: "herd", Clients: 3, Rate: drtest.Constant(1), Length: 2 * time.Second, Timeout: time.Minute, Do: func(context.Context, *drtest.Op) error {
			<-wake
			return nil
		}})
	}, []string{`\d+ events share a nanosecond with another, first herd`}},

	{"an impossible date", drtest.Config{StartAt: time.Unix(0, 0)}, func(*testing.T, *drtest.World) {}, []string{`Config\.StartAt`}},

	{"a failure inside", drtest.Config{}, func(t *testing.T, w *drtest.World) {
		w.Load(drtest.Load{Name: "endless", Rate: drtest.Constant(1), Do: func(context.Context, *drtest.Op) error { return nil }})
		t.Fatal("enough")
	}, []string{`enough`}},
}

var outside = make(chan int)

const hazardEnv = "DRTEST_HAZARD"

// TestHazard runs the hazard that the environment names. It is the child of TestHazards.
func TestHazard(t *testing.T) {
	name := os.Getenv(hazardEnv)
	if name == "" {
		t.Skip("runs as a child process of TestHazards")
	}
	for _, h := range hazards {
		if h.name == name {
			drtest.Run(t, h.config, h.f)
			fmt.Println("HAZARD PASSED")
		}
	}
}

// TestAfterHazard shows that the process goes on after a World that was given up.
func TestAfterHazard(t *testing.T) {
	if os.Getenv(hazardEnv) == "" {
		t.Skip("runs as a child process of TestHazards")
	}
	fmt.Println("NEXT TEST RUNS")
}

func TestHazards(t *testing.T) {
	for _, h := range hazards {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^(TestHazard|TestAfterHazard)$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), hazardEnv+"="+h.name)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			start := time.Now()
			err := cmd.Run()
			if _, failed := errors.AsType[*exec.ExitError](err); !failed {
				t.Fatalf("the test did not fail (%v):\n%s", err, &out)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			here := filepath.Base(thisFile()) + `:\d+`
			for _, want := range h.want {
				expr := strings.ReplaceAll(want, "%here", `\S*`+here)
				if !regexp.MustCompile(expr).Match(out.Bytes()) {
					t.Errorf("no %q in the output:\n%s", expr, &out)
				}
			}
			if m := regexp.MustCompile(`has not moved for (\S+); blocked`).FindSubmatch(out.Bytes()); m != nil {
				if idle, err := time.ParseDuration(string(m[1])); err != nil || idle > h.config.Watchdog+time.Second {
					t.Errorf("the watchdog needed %s, its limit is %v", m[1], h.config.Watchdog)
				}
			}
			if !strings.Contains(out.String(), "NEXT TEST RUNS") || strings.Contains(out.String(), "HAZARD PASSED") {
				t.Errorf("the process did not go on as it should:\n%s", &out)
			}
		})
	}
}

func thisFile() string {
	_, file, _, _ := runtime.Caller(0)
	return file
}
