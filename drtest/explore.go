package drtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/internal/cputime"
)

// ExploreConfig configures [Explore]. The zero value is ready to use.
type ExploreConfig struct {
	// World configures every World. Its Seed is the first of the seeds; zero means 1. FidelityMessages makes
	// a search several times cheaper.
	World Config

	// Name is what regression files are known by: those of one name are replayed by every Explore of that
	// name in the directory. Empty means the name of the test.
	Name string

	// Seeds is how many seeds are tried. Zero means 100, [NoSearch] that only regressions are replayed. The environment
	// variable HOLDFAST_SEEDS takes its place.
	Seeds int

	// Budget ends the search, between two seeds, when the process has spent that much processor time since it
	// began, parallel tests included. Zero means no limit.
	Budget time.Duration

	// Faults is the menu: what may happen, at its full strength. The search chooses when, how long, how strong
	// and how many at a time. Nil means what makes sense for the World: for every Region, link, host,
	// replica and process of it.
	Faults []fault.Fault

	// Also is added to the menu of the World where Faults is nil: what depends on figures, as a capacity, and what
	// a host is for, as a store of flags.
	Also []fault.Fault

	// Kinds restricts the menu to kinds of faults. Nil means all.
	Kinds []fault.Kind

	// Targets restricts the menu to faults that act on nothing but these Regions, hosts, stores and
	// processes. Nil means all.
	Targets []string

	// Patterns are timelines of faults that are rare together when each is drawn by itself, and matter together: a replica that falls
	// behind just before its primary is lost. Half of the seeds have one of them, somewhere in the safety phase, up to a half shorter or longer, and
	// the rest is drawn around it. Every event needs a length, and none a condition; Kinds and Targets do not restrict them.
	Patterns []Scenario

	// Core is what must be whole for the service to work: Regions, hosts, stores and processes. When the
	// safety phase ends, faults on the core alone are over; others may stay for ever. Nil, without CoreRegions, means
	// that all faults are over then.
	Core []string

	// CoreRegions are Regions that belong to the core with all that is in them: zones, hosts, stores and processes.
	// Kinds of replicas that are not [Store] values have no Region: name those in Core.
	CoreRegions []string

	// Events is the largest number of faults in one timeline. Zero means 6.
	Events int

	// Safety is the length of the safety phase, in which anything may happen and only the checks of the
	// World are demanded. The liveness phase follows it until the loads end, World.Settle later. Zero means
	// 10 minutes.
	Safety time.Duration

	// Recover is demanded from the end of the safety phase on: within its limit, and to the end, operations
	// succeed again. Nil demands nothing.
	Recover []check.RTOCheck

	// Bug names a defect that was planted in the function on purpose. Explore then fails the test unless it
	// finds a violation, and keeps the shrunk timeline as a regression under this name. An Explore of
	// the same Name without a Bug replays it too, and must not fail in it. With AcceptDivergence a regression
	// that does not show the defect is played up to five times more.
	Bug string

	// Dir is where regressions are kept. Empty means testdata/drtest.
	Dir string

	// ShrinkBudget ends the shrinking of a failing timeline when it has taken that much processor time, or four
	// times as much real time. Zero means a minute.
	ShrinkBudget time.Duration

	// MinClients is how many clients shrinking leaves to a load that has more, for checks that compare rates. Zero
	// means 1.
	MinClients int

	// AcceptDivergence says why a World of this search may go another way when it is played again, as "go-redis
	// draws its back-off from the process". Divergence is then part of the finding; else it fails the test. Shrinking
	// then keeps only what goes wrong three times in a row.
	AcceptDivergence string
}

// NoSearch is the ExploreConfig.Seeds of an exploration that replays its regressions and is done. One with a Bug must have
// a regression of it.
const NoSearch = -1

const (
	defaultSeeds   = 100
	defaultEvents  = 6
	defaultSafety  = 10 * time.Minute
	defaultShrink  = time.Minute
	defaultRegress = "testdata/drtest"
)

