package drtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// quick is a search that ends soon and keeps what it finds in a directory of its own.
func quick(t *testing.T) drtest.ExploreConfig {
	return drtest.ExploreConfig{
		World: drtest.Config{Fidelity: drtest.FidelityMessages, Settle: 10 * time.Second, Watchdog: time.Second},
		Name:  "quick", Seeds: 5, Safety: time.Minute, Dir: t.TempDir(),
	}
}

func api(w *drtest.World) { w.Region("east").Serve("api", http.HandlerFunc(hello)) }

func explored(t *testing.T, config drtest.ExploreConfig, f func(t testing.TB, w *drtest.World)) (*drtest.Exploration, []string) {
	t.Helper()
	x, problems, err := drtest.Explored(t, config, f)
	if err != nil {
		t.Fatal(err)
	}
	return x, problems
}

// Whatever goes wrong in a World is a finding, and the test that explores goes on.
func TestEveryFailureOfASeedIsAFinding(t *testing.T) {
	for name, tt := range map[string]struct {
		f     func(t testing.TB, w *drtest.World)
		check string
		text  string
	}{
		"Error":          {func(t testing.TB, w *drtest.World) { api(w); t.Error("wrong", 7) }, "test", "wrong 7"},
		"Errorf":         {func(t testing.TB, w *drtest.World) { api(w); t.Errorf("wrong %d", 7) }, "test", "wrong 7"},
		"Fail":           {func(t testing.TB, w *drtest.World) { api(w); t.Fail() }, "test", "failed without a message"},
		"FailNow":        {func(t testing.TB, _ *drtest.World) { t.FailNow(); panic("not reached") }, "test", "failed without a message"},
		"Fatal":          {func(t testing.TB, _ *drtest.World) { t.Fatal("stop"); panic("not reached") }, "test", "stop"},
		"Fatalf":         {func(t testing.TB, _ *drtest.World) { t.Fatalf("stop %d", 1); panic("not reached") }, "test", "stop 1"},
		"cleanup":        {func(t testing.TB, w *drtest.World) { api(w); t.Cleanup(func() { t.Fatal("late") }) }, "test", "late"},
		"panic":          {func(_ testing.TB, w *drtest.World) { api(w); panic("boom") }, "test", "panic: boom, at"},
		"unknown target": {func(_ testing.TB, w *drtest.World) { play(w, drtest.At(0, fault.Crash("nobody"))) }, "test", "the World has no such process"},
		"invalid load":   {func(_ testing.TB, w *drtest.World) { w.Load(drtest.Load{}) }, "test", "Name: missing"},
		"failing check":  {func(_ testing.TB, w *drtest.World) { api(w); load(w); w.Check(check.Availability(2)) }, "Availability", "failed"},
		"failing process": {func(_ testing.TB, w *drtest.World) {
			w.Region("east").Go("p", func(context.Context) error { return fmt.Errorf("dead") })
		}, "world", "dead"},
		"panic of a load": {func(_ testing.TB, w *drtest.World) {
			w.Load(drtest.Load{Name: "l", Rate: drtest.Constant(1), Do: func(context.Context, *drtest.Op) error { panic("load") }})
		}, "world", "panicked: load"},
		"no end": {func(_ testing.TB, w *drtest.World) {
			w.Load(drtest.Load{Name: "l", Rate: drtest.Constant(1), Timeout: time.Second, Length: 100 * time.Hour, Do: func(context.Context, *drtest.Op) error { return nil }})
			<-make(chan int)
		}, "world", "reached its limit"},
		"standstill": {func(testing.TB, *drtest.World) {
			var mu sync.Mutex
			mu.Lock()
			go func() { time.Sleep(time.Second); mu.Unlock() }()
			mu.Lock()
		}, "world", "virtual time has not moved"},
		"leak": {func(_ testing.TB, w *drtest.World) { api(w); go func() { time.Sleep(time.Hour) }() }, "world", "goroutines left"},
	} {
		t.Run(name, func(t *testing.T) {
			config := quick(t)
			config.World.Limit = time.Hour
			x, problems := explored(t, config, tt.f)
			if x.Finding == nil || x.Finding.Violations[0].Check != tt.check || !strings.Contains(x.Finding.Violations[0].Text, tt.text) {
				t.Fatalf("finding %+v", x.Finding)
			}
			if x.Finding.Diverged != "" || x.Seeds != 1 || len(problems) != 1 || name != "standstill" && len(x.Finding.Scenario.Events) != 0 {
				t.Errorf("%d seeds, %d problems, diverged %q, events left:\n%s", x.Seeds, len(problems), x.Finding.Diverged, x.Finding.Scenario.Go())
			}
		})
	}
}

