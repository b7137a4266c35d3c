package route53arc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/failover/route53arc"
)

// A cluster is scripted: one state, five endpoints of which some are down or hang.
type cluster struct {
	on    map[string]bool
	asked [5]int
	down  [5]bool
	hangs [5]bool
	after func(arn string) // a control was read
}

type endpoint struct {
	c *cluster
	n int
}

func (e endpoint) way(ctx context.Context) error {
	e.c.asked[e.n]++
	if e.c.hangs[e.n] {
		<-ctx.Done()
		return ctx.Err()
	}
	if e.c.down[e.n] {
		return errors.New("connection refused")
	}
	return nil
}

func (e endpoint) Get(ctx context.Context, arn string) (bool, error) {
	on, err := e.c.on[arn], e.way(ctx)
	if e.c.after != nil {
		e.c.after(arn)
	}
	return on, err
}

func (e endpoint) Update(ctx context.Context, states map[string]bool) error {
	if err := e.way(ctx); err != nil {
		return err
	}
	for arn, on := range states {
		e.c.on[arn] = on
	}
	return nil
}

func open(t *testing.T) (*route53arc.Source, *cluster) {
	t.Helper()
	c := &cluster{on: map[string]bool{}}
	cfg := route53arc.Config{Controls: map[string]string{"us-east-1": "arn:e", "us-west-2": "arn:w"}}
	for n := range c.asked {
		cfg.Endpoints = append(cfg.Endpoints, endpoint{c, n})
	}
	s, err := route53arc.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestActive(t *testing.T) {
	s, c := open(t)
	for _, tt := range []struct {
		east, west bool
		want       string
		conflict   bool
	}{{false, false, "", false}, {true, false, "us-east-1", false}, {false, true, "us-west-2", false}, {true, true, "", true}} {
		c.on["arn:e"], c.on["arn:w"] = tt.east, tt.west
		if got, err := s.Active(t.Context()); got != tt.want || errors.Is(err, route53arc.ErrConflict) != tt.conflict || (err != nil) != tt.conflict {
			t.Errorf("Active with %v, %v = %q, %v, want %q", tt.east, tt.west, got, err, tt.want)
		}
	}
}

// A switch between two reads looks like no Region, or like both.
func TestASwitchMeanwhileIsNoConflict(t *testing.T) {
	for _, to := range []string{"us-west-2", "us-east-1"} {
		s, c := open(t)
		c.on["arn:e"], c.on["arn:w"] = to == "us-west-2", to == "us-east-1"
		c.after = func(arn string) {
			c.after = nil
			if err := s.Switch(t.Context(), to); err != nil {
				t.Error(err)
			}
		}
		if got, err := s.Active(t.Context()); got != to || err != nil {
			t.Errorf("Active during a switch = %q, %v, want %q", got, err, to)
		}
	}
}

func TestSwitchTurnsTheOthersOff(t *testing.T) {
	s, c := open(t)
	for _, region := range []string{"us-east-1", "us-west-2", ""} {
		if err := s.Switch(t.Context(), region); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Active(t.Context()); got != region || err != nil {
			t.Errorf("Active after Switch(%q) = %q, %v", region, got, err)
		}
	}
	if err := s.Switch(t.Context(), "mars"); err == nil || c.on["arn:e"] || c.on["arn:w"] {
		t.Errorf("Switch to an unknown Region = %v, want an error and nothing changed", err)
	}
}

func TestEndpointsAreRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t)
		c.down[0], c.hangs[1] = true, true
		start := time.Now()
		if err := s.Switch(t.Context(), "us-west-2"); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("Switch = %v after %v, want nil after one time-out of 3s", err, time.Since(start))
		}
		if _, err := s.Active(t.Context()); err != nil || c.asked != [5]int{1, 1, 3, 0, 0} {
			t.Errorf("endpoints asked %v, %v, want the one that answered kept", c.asked, err)
		}
		c.down = [5]bool{true, true, true, true, true}
		c.hangs[1] = false
		if _, err := s.Active(t.Context()); err == nil || !strings.Contains(err.Error(), "endpoint 5") {
			t.Errorf("Active with all endpoints down = %v, want an error that names each", err)
		}
	})
}

func TestNewNamesTheField(t *testing.T) {
	for _, cfg := range []route53arc.Config{
		{},
		{Controls: map[string]string{"r": "a"}},
		{Controls: map[string]string{"r": "a"}, Endpoints: []route53arc.API{nil}},
		{Controls: map[string]string{"r": "a", "s": "a"}, Endpoints: []route53arc.API{endpoint{}}},
		{Controls: map[string]string{"r": ""}, Endpoints: []route53arc.API{endpoint{}}},
		{Controls: map[string]string{"r": "a"}, Endpoints: []route53arc.API{endpoint{}}, Timeout: -1},
	} {
		if _, err := route53arc.New(cfg); err == nil || !strings.Contains(err.Error(), "Config.") {
			t.Errorf("New(%+v) = %v, want an error that names the field", cfg, err)
		}
	}
}
