package failover

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBadConfigurationNamesTheField(t *testing.T) {
	good := func() ControllerConfig {
		return ControllerConfig{Regions: []Region{east, west}, Self: east, Coordinator: NewMemoryCoordinator(east, west)}
	}
	for name, tt := range map[string]struct {
		edit func(*ControllerConfig)
		want string
	}{
		"no Regions":                       {func(c *ControllerConfig) { c.Regions = nil }, "Regions"},
		"duplicate Regions":                {func(c *ControllerConfig) { c.Regions = []Region{east, east} }, "Regions"},
		"an empty Region":                  {func(c *ControllerConfig) { c.Regions = []Region{east, " "} }, "Regions"},
		"a witness in a serving Region":    {func(c *ControllerConfig) { c.Witnesses = []Region{west} }, "Witnesses"},
		"Self not listed":                  {func(c *ControllerConfig) { c.Self = central }, "Self"},
		"a witness that is not listed":     {func(c *ControllerConfig) { c.Role = RoleWitness }, "Self"},
		"unknown role":                     {func(c *ControllerConfig) { c.Role = 9 }, "Role"},
		"LeaseTTL below the renew margin":  {func(c *ControllerConfig) { c.LeaseTTL, c.PollEvery = 15*time.Second, 5*time.Second }, "LeaseTTL"},
		"negative LeaseTTL":                {func(c *ControllerConfig) { c.LeaseTTL = -time.Second }, "LeaseTTL"},
		"negative HoldFor":                 {func(c *ControllerConfig) { c.HoldFor = -time.Second }, "HoldFor"},
		"negative HealFor":                 {func(c *ControllerConfig) { c.HealFor = -time.Second }, "HealFor"},
		"negative RampStep":                {func(c *ControllerConfig) { c.RampStep = -time.Second }, "RampStep"},
		"negative MaxFlight":               {func(c *ControllerConfig) { c.MaxFlight = -1 }, "MaxFlight"},
		"ClockRate of one":                 {func(c *ControllerConfig) { c.ClockRate = 1 }, "ClockRate"},
		"no coordinator":                   {func(c *ControllerConfig) { c.Coordinator = nil }, "Coordinator"},
		"a coordinator that dies with one": {func(c *ControllerConfig) { c.Coordinator = NewMemoryCoordinator(east) }, "Coordinator"},
		"Automatic without a witness":      {func(c *ControllerConfig) { c.Automatic = true }, "Automatic"},
		"FenceToken without FenceOld":      {func(c *ControllerConfig) { c.Fence = FenceToken }, "FenceOld"},
		"unknown fence":                    {func(c *ControllerConfig) { c.Fence = 9 }, "Fence"},
		"a window that nobody opens":       {func(c *ControllerConfig) { c.Failback = FailbackWindow }, "FailbackWindowOpen"},
		"MinVoters below one":              {func(c *ControllerConfig) { c.MinVoters = -1 }, "MinVoters"},
		"state file that is a directory":   {func(c *ControllerConfig) { c.StateFile = t.TempDir() }, "StateFile"},
	} {
		cfg := good()
		tt.edit(&cfg)
		if _, err := NewController(cfg); err == nil || !strings.Contains(err.Error(), "ControllerConfig."+tt.want+":") {
			t.Errorf("%s: NewController = %v, want an error that names %s", name, err, tt.want)
		}
	}
	if _, err := NewController(good()); err != nil {
		t.Errorf("NewController of a good configuration = %v", err)
	}
}

func TestBadMembersNameTheRegion(t *testing.T) {
	ctl, err := NewController(ControllerConfig{Regions: []Region{east, west}, Self: east, Coordinator: NewMemoryCoordinator(east, west)})
	if err != nil {
		t.Fatal(err)
	}
	probe := func(context.Context, int) error { return nil }
	for name, members := range map[string][]Member[int]{
		west:             {{Region: east, Probe: probe}},
		"has a Member":   {{Region: east, Probe: probe}, {Region: east, Probe: probe}},
		"mars":           {{Region: "mars", Probe: probe}},
		"Probe is nil":   {{Region: east}, {Region: west, Probe: probe}},
		"No Member at w": nil,
	} {
		_, err := New(ctl, members, ClientConfig{Name: "db"})
		if err == nil || !strings.Contains(err.Error(), "failover: New") || name != "No Member at w" && !strings.Contains(err.Error(), name) {
			t.Errorf("New = %v, want an error with %q", err, name)
		}
	}
	if _, err := New[int](nil, nil, ClientConfig{}); err == nil {
		t.Error("New without a controller = nil error")
	}
}

func TestBadRequestsMoveNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		ctl := f.nodes[0].ctl
		for name, tt := range map[string]struct {
			to    Region
			q     Request
			guard Guard
		}{
			"to the current writer": {east, Request{Reason: "r", By: "ann"}, GuardTarget},
			"to an unknown Region":  {"mars", Request{Reason: "r", By: "ann"}, GuardTarget},
			"to a witness":          {central, Request{Reason: "r", By: "ann"}, GuardTarget},
			"without a reason":      {west, Request{By: "ann"}, GuardRequest},
			"by nobody":             {west, Request{Reason: "r"}, GuardRequest},
			"approved by oneself":   {west, Request{Reason: "r", By: "ann", Second: " Ann"}, GuardRequest},
			"a loss by nobody":      {west, Request{Reason: "r", By: "ann", AcceptLoss: &AcceptLoss{Exposure: time.Hour}}, GuardRequest},
		} {
			_, err := ctl.Failover(t.Context(), tt.to, tt.q)
			if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Guard != tt.guard {
				t.Errorf("%s: Failover = %v, want a refusal by %s", name, err, tt.guard)
			}
		}
		tr, err := ctl.Failover(t.Context(), west, Request{Reason: "r", By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Minute)
		if _, err := ctl.Approve(t.Context(), tr.ID, "bob"); !errors.Is(err, ErrRefused) {
			t.Errorf("Approve of a request that is an hour old = %v, want a refusal", err)
		}
		if !f.agree(PhaseSteady, 1) || len(f.writers()) != 1 {
			t.Errorf("something moved: %+v", ctl.Decision())
		}
	})
}

// Probes that panic, or hang and do not heed their context, in every Region: nothing moves.
func TestUselessProbesMoveNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		release := make(chan struct{})
		var once sync.Once
		t.Cleanup(func() { once.Do(func() { close(release) }) })
		ctl := f.nodes[1].ctl
		for name, probe := range map[string]func(context.Context, int) error{
			"panics": func(context.Context, int) error { panic("oh no") },
			"hangs":  func(context.Context, int) error { <-release; return nil },
		} {
			if _, err := New(ctl, []Member[int]{{Region: east, Probe: probe}, {Region: west, Probe: probe}}, ClientConfig{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		if d := ctl.Decision(); d.Writer != east || d.Phase != PhaseSteady || !d.SelfSuspect {
			t.Errorf("decision %+v, want nothing moved and the fault suspected here", d)
		}
		once.Do(func() { close(release) })
	})
}

func TestStateFileBootsWithoutTheCoordinator(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	inFleet(t, func(t *testing.T, f *fleet) {
		cfg := f.config(east, "e0")
		cfg.StateFile = path
		n := f.add(cfg)
		f.until(time.Minute, "a decision", func() bool { return n.ctl.Decision().Epoch == 1 })
	})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	boot := func(content []byte, regions ...Region) (*Controller, error) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return NewController(ControllerConfig{Regions: regions, Self: east, Coordinator: NewMemoryCoordinator(regions...), StateFile: path})
	}
	ctl, err := boot(text, east, west)
	if err != nil {
		t.Fatal(err)
	}
	if _, writer := ctl.Route(); writer != east {
		t.Errorf("Route after boot from the state file names writer %q, want %q", writer, east)
	}
	if epoch, _ := ctl.Epoch(); epoch != 0 {
		t.Errorf("Epoch after boot from the state file = %x, want 0: there is no lease", epoch)
	}
	if _, err := boot(text[:len(text)/2], east, west); err == nil || !strings.Contains(err.Error(), "torn") {
		t.Errorf("boot from half a file = %v, want an error that says torn", err)
	}
	if _, err := boot([]byte(strings.Replace(string(text), `"epoch":1`, `"epoch":9`, 1)), east, west); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("boot from an edited file = %v, want an error that says checksum", err)
	}
	if _, err := boot(text, east, "eu-west-1"); err == nil || !strings.Contains(err.Error(), "foreign") {
		t.Errorf("boot from another fleet's file = %v, want an error that says foreign", err)
	}
}

