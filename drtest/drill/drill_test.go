//go:build unix

package drill_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/drill"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// TestMain lets the test binary play a drill that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("HOLDFAST_PLAY_DRILL"); dir != "" {
		playForEver(dir)
	}
	os.Exit(m.Run())
}

// A site is a World with two Regions, users who fail over, and a folder.
type site struct {
	t   *testing.T
	w   *drtest.World
	dir string
}

func newSite(t *testing.T) *site {
	t.Helper()
	w, err := newWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t, w, t.TempDir()}
	t.Cleanup(func() { _ = w.Close() })
	return s
}

func newWorld(ctx context.Context) (*drtest.World, error) {
	w, err := drtest.NewReal(ctx, drtest.Config{Settle: 300 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	users := w.Region("users")
	for _, name := range []string{"east", "west"} {
		w.Net().SetLinks("users", name, simnet.Shape{Latency: time.Millisecond})
		w.Region(name).Serve("api."+name, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "ok") }))
	}
	client := users.HTTPClient()
	w.Load(drtest.Load{Name: "orders", Clients: 5, Rate: drtest.Constant(20), Timeout: 500 * time.Millisecond, Do: func(ctx context.Context, op *drtest.Op) error {
		var errs []error
		for _, host := range []string{"api.east", "api.west"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
				w.Applied("order", op.Key())
				op.Acked(op.Key())
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}})
	return w, nil
}

// config is a drill that passes: east refuses for a moment, users go west.
func (s *site) config() drill.Config {
	return config(s.dir, 100*time.Millisecond)
}

func config(dir string, down time.Duration) drill.Config {
	return drill.Config{
		Name: "lose east", Operators: []string{"ana"}, Approvals: []string{"ben"}, Commit: "abc123", Versions: map[string]string{"orders": "1.2.3"},
		Scenario: drtest.Timeline("lose east", drtest.At(100*time.Millisecond, fault.RegionDown("east", fault.ModeRefuse)).For(down)),
		Allow:    []string{"east"}, RTO: 2 * time.Second, RPO: time.Second, Longest: 20 * time.Second,
		Lease: filepath.Join(dir, "lease"), Evidence: filepath.Join(dir, "evidence"),
	}
}

const target = "region-down east"