func load(w *drtest.World) {
	w.Load(drtest.Load{Name: "gets", Rate: drtest.Constant(1), Do: func(context.Context, *drtest.Op) error { return nil }})
}

func TestExploreSkips(t *testing.T) {
	x, problems := explored(t, quick(t), func(t testing.TB, w *drtest.World) {
		if x := w.Stream("coin").IntN(2); x == 0 {
			t.Skip("tails")
		}
		api(w)
	})
	if x.Finding != nil || len(problems) > 0 || x.Seeds != 5 {
		t.Errorf("%v %q", x, problems)
	}
}

// A check that never judges anything is a mistake of wiring.
func TestExploreTellsOfChecksThatNeverJudge(t *testing.T) {
	_, problems := explored(t, quick(t), func(_ testing.TB, w *drtest.World) {
		api(w)
		load(w)
		w.Check(check.AppliedOnce(), check.Availability(0))
	})
	if len(problems) != 1 || !strings.Contains(problems[0], "nothing to judge in any of 5 seeds: AppliedOnce") {
		t.Errorf("%q", problems)
	}
}

// The function may play the storm when it likes, and look at the World when it is over.
func TestStormIsPlayedByTheFunction(t *testing.T) {
	var during atomic.Int32
	x, problems := explored(t, quick(t), func(t testing.TB, w *drtest.World) {
		api(w)
		time.Sleep(30 * time.Second)
		s := w.Storm()
		w.Play(s)
		w.Wait()
		timed := 0
		for _, e := range s.Events {
			if e.Cond == nil {
				timed++
			}
		}
		if n := len(w.History().Faults()); timed == 0 || n < timed || n > len(s.Events) {
			t.Errorf("%d faults came, of %d, %d of them with a time", n, len(s.Events), timed)
		}
		during.Add(int32(len(s.Events)))
	})
	if len(problems) > 0 || during.Load() == 0 || x.Finding != nil {
		t.Errorf("%d events, %q", during.Load(), problems)
	}
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		if n := len(w.Storm().Events); n != 0 {
			t.Errorf("outside of Explore a storm has %d events", n)
		}
	})
}

func TestExploreBudget(t *testing.T) {
	config := quick(t)
	config.Seeds, config.Budget = 100_000, 300*time.Millisecond
	x, problems := explored(t, config, func(_ testing.TB, w *drtest.World) { api(w); load(w) })
	if len(problems) > 0 || x.Seeds < 2 || x.Seeds > 10_000 || !strings.Contains(x.Stopped, "budget of 300ms") {
		t.Errorf("%v %q", x, problems)
	}
}