func TestBreakGlassStartsANewIncarnation(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.standard()
		fresh := NewMemoryCoordinator(east, west, central)
		ctl := f.nodes[1].ctl
		if _, err := ctl.BreakGlass(t.Context(), fresh, Request{Reason: "gone", By: "ann"}); !errors.Is(err, ErrRefused) {
			t.Errorf("BreakGlass by one person = %v, want a refusal", err)
		}
		if _, err := ctl.BreakGlass(t.Context(), fresh, Request{Reason: "gone", By: "ann", Second: "bob"}); err != nil {
			t.Fatal(err)
		}
		f.until(10*time.Second, "west writes", func() bool { e, _ := ctl.Epoch(); return Incarnation(e) == 1 })
		if _, err := f.nodes[0].ctl.BreakGlass(t.Context(), fresh, Request{Reason: "follow", By: "ann", Second: "bob"}); err != nil {
			t.Fatal(err)
		}
		if d := f.nodes[0].ctl.Decision(); d.Writer != west || Incarnation(d.Epoch) != 1 {
			t.Errorf("the other instance's decision %+v, want it to follow", d)
		}
		if err := VerifyAudit(logReader(ctl.Status().Log)); err != nil {
			t.Errorf("audit chain over the break: %v", err)
		}
	})
}

// A write in flight when its Region is switched away ends with the cause ErrRegionDrained or with its lease, and is on record.
func TestWritesInFlightEndAtTheSwitch(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		ledger := NewMemoryLedger(nil)
		f.tune = func(cfg *ControllerConfig) { cfg.Ledger = ledger; cfg.MaxFlight = 20 * time.Second }
		f.standard()
		n := f.nodes[0]
		if _, err := f.nodes[1].ctl.Failover(t.Context(), west, Request{Reason: "r", By: "ann", Second: "bob"}); err != nil {
			t.Fatal(err)
		}
		f.until(10*time.Second, "cut is known", func() bool { return n.ctl.Decision().Phase == PhaseFenced })
		hangs := n.client.regions[0].flights.begin(t.Context(), time.Now().Add(time.Hour))
		time.Sleep(25 * time.Second)
		if context.Cause(hangs) != ErrRegionDrained || hangs.Err() != context.Canceled {
			t.Errorf("cause after the switch = %v (%v), want ErrRegionDrained", context.Cause(hangs), hangs.Err())
		}
		f.until(2*time.Minute, "west writes", func() bool { _, ok := f.nodes[1].ctl.Ready(); return ok })
		start := time.Now()
		err := f.nodes[1].client.Write(t.Context(), func(ctx context.Context, _ *backend, _ Fence) error { <-ctx.Done(); return ctx.Err() })
		unknown, ok := errors.AsType[*UnknownOutcomeError](err)
		if took := time.Since(start); !ok || unknown.Epoch != 3 || took > 20*time.Second {
			t.Errorf("a write that hangs = %v after %v, want an unknown outcome at epoch 3 within the lease", err, took)
		}
		if all := ledger.All(); len(all) != 1 || all[0].ID != unknown.ID {
			t.Errorf("ledger %+v, want the one record", all)
		}
	})
}

func TestFileLedgerSurvivesATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte(`{"id":"to`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := OpenFileLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), UnknownWrite{ID: "w1"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if lines := strings.Split(string(text), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], `{"id":"w1"`) {
		t.Errorf("ledger %q, want the new record on a line of its own", text)
	}
}

// A record that a disk took a part of does not spoil the next one's line. A pipe that is full takes a part.
func TestFileLedgerEndsATornLine(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	l := &FileLedger{file: w}
	_ = w.SetWriteDeadline(time.Now().Add(time.Second)) // much more than it takes to fill the pipe
	if err := l.Record(t.Context(), UnknownWrite{ID: "torn", Error: strings.Repeat("x", 1<<20)}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Record into a full pipe = %v", err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewReader(r); ; {
			line, err := s.ReadString('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	_ = w.SetWriteDeadline(time.Time{})
	_ = l.Record(t.Context(), UnknownWrite{ID: "whole"}) // an error: pipes cannot be synced
	<-lines
	if line := <-lines; !strings.HasPrefix(line, `{"id":"whole"`) {
		t.Errorf("the line after a torn one: %.60s", line)
	}
}