// marker is an action that leaves a file while its fault is active.
func marker(dir string) drill.Action {
	path := filepath.Join(dir, "frozen")
	return drill.Action{
		Target: target, Name: "freeze",
		Do: func(context.Context, fault.Fault) error { return os.WriteFile(path, nil, 0o644) },
		Undo: func(context.Context, fault.Fault) error {
			if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		},
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (s *site) run(c drill.Config) *drill.Result {
	s.t.Helper()
	r, err := drill.Run(s.t.Context(), s.w, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// healed fails the test if a fault outlives its drill.
func (s *site) healed(c drill.Config) {
	s.t.Helper()
	for _, f := range s.w.History().Faults() {
		if !f.Ended {
			s.t.Errorf("fault outlives the drill: %+v", f)
		}
	}
	if exists(filepath.Join(s.dir, "frozen")) {
		s.t.Error("the action was not undone")
	}
	if exists(c.Lease) {
		s.t.Error("the lease is still there")
	}
}

func TestDrillThatPasses(t *testing.T) {
	s := newSite(t)
	c := s.config()
	c.Actions = []drill.Action{marker(s.dir)}
	seen := false
	c.Stop = []drill.Condition{{Name: "never", Reached: func(*drtest.World) (string, bool) {
		seen = seen || exists(filepath.Join(s.dir, "frozen")) && exists(c.Lease)
		return "", false
	}}, drill.ErrorShare(0.9, time.Second)}
	c.Scenario.Events[0].Length = 400 * time.Millisecond

	plan := drill.Plan(s.w, c)
	for _, want := range []string{"dry run", "at 100ms: east is down (refuse), for 400ms", `with action "freeze"`, "stop when: never", "after 20s", "sha256"} {
		if !strings.Contains(plan, want) {
			t.Errorf("no %q in the plan:\n%s", want, plan)
		}
	}
	if strings.Contains(plan, "REFUSED") || exists(c.Lease) || exists(c.Evidence) || len(s.w.History().Faults()) > 0 {
		t.Errorf("the dry run did something, or refuses:\n%s", plan)
	}

	r := s.run(c)
	if r.Outcome != drill.OutcomePassed || r.RTO.Status != "passed" || r.RTO.Objective != 2 || r.RPO.Status != "passed" {
		t.Errorf("result: %+v\n%s", r.Evidence, r.Report.Text())
	}
	if !seen {
		t.Error("the action was never seen done, with a lease")
	}
	s.healed(c)

	e, digest, err := drill.Verify(c.Evidence)
	if err != nil || digest != r.Digest || e.Outcome != drill.OutcomePassed || e.Commit != "abc123" || e.Versions["orders"] != "1.2.3" || e.Versions["go"] == "" ||
		!slices.Equal(e.Operators, []string{"ana"}) || !slices.Equal(e.Approvals, []string{"ben"}) {
		t.Errorf("Verify = %+v, %s, %v", e, digest, err)
	}
	log, err := os.ReadFile(filepath.Join(c.Evidence, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"drill.start", "drill.fault.begin", "drill.fault.end", "drill.end", `"who":"ana"`} {
		if !strings.Contains(string(log), want) {
			t.Errorf("no %s in the audit log:\n%s", want, log)
		}
	}

	// A bundle is never written over, and the World can be drilled again.
	if _, err := drill.Run(t.Context(), s.w, c); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("Run into a used folder = %v", err)
	}
}

// Whatever is changed in a bundle is found, and named.
func TestEditedEvidence(t *testing.T) {
	s := newSite(t)
	c := s.config()
	s.run(c)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(c.Evidence, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(c.Evidence, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, wants ...string) {
		t.Helper()
		_, _, err := drill.Verify(c.Evidence)
		if !errors.Is(err, drill.ErrEvidence) {
			t.Errorf("%s: Verify = %v, want ErrEvidence", what, err)
			return
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: Verify = %v, want %q in it", what, err, want)
			}
		}
	}
	for _, name := range []string{"audit.jsonl", "drill.json", "report.html", "report.json", "report.txt", "scenario.json"} {
		was := read(name)
		for i := 0; i < len(was); i += 1 + len(was)/7 {
			edited := slices.Clone(was)
			edited[i] ^= 1
			write(name, edited)
			refused(fmt.Sprintf("%s, byte %d", name, i), name)
		}
		if err := os.Remove(filepath.Join(c.Evidence, name)); err != nil {
			t.Fatal(err)
		}
		refused(name+" dropped", name)
		write(name, was)
	}
	if _, _, err := drill.Verify(c.Evidence); err != nil {
		t.Fatalf("put back: %v", err)
	}

	write("extra.txt", nil)
	refused("a file added", "extra.txt", "it was added")
	if err := os.Remove(filepath.Join(c.Evidence, "extra.txt")); err != nil {
		t.Fatal(err)
	}
	was := read("manifest.json")
	write("manifest.json", []byte(strings.Replace(string(was), `"version": 1`, `"version": 2`, 1)))
	refused("a manifest of a later version", "version 2 is not known")
	write("manifest.json", []byte("{"))
	refused("half a manifest", "manifest.json")
	write("manifest.json", []byte(`{"version":1,"files":[{"name":"../../etc/passwd"}]}`))
	refused("a manifest that points elsewhere", "a bundle has no such file")
	if err := os.Remove(filepath.Join(c.Evidence, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	refused("no manifest", "manifest.json")
}

func TestRefusals(t *testing.T) {
	s := newSite(t)
	for want, change := range map[string]func(*drill.Config){
		"Config.Name: missing":          func(c *drill.Config) { c.Name = "" },
		"Config.Operators: missing":     func(c *drill.Config) { c.Operators = nil },
		"Config.Allow: missing":         func(c *drill.Config) { c.Allow = nil },
		"Config.Longest: missing":       func(c *drill.Config) { c.Longest = 0 },
		"Config.Lease: missing":         func(c *drill.Config) { c.Lease = "" },
		"Config.Evidence: missing":      func(c *drill.Config) { c.Evidence = "" },
		"Config.Scenario: missing":      func(c *drill.Config) { c.Scenario.Events = nil },
		"negative":                      func(c *drill.Config) { c.RTO = -1 },
		"no length; a drill must end":   func(c *drill.Config) { c.Scenario.Events[0].Length = 0 },
		"has no such region":            func(c *drill.Config) { c.Scenario.Events[0].Fault.Region = "south" },
		`region "east": not an allowed`: func(c *drill.Config) { c.Allow = []string{"west"} },
		`to "users": not an allowed`:    func(c *drill.Config) { c.Scenario.Events[0].Fault = fault.Partition("east", "users") },
		`to "west": not an allowed`: func(c *drill.Config) {
			c.Scenario.Events[0].Fault = fault.Partition("east", fault.Others)
			c.Allow = []string{"east", "users"}
		},
		`host "api.west": not an allow`:    func(c *drill.Config) { c.Scenario.Events[0].Fault = fault.Gray("api.west", 1) },
		"Config.Actions":                   func(c *drill.Config) { c.Actions = []drill.Action{{Name: "half"}} },
		`two named "freeze"`:               func(c *drill.Config) { c.Actions = []drill.Action{marker(s.dir), marker(s.dir)} },
		"a condition without a name":       func(c *drill.Config) { c.Stop = []drill.Condition{{}} },
		"Config.Lease: read":               func(c *drill.Config) { c.Lease = s.dir },
		"lease " + s.dir + "/no/where":     func(c *drill.Config) { c.Lease = s.dir + "/no/where" },
		"Config.Evidence: mkdir":           func(c *drill.Config) { c.Evidence = os.DevNull + "/x" },
		"events[1].at: overlaps events[0]": func(c *drill.Config) { c.Scenario.Events = append(c.Scenario.Events, c.Scenario.Events[0]) },
		`mode: up is no way to be down,`:   func(c *drill.Config) { c.Scenario.Events[0].Fault.Mode = simnet.ModeUp },
	} {
		c := s.config()
		change(&c)
		_, err := drill.Run(t.Context(), s.w, c)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "fault.mode", "mode"), want) {
			t.Errorf("Run = %v, want %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "remove ") {
			t.Errorf("%v: the lease that was never written is missed", err)
		}
		if strings.Contains(want, "not an allow") && (!errors.Is(err, drill.ErrNotAllowed) || !strings.Contains(drill.Plan(s.w, c), "NOT ALLOWED")) {
			t.Errorf("%v is not ErrNotAllowed, or the plan does not say so", err)
		}
		if c.Lease != "" && c.Lease != s.dir && exists(c.Lease) {
			t.Errorf("%s: a lease was left", want)
		}
	}
	if n := len(s.w.History().Faults()); n > 0 {
		t.Errorf("%d faults were injected by drills that were refused", n)
	}
	var later drtest.Scenario
	if err := json.Unmarshal([]byte(`{"version":2,"name":"x","events":[]}`), &later); err == nil || !strings.Contains(err.Error(), "version: 2 is newer") {
		t.Errorf("a scenario of a newer version: %v", err)
	}
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		w.Region("east")
		if _, err := drill.Run(t.Context(), w, s.config()); err == nil || !strings.Contains(err.Error(), "NewReal") {
			t.Errorf("a drill in a bubble: %v", err)
		}
	})
}

// Whatever ends a drill early, its faults end with it, and the evidence says why.
func TestInterruptedDrills(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*site, *drill.Config, context.CancelFunc)
		reason string
	}{
		"stop condition": {func(_ *site, c *drill.Config, _ context.CancelFunc) {
			c.Stop = []drill.Condition{{Name: "enough", Reached: func(w *drtest.World) (string, bool) { return "seen it", len(w.History().Faults()) > 0 }}}
		}, `stop condition "enough": seen it`},
		"a condition that panics": {func(_ *site, c *drill.Config, _ context.CancelFunc) {
			c.Stop = []drill.Condition{{Name: "broken", Reached: func(w *drtest.World) (string, bool) {
				if len(w.History().Faults()) > 0 {
					panic("boom")
				}
				return "", false
			}}}
		}, "it panicked: boom"},
		"errors": {func(_ *site, c *drill.Config, _ context.CancelFunc) {
			c.Scenario.Events = append(c.Scenario.Events, drtest.At(100*time.Millisecond, fault.RegionDown("west", fault.ModeRefuse)).For(time.Hour))
			c.Allow = []string{"east", "west"}
			c.Stop = []drill.Condition{drill.ErrorShare(0.2, 500*time.Millisecond)}
		}, "more than 20 % of operations fail"},
		"longest": {func(_ *site, c *drill.Config, _ context.CancelFunc) { c.Longest = 400 * time.Millisecond }, "it took longer than 400ms"},
		"context": {func(_ *site, _ *drill.Config, cancel context.CancelFunc) {
			time.AfterFunc(300*time.Millisecond, cancel)
		}, "the caller: context canceled"},
		"signal": {func(*site, *drill.Config, context.CancelFunc) {
			time.AfterFunc(300*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) })
		}, "signal: terminated"},
		"the World's end": {func(s *site, _ *drill.Config, _ context.CancelFunc) {
			time.AfterFunc(300*time.Millisecond, func() { _ = s.w.Close() })
		}, "the World ended"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c := config(s.dir, time.Hour)
			c.Actions = []drill.Action{marker(s.dir)}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			test.change(s, &c, cancel)
			r, err := drill.Run(ctx, s.w, c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome != drill.OutcomeInterrupted || !strings.Contains(r.Reason, test.reason) {
				t.Errorf("outcome %s: %s, want interrupted: %s", r.Outcome, r.Reason, test.reason)
			}
			if name != "the World's end" { // its history was closed before
				s.healed(c)
			} else if exists(c.Lease) || exists(filepath.Join(s.dir, "frozen")) {
				t.Error("the action or the lease outlives the drill")
			}
			if e, _, err := drill.Verify(c.Evidence); err != nil || e.Outcome != drill.OutcomeInterrupted {
				t.Errorf("Verify = %s, %v", e.Outcome, err)
			}
		})
	}
}