func (c ExploreConfig) withDefaults(t *testing.T) (ExploreConfig, error) {
	world, err := c.World.withDefaults()
	if err != nil {
		return c, err
	}
	c.World = world
	if c.Name == "" {
		c.Name = t.Name()
	}
	c.Seeds = cmpZero(c.Seeds, defaultSeeds)
	c.Events = cmpZero(c.Events, defaultEvents)
	c.Safety = cmpZero(c.Safety, defaultSafety)
	c.ShrinkBudget = cmpZero(c.ShrinkBudget, defaultShrink)
	c.Dir = cmpZero(c.Dir, filepath.FromSlash(defaultRegress))
	problem := func(field, format string, args ...any) (ExploreConfig, error) {
		return c, fmt.Errorf("drtest: ExploreConfig.%s: %s", field, fmt.Sprintf(format, args...))
	}
	switch {
	case c.Seeds < NoSearch:
		return problem("Seeds", "%d is negative", c.Seeds)
	case c.Events < 0:
		return problem("Events", "%d is negative", c.Events)
	case c.Bug != "" && fileName(c.Bug) != c.Bug:
		return problem("Bug", "%q is no part of a file name: want letters, digits, dots, dashes and underscores", c.Bug)
	case c.MinClients < 0:
		return problem("MinClients", "%d is negative", c.MinClients)
	case c.Safety < minSafety:
		return problem("Safety", "%v is below the minimum %v", c.Safety, minSafety)
	case c.Budget < 0:
		return problem("Budget", "%v is negative", c.Budget)
	case c.ShrinkBudget < 0:
		return problem("ShrinkBudget", "%v is negative", c.ShrinkBudget)
	}
	for field, list := range map[string][]fault.Fault{"Faults": c.Faults, "Also": c.Also} {
		for i, f := range list {
			if err := f.Validate(); err != nil {
				return problem(fmt.Sprintf("%s[%d]", field, i), "%v", err)
			}
		}
	}
	for i, p := range c.Patterns {
		if err := c.fits(p); err != nil {
			return problem(fmt.Sprintf("Patterns[%d]", i), "%v", err)
		}
	}
	for i, k := range c.Kinds {
		if !slices.Contains(fault.Kinds(), k) {
			return problem(fmt.Sprintf("Kinds[%d]", i), "unknown fault %q", string(k))
		}
	}
	return c, nil
}

// fits returns why a pattern cannot be laid into a safety phase.
func (c ExploreConfig) fits(p Scenario) error {
	if err := p.Validate(); err != nil {
		return err
	}
	for i, e := range p.Events {
		switch longest := (c.Safety - c.warmUp()) * 2 / 3; {
		case e.Cond != nil:
			return &ScenarioError{p.Name, i, "when", "a pattern has no conditions"}
		case e.Length == 0 && e.Fault.Lasts():
			return &ScenarioError{p.Name, i, "for", "an event of a pattern needs a length"}
		case e.end() > longest:
			return &ScenarioError{p.Name, i, "for", fmt.Sprintf("ends after %v, and a pattern may take %v of a safety phase of %v", e.end(), longest, c.Safety)}
		}
	}
	return nil
}

// minSafety leaves room for a fault to begin, to act and to end.
const minSafety = 20 * time.Second

// cmpZero returns the default for a zero value.
func cmpZero[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Explore searches for an outage that breaks the promises of a World. For each of many seeds it makes a World as
// [Run] does, calls f in it, plays a timeline drawn from the seed ([World.Storm]) and evaluates the checks
// that f has added. A seed turns on a random subset of the kinds of faults, so that some are seen without others
// in the way; some wait for a moment, as the first failures or the promotion of a store, in place of a time. First anything may happen (the safety phase); then the core is healed, the rest stays
// broken, and ExploreConfig.Recover is demanded (the liveness phase).
//
// The first violation ends the search: a check that failed, a failure that f reported on its t, a panic, a leak or a
// standstill. A check that is inconclusive is no violation, unless it is so for every seed; a search in which every seed
// was skipped, or no fault came, fails. The timeline is then shrunk as long as the same thing goes wrong: events
// dropped, faults shortened and softened, times rounded, clients removed. What remains is printed as Go and as JSON with
// the command that replays it, and kept in ExploreConfig.Dir; from then on every Explore of that name replays it first.
//
// f gets a t that belongs to the seed: failing it fails the seed, not the test. It must not keep state from one
// call to the next. As with Run it must use the context of its t and no other.
//
// Three environment variables change what a run does: HOLDFAST_SEEDS is the number of seeds, HOLDFAST_SEED the only
// seed, and HOLDFAST_REPLAY the regression file to replay instead, whose history must be the one it was recorded with. With
// HOLDFAST_UPDATE=1 the regression of a planted bug is shrunk and written again.
func Explore(t *testing.T, config ExploreConfig, f func(t testing.TB, w *World)) *Exploration {
	t.Helper()
	e, err := newExplorer(t, config, f)
	if err != nil {
		t.Fatal(err)
	}
	start, before := time.Now(), cputime.Used()
	e.run()
	e.result.CPU, e.result.Real = cputime.Used()-before, time.Since(start)
	e.conclude()
	for _, p := range e.problems {
		t.Error(p)
	}
	return e.result
}

// An explorer is one call of [Explore].
type explorer struct {
	t      *testing.T
	config ExploreConfig
	f      func(testing.TB, *World)
	replay string // the only file to replay; "" = all of the name, then the search
	update bool

	result       *Exploration
	problems     []string       // why the test fails
	inconclusive map[string]int // check → seeds
	judged       map[string]int // check → seeds that reached a verdict
	skipped      int            // seeds that the function skipped
}

func newExplorer(t *testing.T, config ExploreConfig, f func(testing.TB, *World)) (*explorer, error) {
	if bubbleOf(ownGoroutine()) != 0 {
		return nil, errors.New("drtest: Explore called inside a bubble; call it from an ordinary test")
	}
	config, err := config.withDefaults(t)
	if err != nil {
		return nil, err
	}
	e := &explorer{t: t, config: config, f: f, inconclusive: map[string]int{}, judged: map[string]int{}}
	if err := e.environment(); err != nil {
		return nil, err
	}
	e.result = &Exploration{Name: config.Name, Bug: config.Bug, Fired: map[fault.Kind]int{}}
	return e, nil
}

// environment reads what the variables say.
func (e *explorer) environment() error {
	if s := os.Getenv("HOLDFAST_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("drtest: HOLDFAST_SEEDS: %q is not a number of seeds", s)
		}
		e.config.Seeds = n
	}
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil || seed == 0 {
			return fmt.Errorf("drtest: HOLDFAST_SEED: %q is not a seed: want a number from 1 on", s)
		}
		e.config.World.Seed, e.config.Seeds = seed, 1
	}
	e.replay = os.Getenv("HOLDFAST_REPLAY")
	e.update = os.Getenv("HOLDFAST_UPDATE") == "1"
	return nil
}