func TestExploreRefusesConfigs(t *testing.T) {
	for want, change := range map[string]func(*drtest.ExploreConfig){
		"ExploreConfig.Seeds: -2 is negative":                                 func(c *drtest.ExploreConfig) { c.Seeds = -2 },
		"ExploreConfig.Events: -1 is negative":                                func(c *drtest.ExploreConfig) { c.Events = -1 },
		"ExploreConfig.Budget: -1ns is negative":                              func(c *drtest.ExploreConfig) { c.Budget = -1 },
		"ExploreConfig.ShrinkBudget: -1ns is negative":                        func(c *drtest.ExploreConfig) { c.ShrinkBudget = -1 },
		"ExploreConfig.MinClients: -1 is negative":                            func(c *drtest.ExploreConfig) { c.MinClients = -1 },
		"ExploreConfig.Safety: 1s is below the minimum 20s":                   func(c *drtest.ExploreConfig) { c.Safety = time.Second },
		`ExploreConfig.Faults[0]: kind: unknown fault "meteor"`:               func(c *drtest.ExploreConfig) { c.Faults = []fault.Fault{{Kind: "meteor"}} },
		"ExploreConfig.Also[0]: share: 7 is not":                              func(c *drtest.ExploreConfig) { c.Also = []fault.Fault{fault.Gray("h", 7)} },
		`ExploreConfig.Kinds[0]: unknown fault "meteor"`:                      func(c *drtest.ExploreConfig) { c.Kinds = []fault.Kind{"meteor"} },
		"Config.Settle: -1ns is negative":                                     func(c *drtest.ExploreConfig) { c.World.Settle = -1 },
		`ExploreConfig.Bug: "a/b" is no part of a file name: want letters, d`: func(c *drtest.ExploreConfig) { c.Bug = "a/b" },
	} {
		config := quick(t)
		change(&config)
		if _, _, err := drtest.Explored(t, config, func(testing.TB, *drtest.World) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for variable, want := range map[string]string{"HOLDFAST_SEEDS": `HOLDFAST_SEEDS: "many" is not a number`, "HOLDFAST_SEED": `HOLDFAST_SEED: "many" is not a seed`} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "many")
			if _, _, err := drtest.Explored(t, quick(t), func(testing.TB, *drtest.World) {}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// gray is a World that fails when its only host does.
func gray(t testing.TB, w *drtest.World) {
	api(w)
	client := w.Region("users").HTTPClient()
	w.Load(drtest.Load{Name: "gets", Clients: 3, Rate: drtest.Constant(1), Timeout: 5 * time.Second, Do: func(ctx context.Context, _ *drtest.Op) error {
		_, err := get(ctx, client, "http://api/")
		return err
	}})
	w.Check(check.Availability(1))
}

func grayOnly(t *testing.T) drtest.ExploreConfig {
	config := quick(t)
	config.Kinds = []fault.Kind{fault.KindGray}
	return config
}

// A finding is kept, replayed before any search while it fails, and passes when the defect is gone.
func TestRegressionsAreReplayedFirst(t *testing.T) {
	config := grayOnly(t)
	x, problems := explored(t, config, gray)
	if len(problems) != 1 || x.Finding == nil || len(x.Finding.Scenario.Events) != 1 || x.Finding.Clients != 1 {
		t.Fatalf("%v %q", x, problems)
	}
	for _, want := range []string{
		"violates Availability", "drtest.Timeline(", `fault.Gray("api", `, `"kind":"gray"`, "kept in " + x.Finding.File,
		"HOLDFAST_REPLAY=" + x.Finding.File + " go test github.com/holdfast-go/holdfast/drtest -run '^TestRegressionsAreReplayedFirst$'",
		"failed       Availability",
	} {
		if !strings.Contains(problems[0], want) {
			t.Errorf("no %q in:\n%s", want, problems[0])
		}
	}
	again, problems := explored(t, config, gray)
	if again.Seeds != 0 || len(again.Replayed) != 1 || len(problems) != 1 || again.Finding.Diverged != "" {
		t.Errorf("replayed %q, then searched %d seeds: %q", again.Replayed, again.Seeds, problems)
	}
	fixed, problems := explored(t, config, func(_ testing.TB, w *drtest.World) { api(w); load(w) })
	if fixed.Seeds != config.Seeds || len(fixed.Replayed) != 1 || len(problems) != 0 {
		t.Errorf("with the defect gone: %v %q", fixed, problems)
	}
}

func TestPlantedBugs(t *testing.T) {
	config := grayOnly(t)
	config.Bug = "no-second-host"
	x, problems := explored(t, config, gray)
	if len(problems) != 0 || filepath.Base(x.Finding.File) != "quick.no-second-host.json" {
		t.Fatalf("%v %q", x, problems)
	}
	known, problems := explored(t, config, gray)
	if len(problems) != 0 || known.Finding.Worlds != 0 || len(known.Replayed) != 1 {
		t.Errorf("a known bug is shrunk again: %v %q", known.Finding, problems)
	}
	clean := func(_ testing.TB, w *drtest.World) { api(w); load(w) }
	if _, problems := explored(t, config, clean); len(problems) == 0 || !strings.Contains(problems[0], `the planted bug "no-second-host" no longer violates ["Availability"]`) {
		t.Errorf("a bug that is gone: %q", problems)
	}
	var plays atomic.Int32
	seldom := func(t testing.TB, w *drtest.World) { // shows it in the sixth play, as Worlds do that do not repeat
		if plays.Add(1) == 6 {
			gray(t, w)
			return
		}
		clean(t, w)
	}
	config.Seeds = drtest.NoSearch
	if _, problems := explored(t, config, seldom); len(problems) == 0 || plays.Load() != 1 {
		t.Errorf("Worlds that repeat are played %d times: %q", plays.Load(), problems)
	}
	config.AcceptDivergence = "the test wants it"
	plays.Store(0)
	if _, problems := explored(t, config, seldom); len(problems) != 0 {
		t.Errorf("Worlds that do not repeat: %q", problems)
	}
	plays.Store(10)
	if _, problems := explored(t, config, seldom); len(problems) != 1 || plays.Load() != 16 {
		t.Errorf("after %d plays: %q", plays.Load()-10, problems)
	}
	config.AcceptDivergence, config.Seeds = "", quick(t).Seeds
	config.Dir = t.TempDir()
	if _, problems := explored(t, config, clean); len(problems) != 1 || !strings.Contains(problems[0], `5 seeds did not find the planted bug "no-second-host"`) {
		t.Errorf("a bug that is not found: %q", problems)
	}
}

// A World that depends on what ran before it is no World that a seed repeats.
func TestDivergenceIsLoud(t *testing.T) {
	var runs atomic.Int32
	moody := func(t testing.TB, w *drtest.World) {
		gray(t, w)
		name := fmt.Sprintf("mood %d", runs.Add(1)%2)
		w.Region("east").Go(name, func(context.Context) error { return nil })
	}
	config := grayOnly(t)
	_, problems := explored(t, config, moody)
	if len(problems) != 2 || !strings.Contains(problems[0], `the replay diverged: event 0 was "mark|`) || !strings.Contains(problems[1], "PLAYED AGAIN, THE TIMELINE DIVERGED") {
		t.Errorf("%q", problems)
	}
	config.AcceptDivergence, config.Dir = "the test wants it", t.TempDir()
	if _, problems := explored(t, config, moody); len(problems) != 1 {
		t.Errorf("accepted: %q", problems)
	}

	config = grayOnly(t)
	var once atomic.Bool
	_, problems = explored(t, config, func(t testing.TB, w *drtest.World) {
		api(w)
		if !once.Swap(true) {
			t.Error("only once")
		}
	})
	if len(problems) != 2 || !strings.Contains(problems[0], "nothing went wrong that time") {
		t.Errorf("%q", problems)
	}
}

func TestReplayVariable(t *testing.T) {
	config := grayOnly(t)
	x, _ := explored(t, config, gray)
	t.Setenv("HOLDFAST_REPLAY", x.Finding.File)
	replayed, problems := explored(t, config, gray)
	if len(problems) != 1 || strings.Contains(problems[0], "diverged") || replayed.Finding == nil {
		t.Errorf("the same code: %q", problems)
	}
	_, problems = explored(t, config, func(t testing.TB, w *drtest.World) {
		gray(t, w)
		w.Region("east").Go("new", func(context.Context) error { return nil })
	})
	if len(problems) != 2 || !strings.Contains(problems[0], `the replay diverged: event 0 is not what was recorded: "mark|`) {
		t.Errorf("other code: %q", problems)
	}
	config.Name = "another"
	if x, problems := explored(t, config, gray); len(problems) != 1 || x.Seeds != 0 || !strings.Contains(problems[0], `is a regression of "quick", and this Explore is "another": nothing was replayed`) {
		t.Errorf("another search: %v %q", x, problems)
	}
}

func TestSeedVariable(t *testing.T) {
	t.Setenv("HOLDFAST_SEED", "7")
	x, _ := explored(t, grayOnly(t), gray)
	if x.Seeds != 1 || x.Finding == nil || x.Finding.Seed != 7 {
		t.Errorf("%v", x)
	}
}

// A file that was edited, cut off, or written by a later version is refused with a sentence, and the others are replayed.
func TestDamagedRegressions(t *testing.T) {
	config := grayOnly(t)
	x, _ := explored(t, config, gray)
	good, err := os.ReadFile(x.Finding.File)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("no %q in the file", old)
		}
		return strings.Replace(string(good), old, new, 1)
	}
	for name, tt := range map[string]struct{ data, want string }{
		"edited":        {edit(`"at": "10s"`, `"at": "11s"`), "edited or damaged: its sum does not fit"},
		"edited seed":   {edit(`"seed": 1`, `"seed": 11`), "find it again with HOLDFAST_SEED=11, or delete it"},
		"cut":           {string(good[:len(good)/2]), "damaged: unexpected end of JSON input"},
		"empty":         {"", "damaged: unexpected end of JSON input"},
		"newer":         {edit(`"version": 1`, `"version": 2`), "its version 2 is not known, want 1"},
		"newer inside":  {edit("\"scenario\": {\n    \"version\": 1", "\"scenario\": {\n    \"version\": 9"), "version: 9 is newer than this drtest"},
		"unknown kind":  {edit(`"kind": "gray"`, `"kind": "meteor"`), `events[0].fault.kind: unknown fault "meteor"`},
		"unknown field": {edit(`"seed"`, `"sead"`), `unknown field "sead"`},
		"not JSON":      {"hello", "damaged: invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := config
			c.Dir = dir
			for file, data := range map[string]string{"quick.a.json": tt.data, "quick.b.json": string(good)} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			x, problems := explored(t, c, gray)
			if len(problems) != 2 || !strings.Contains(problems[0], tt.want) || !strings.Contains(problems[0], "quick.a.json") || x.Finding == nil {
				t.Errorf("%q, want %q", problems, tt.want)
			}
		})
	}
}