// A panic goes through Run, but leaves no fault behind.
func TestPanicUndoes(t *testing.T) {
	s := newSite(t)
	c := config(s.dir, time.Hour)
	c.Actions = []drill.Action{marker(s.dir)}
	ctx := panicky{Context: t.Context(), after: time.Now().Add(300 * time.Millisecond), ready: make(chan struct{})}
	time.AfterFunc(300*time.Millisecond, func() { close(ctx.ready) })
	func() {
		defer func() {
			if p := recover(); p != "asked for its cause" {
				t.Errorf("recovered %v, want the panic of the context", p)
			}
		}()
		_, _ = drill.Run(ctx, s.w, c)
		t.Error("Run returned")
	}()
	s.healed(c)
	if e, _, err := drill.Verify(c.Evidence); err != nil || e.Outcome != drill.OutcomeInterrupted || !strings.Contains(e.Reason, "panic: asked for its cause") {
		t.Errorf("Verify = %+v, %v", e, err)
	}
}

// A panicky context panics where Run asks why it ended.
type panicky struct {
	context.Context
	after time.Time
	ready chan struct{}
}

func (p panicky) Done() <-chan struct{} { return p.ready }
func (p panicky) Err() error {
	if time.Now().Before(p.after) {
		return nil
	}
	panic("asked for its cause")
}
func (p panicky) Value(any) any { return nil }