// fail notes why the test fails.
func (e *explorer) fail(format string, args ...any) {
	e.problems = append(e.problems, fmt.Sprintf(format, args...))
}

// run replays what is known and then searches.
func (e *explorer) run() {
	if e.replay != "" {
		e.replayOnly(e.replay)
		return
	}
	if e.replayAll() && e.config.Seeds != NoSearch {
		e.search()
	}
}

// search tries one seed after the other.
func (e *explorer) search() {
	start := cputime.Used()
	for i := range e.config.Seeds {
		if spent := cputime.Used() - start; e.config.Budget > 0 && spent > e.config.Budget {
			e.result.Stopped = fmt.Sprintf("the budget of %v of processor time is spent", e.config.Budget)
			return
		}
		x := e.try(plan{seed: e.config.World.Seed + uint64(i)}, nil)
		e.result.Seeds++
		e.account(x)
		if x.skipped != "" {
			e.skipped++
		}
		if len(x.violations) > 0 {
			e.found(x)
			return
		}
	}
}

// account adds a trial of the search to the result.
func (e *explorer) account(x *trial) {
	if x.history == nil {
		return
	}
	e.result.Virtual += x.history.End()
	for _, f := range x.history.Faults() {
		e.result.Fired[fault.Kind(f.Kind)]++
	}
	for _, op := range x.history.Ops() {
		e.result.Operations += op.Weight
	}
	for _, v := range x.report.Verdicts {
		if v.Status == check.StatusInconclusive {
			e.inconclusive[v.Check]++
		} else {
			e.judged[v.Check]++
		}
	}
}

// conclude says what came of it.
func (e *explorer) conclude() {
	e.t.Helper()
	if testing.Verbose() {
		e.t.Log("\n" + e.result.String())
	}
	f := e.result.Finding
	switch {
	case e.replay != "": // said already
	case f != nil && e.config.Bug == "":
		e.fail("%s", f)
	case f != nil:
		e.t.Log(f.String())
	case len(e.problems) > 0:
	case e.config.Seeds == NoSearch:
		if e.config.Bug != "" && len(e.result.Replayed) == 0 {
			e.fail("drtest: Explore: there is no regression of the planted bug %q to replay", e.config.Bug)
		}
	case e.config.Bug != "":
		e.fail("drtest: Explore: %d seeds did not find the planted bug %q", e.result.Seeds, e.config.Bug)
	case e.skipped == e.result.Seeds:
		e.fail("drtest: Explore: every one of %d seeds was skipped: nothing was tried", e.result.Seeds)
	case len(e.result.Fired) == 0:
		e.fail("drtest: Explore: no fault came in any of %d seeds: the World has nothing on the menu, or its storm was not played", e.result.Seeds)
	default:
		e.alwaysInconclusive()
	}
}

// alwaysInconclusive fails the test for checks that never had anything to judge.
func (e *explorer) alwaysInconclusive() {
	var names []string
	for name := range e.inconclusive {
		if e.judged[name] == 0 {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		e.fail("drtest: Explore: nothing to judge in any of %d seeds: %s", e.result.Seeds, strings.Join(names, ", "))
	}
}