// One seed gives one timeline, one order of events and one smallest timeline, whatever the number of processors.
func TestExploreRepeats(t *testing.T) {
	var all []string
	for _, procs := range []int{2, 1, 2} {
		was := runtime.GOMAXPROCS(procs)
		config := grayOnly(t)
		config.World.Seed, config.World.TieFree = 3, true
		x, _ := explored(t, config, gray)
		runtime.GOMAXPROCS(was)
		data, err := os.ReadFile(x.Finding.File)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	if slices.Sort(all); all[0] != all[2] {
		t.Errorf("three searches kept:\n%s", strings.Join(all, "\n"))
	}
	var r struct{ Hash string }
	if err := json.Unmarshal([]byte(all[0]), &r); err != nil || r.Hash == "" {
		t.Errorf("%v, %+v", err, r)
	}
}

// The menu of a World has what its parts can suffer, and nothing that nobody feels.
func TestMenu(t *testing.T) {
	var names []string
	drtest.Run(t, drtest.Config{}, func(_ *testing.T, w *drtest.World) {
		east, west := w.Region("east"), w.Region("west")
		w.Region("users")
		east.Zone("a").Serve("api", http.HandlerFunc(hello))
		west.ServeTLS("secure", drtest.ControlPlane(http.HandlerFunc(hello)), time.Now(), time.Now().Add(time.Hour))
		west.Store("db-dr", drtest.ReplicaOf(east.Store("db")))
		east.Go("worker", func(context.Context) error { return nil })
		for _, f := range w.Menu(drtest.ExploreConfig{}) {
			if err := f.Validate(); err != nil {
				t.Errorf("%v: %v", f, err)
			}
			if err := w.Admit(drtest.Timeline("menu", drtest.At(time.Hour, f).For(time.Nanosecond))); err != nil && !strings.Contains(err.Error(), "overlaps") {
				t.Errorf("%v: %v", f, err)
			}
			names = append(names, f.Target())
		}
		if got := len(w.Menu(drtest.ExploreConfig{Targets: []string{"east", "users"}, Kinds: []fault.Kind{fault.KindPartition, fault.KindRegionDown}})); got != 7 {
			t.Errorf("%d faults on east and users, want 4 modes and 3 partitions", got)
		}
	})
	for _, want := range []string{"region-down east", "az-down east a", "partition east users", "tls secure", "control-plane-down west", "replication-break db-dr", "crash worker", "dns users", "loss users west"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %q in %q", want, names)
		}
	}
	for _, never := range []string{"region-down users", "replication-pause db", "tls api", "control-plane-down east", "duplicate api"} {
		if slices.Contains(names, never) {
			t.Errorf("%q makes no sense", never)
		}
	}
}