func TestFailedAndInconclusiveDrills(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*drill.Config)
		outcome drill.Outcome
		reason  string
	}{
		"failed":         {func(c *drill.Config) { c.Checks = []check.Check{never{}} }, drill.OutcomeFailed, "never"},
		"a check panics": {func(c *drill.Config) { c.Checks = []check.Check{broken{}} }, drill.OutcomeInconclusive, "broken: it panicked: boom"},
		"nothing to say": {func(c *drill.Config) { c.RTO, c.RPO = 0, 0 }, drill.OutcomeInconclusive, "no objective and no check"},
		"no traffic":     {func(c *drill.Config) { c.RTO, c.Checks = 0, []check.Check{check.Availability(0.5).For("nobody")} }, drill.OutcomeInconclusive, "Availability"},
		"an action fails": {func(c *drill.Config) {
			c.Actions = []drill.Action{{Target: target, Name: "a", Do: func(context.Context, fault.Fault) error { return errors.New("no permission") }, Undo: nothing}}
		}, drill.OutcomeInconclusive, "no permission"},
		"an action panics": {func(c *drill.Config) {
			c.Actions = []drill.Action{{Target: target, Name: "a", Do: func(context.Context, fault.Fault) error { panic("boom") }, Undo: nothing}}
		}, drill.OutcomeInconclusive, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c := s.config()
			test.change(&c)
			r := s.run(c)
			if r.Outcome != test.outcome || !strings.Contains(r.Reason, test.reason) {
				t.Errorf("outcome %s: %s, want %s: %s", r.Outcome, r.Reason, test.outcome, test.reason)
			}
			s.healed(c)
		})
	}
}

