package drtest_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// A worker dies with its Region, so a backlog grows; afterwards it drains.
func TestBacklogDrains(t *testing.T) {
	var world *drtest.World
	drtest.Run(t, drtest.Config{TieFree: true}, func(_ *testing.T, w *drtest.World) {
		world = w
		var backlog atomic.Int64
		w.Gauge("backlog", func() float64 { return float64(backlog.Load()) })
		w.Region("east").Go("worker", func(ctx context.Context) error {
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
					if backlog.Load() > 0 {
						backlog.Add(-1)
					}
				}
			}
			return nil
		})
		w.Load(drtest.Load{Name: "calls", Rate: drtest.Constant(5), Do: func(context.Context, *drtest.Op) error {
			backlog.Add(1)
			return nil
		}})
		play(w, drtest.At(time.Minute, fault.RegionDown("east", fault.ModeRefuse)).For(time.Minute))
		// Five a second came for a minute; ten a second leave while five come.
		w.Check(check.Drained("backlog", 70*time.Second).To(2))
	})
	if v := check.Drained("backlog", 50*time.Second).To(2).Evaluate(world.History()); v.Passed() {
		t.Errorf("drained too early: %v", v)
	}
	if v := check.Drained("backlog", 70*time.Second).Evaluate(world.History()); len(v.Why) == 0 || !strings.Contains(v.Why[0], "highest 30") {
		t.Errorf("the backlog of a minute is not about 300: %v", v)
	}
}

func TestListenAndDial(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east, users := w.Region("east"), w.Region("users")
		l, err := east.Listen("echo.east:7")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
			}
		}()
		c, err := users.DialContext(t.Context(), "tcp", "echo.east:7")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "hello\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" || err != nil {
			t.Errorf("echo %q, %v", line, err)
		}
	})
}

// A server that does not speak HTTP asks for faults itself.
func TestDisturbed(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east := w.Region("east")
		east.Serve("cache", http.HandlerFunc(hello))
		play(w, drtest.At(0, fault.Throttle("cache", 1, 503, time.Second).On("GET")).For(time.Minute))
		time.Sleep(time.Second)
		if status, wait, ok := east.Disturbed("cache", "GET"); !ok || status != 503 || wait != time.Second {
			t.Errorf("Disturbed = %d, %v, %v", status, wait, ok)
		}
		if _, _, ok := east.Disturbed("cache", "SET"); ok {
			t.Error("another operation is disturbed")
		}
	})
}

func TestStoreClientReads(t *testing.T) {
	inPair(t, func(t *testing.T, _ *drtest.World, primary, replica *drtest.Store) {
		mustPut(t, primary, "a")
		time.Sleep(time.Second)
		for key, want := range map[string]bool{"a": true, "b": false} {
			start := time.Now()
			_, ok, err := replica.Client(primary.Region()).Get(t.Context(), key)
			if ok != want || err != nil || time.Since(start).Round(time.Millisecond) != 80*time.Millisecond {
				t.Errorf("Get(%q) = %v, %v after %v", key, ok, err, time.Since(start))
			}
		}
	})
}

func TestLoadValidation(t *testing.T) {
	good := drtest.Load{Name: "l", Rate: drtest.Constant(1), Do: nothing}
	if err := drtest.ValidLoad(good); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*drtest.Load){
		"Name":    func(l *drtest.Load) { l.Name = "" },
		"Clients": func(l *drtest.Load) { l.Clients = -1 },
		"Rate":    func(l *drtest.Load) { l.Rate = drtest.Poisson(-1) },
		"Timeout": func(l *drtest.Load) { l.Timeout = -1 },
		"Length":  func(l *drtest.Load) { l.Length = -1 },
		"Edges":   func(l *drtest.Load) { l.Edges.Thin = -1 },
		"Do":      func(l *drtest.Load) { l.Do = nil },
	} {
		l := good
		spoil(&l)
		if err := drtest.ValidLoad(l); err == nil || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("a load with a bad %s: %v", field, err)
		}
	}
}