// A search that tried nothing has found nothing out.
func TestExploreThatTriesNothingFails(t *testing.T) {
	_, problems := explored(t, quick(t), func(t testing.TB, _ *drtest.World) { t.Skip("not here") })
	if len(problems) != 1 || !strings.Contains(problems[0], "every one of 5 seeds was skipped") {
		t.Errorf("skipped: %q", problems)
	}
	config := quick(t)
	config.Targets = []string{"aip"}
	_, problems = explored(t, config, func(_ testing.TB, w *drtest.World) { api(w) })
	if len(problems) != 1 || !strings.Contains(problems[0], "no fault came in any of 5 seeds") {
		t.Errorf("a target that is not there: %q", problems)
	}
}

// What is left without any fault is another failure, and no smaller form of the first.
func TestShrinkingKeepsToOneFailure(t *testing.T) {
	x, _ := explored(t, grayOnly(t), func(t testing.TB, w *drtest.World) {
		api(w)
		w.Play(w.Storm())
		w.Wait()
		if n := len(w.History().Faults()); n > 0 {
			t.Errorf("order %d is lost", n)
			return
		}
		t.Error("the World was quiet")
	})
	if x.Finding == nil || len(x.Finding.Scenario.Events) != 1 || x.Finding.Violations[0].Text != "order 1 is lost" {
		t.Errorf("%v", x.Finding)
	}
}