func nothing(context.Context, fault.Fault) error { return nil }

type never struct{}

func (never) Name() string { return "never" }
func (never) Evaluate(*history.History) check.Verdict {
	return check.Verdict{Check: "never", Status: check.StatusFailed, Got: "never", Want: "never"}
}

type broken struct{}

func (broken) Name() string                            { return "broken" }
func (broken) Evaluate(*history.History) check.Verdict { panic("boom") }

// A fault injected by hand during a drill ends with it.
func TestFaultByHandEndsWithTheDrill(t *testing.T) {
	s := newSite(t)
	c := s.config()
	c.Allow = []string{"east", "west"}
	var once sync.Once
	c.Stop = []drill.Condition{{Name: "by hand", Reached: func(w *drtest.World) (string, bool) {
		once.Do(func() {
			if _, err := w.Inject(fault.RegionDown("west", fault.ModeHang)); err != nil {
				t.Error(err)
			}
		})
		return "", false
	}}}
	r := s.run(c)
	s.healed(c)
	if len(s.w.History().Faults()) != 2 || len(r.Left) > 0 {
		t.Errorf("faults %+v, left %q", s.w.History().Faults(), r.Left)
	}
}

// What cannot be undone is named by the error, the evidence and the lease; the next drill undoes it first.
func TestUndoThatFails(t *testing.T) {
	s := newSite(t)
	c := s.config()
	broken := marker(s.dir)
	works := broken.Undo
	broken.Undo = func(context.Context, fault.Fault) error { return errors.New("the network is gone") }
	c.Actions = []drill.Action{broken}
	r, err := drill.Run(t.Context(), s.w, c)
	if !errors.Is(err, drill.ErrLeft) || len(r.Left) != 1 || r.Outcome == drill.OutcomePassed || !exists(c.Lease) {
		t.Fatalf("Run = %+v, %v", r, err)
	}
	if e, _, err := drill.Verify(c.Evidence); err != nil || len(e.Left) != 1 {
		t.Errorf("Verify = %+v, %v", e, err)
	}
	if !strings.Contains(drill.Plan(s.w, c), "undone first") {
		t.Error("the plan does not name what is left")
	}

	c.Evidence += "2"
	_, err = drill.Run(t.Context(), s.w, c)
	if stale, ok := errors.AsType[*drill.StaleError](err); !ok || len(stale.Left) != 1 || !strings.Contains(err.Error(), "the network is gone") {
		t.Errorf("Run over what cannot be undone = %v", err)
	}
	c.Actions[0].Undo = works
	r, err = drill.Run(t.Context(), s.w, c)
	if err != nil || len(r.Recovered) != 1 || !strings.Contains(r.Recovered[0], `undone with ["freeze"]`) {
		t.Errorf("Run = %+v, %v", r, err)
	}
	s.healed(c)
}