// Symptoms are no part of what goes wrong while the zone is down, and a fault that tells nothing of them is no smaller one.
func TestShrinkingTakesSymptomsAway(t *testing.T) {
	config := quick(t)
	config.Faults = []fault.Fault{fault.AZDown("east", "a", fault.ModeRefuse).Recovering(5*time.Second, 100*time.Millisecond, 0)}
	x, _ := explored(t, config, func(_ testing.TB, w *drtest.World) {
		w.Region("east").Zone("a").Serve("api", http.HandlerFunc(hello))
		client := w.Region("users").HTTPClient()
		w.Load(drtest.Load{Name: "gets", Clients: 3, Rate: drtest.Constant(1), Timeout: 5 * time.Second, Do: func(ctx context.Context, _ *drtest.Op) error {
			_, err := get(ctx, client, "http://api/")
			return err
		}})
		w.Check(check.Availability(1))
	})
	if x.Finding == nil || len(x.Finding.Scenario.Events) != 1 || x.Finding.Scenario.Events[0].Fault.Recovery != 0 {
		t.Errorf("%v", x.Finding)
	}
}

// A second finding of a seed does not take the place of the first, whatever the directory is called.
func TestRegressionsOfOneSeed(t *testing.T) {
	config := grayOnly(t)
	config.Dir = filepath.Join(config.Dir, "what [goes")
	broken := func(host string) func(t testing.TB, w *drtest.World) {
		return func(_ testing.TB, w *drtest.World) {
			api(w)
			w.Region("east").Serve("other", http.HandlerFunc(hello))
			client := w.Region("users").HTTPClient()
			w.Load(drtest.Load{Name: "gets", Clients: 3, Rate: drtest.Constant(1), Timeout: 5 * time.Second, Do: func(ctx context.Context, _ *drtest.Op) error {
				if _, err := get(ctx, client, "http://"+host+"/"); host != "" {
					return err
				}
				return nil
			}})
			w.Check(check.Availability(1))
		}
	}
	var files []string
	for _, host := range []string{"api", "other"} {
		config.Targets = []string{host}
		x, _ := explored(t, config, broken(host))
		if x.Finding == nil || x.Finding.Seed != 1 {
			t.Fatalf("%v", x.Finding)
		}
		files = append(files, x.Finding.File)
	}
	x, problems := explored(t, config, broken(""))
	if len(problems) > 0 || files[0] == files[1] || !slices.Contains(x.Replayed, files[0]) || !slices.Contains(x.Replayed, files[1]) {
		t.Errorf("kept %q, replayed %q: %q", files, x.Replayed, problems)
	}
}

// A replay that goes another way only far into the World is told as well.
func TestReplayComparesToTheEnd(t *testing.T) {
	late := func(text string) func(t testing.TB, w *drtest.World) {
		return func(t testing.TB, w *drtest.World) {
			api(w)
			w.Load(drtest.Load{Name: "many", Clients: 1, Rate: drtest.Constant(1000), Do: func(context.Context, *drtest.Op) error { return nil }})
			time.Sleep(20 * time.Second)
			w.Mark("late", "somebody", text)
			t.Error("wrong")
		}
	}
	config := grayOnly(t)
	x, _ := explored(t, config, late("one"))
	t.Setenv("HOLDFAST_REPLAY", x.Finding.File)
	if _, problems := explored(t, config, late("one")); len(problems) != 1 || strings.Contains(problems[0], "diverged") {
		t.Errorf("the same: %q", problems)
	}
	if _, problems := explored(t, config, late("two")); len(problems) != 2 || !strings.Contains(problems[0], "the replay diverged: the first 16384 events are alike") {
		t.Errorf("another: %q", problems)
	}
}

// A clock that is slow is brought nearer to the right time, as one that is fast is.
func TestShrinkingSoftensEverySkew(t *testing.T) {
	for _, skew := range []time.Duration{10 * time.Second, -10 * time.Second} {
		config := quick(t)
		config.Faults = []fault.Fault{fault.ClockSkew("east", skew)}
		x, _ := explored(t, config, func(t testing.TB, w *drtest.World) {
			api(w)
			w.Play(w.Storm())
			for range 60 {
				time.Sleep(time.Second)
				if off := time.Until(w.Region("east").Now()).Abs(); off >= 2*time.Second {
					t.Error("the clock is off")
					return
				}
			}
		})
		if x.Finding == nil || len(x.Finding.Scenario.Events) != 1 || x.Finding.Scenario.Events[0].Fault.Delay != skew/5 {
			t.Errorf("%v", x.Finding)
		}
	}
}