func TestTwoDrillsOfOneLease(t *testing.T) {
	s := newSite(t)
	c := config(s.dir, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := drill.Run(ctx, s.w, c)
		done <- err
	}()
	for len(s.w.History().Faults()) == 0 { // the drill is under way
		time.Sleep(5 * time.Millisecond)
	}
	other := c
	other.Evidence += "2"
	_, err := drill.Run(t.Context(), s.w, other)
	if !errors.Is(err, drill.ErrRunning) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("second drill: %v", err)
	}
	if _, err := drill.Recover(t.Context(), c.Lease, nil); !errors.Is(err, drill.ErrRunning) {
		t.Errorf("Recover beside a drill that runs: %v", err)
	}
	// By hand nothing outside the allow list can be broken while a drill runs.
	if _, err := s.w.Inject(fault.RegionDown("west", fault.ModeRefuse)); !errors.Is(err, drill.ErrNotAllowed) {
		t.Errorf("Inject beside the drill = %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	undo, err := s.w.Inject(fault.RegionDown("west", fault.ModeRefuse))
	if err != nil {
		t.Fatalf("Inject after the drill = %v", err)
	}
	undo()
}

// playForEver is the drill that a test kills.
func playForEver(dir string) {
	w, err := newWorld(context.Background())
	if err != nil {
		panic(err)
	}
	c := config(dir, time.Hour)
	c.Longest = time.Hour
	c.Actions = []drill.Action{marker(dir)}
	c.Stop = []drill.Condition{{Name: "say when", Reached: func(*drtest.World) (string, bool) {
		if exists(filepath.Join(dir, "frozen")) {
			fmt.Println("frozen")
		}
		return "", false
	}}}
	_, err = drill.Run(context.Background(), w, c)
	panic(fmt.Sprintf("the drill ended: %v", err))
}

// A drill that is killed with SIGKILL leaves its lease, and the next start undoes what it names.
func TestKilledDrill(t *testing.T) {
	dir := t.TempDir()
	kill := func() {
		t.Helper()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "HOLDFAST_PLAY_DRILL="+dir, "GORACE=atexit_sleep_ms=0")
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		_ = child.Process.Kill()
		_ = child.Wait()
		if line != "frozen\n" {
			t.Fatalf("the child said %q, %v", line, err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "evidence")); err != nil { // half a bundle
			t.Fatal(err)
		}
	}
	frozen := filepath.Join(dir, "frozen")
	lease := filepath.Join(dir, "lease")

	kill()
	if !exists(frozen) || !exists(lease) {
		t.Fatal("the killed drill left no fault, or no lease: the test shows nothing")
	}
	if _, err := drill.Recover(t.Context(), lease, nil); err == nil || !strings.Contains(err.Error(), `no action "freeze" on "region-down east" is known here; undo it by hand and remove the file`) || !exists(frozen) || !exists(lease) {
		t.Errorf("Recover without the action = %v", err)
	}
	recovered, err := drill.Recover(t.Context(), lease, []drill.Action{marker(dir)})
	if err != nil || len(recovered) != 1 || !strings.Contains(recovered[0], "east is down (refuse) of drill \"lose east\" (pid ") || exists(frozen) || exists(lease) {
		t.Errorf("Recover = %q, %v", recovered, err)
	}
	if recovered, err := drill.Recover(t.Context(), lease, nil); err != nil || recovered != nil {
		t.Errorf("a second Recover = %q, %v", recovered, err)
	}

	kill()
	s := newSite(t)
	s.dir = dir
	c := s.config()
	c.Actions = []drill.Action{marker(dir)}
	r := s.run(c)
	if r.Outcome != drill.OutcomePassed || len(r.Recovered) != 1 {
		t.Errorf("the next drill: %+v", r.Evidence)
	}
	s.healed(c)
	log, _ := os.ReadFile(filepath.Join(c.Evidence, "audit.jsonl"))
	if !strings.Contains(string(log), "drill.recover") {
		t.Errorf("no recovery in the audit log:\n%s", log)
	}
}

func TestBadLeases(t *testing.T) {
	s := newSite(t)
	for want, content := range map[string]string{
		"cannot be read":           "garbage",
		"version 9 is not known":   `{"version":9,"new":true}`,
		`unknown field "surprise"`: `{"version":1,"surprise":true}`,
		"version 0 is not known":   `{}`,
	} {
		c := s.config()
		if err := os.WriteFile(c.Lease, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := drill.Run(t.Context(), s.w, c); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "left faults") {
			t.Errorf("Run over lease %q = %v, want %q", content, err, want)
		}
		if !strings.Contains(drill.Plan(s.w, c), "REFUSED") {
			t.Errorf("the plan over lease %q does not refuse", content)
		}
		if data, _ := os.ReadFile(c.Lease); string(data) != content {
			t.Errorf("the lease %q was changed to %q", content, data)
		}
	}
	// One that names no fault, or faults of the process's own network, is no obstacle.
	c := s.config()
	if err := os.WriteFile(c.Lease, []byte(`{"version":1,"drill":"old","scenario_sha256":"","host":"h","pid":1,"started":"2026-01-01T00:00:00Z","active":[{"id":1,"fault":{"kind":"region-down","region":"east","mode":"hang"},"since":"2026-01-01T00:00:00Z","actions":null}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := s.run(c); len(r.Recovered) != 1 || !strings.Contains(r.Recovered[0], "ended with its process") {
		t.Errorf("recovered %q", r.Recovered)
	}
}
