package drtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

// regressionVersion is the version of the JSON form.
const regressionVersion = 1

// A regression is a file that holds a timeline in which something went wrong.
type regression struct {
	Version  int            `json:"version"`
	Name     string         `json:"name"`          // of the exploration
	Bug      string         `json:"bug,omitempty"` // planted on purpose
	Seed     uint64         `json:"seed"`
	Violates []string       `json:"violates"`
	Heal     fault.Duration `json:"heal"`
	Clients  int            `json:"clients,omitempty"`
	Scenario Scenario       `json:"scenario"`
	Events   int            `json:"events"`  // records of the history
	Hash     string         `json:"hash"`    // of the history
	Digests  []byte         `json:"digests"` // a byte for each of the first records
	Sum      string         `json:"sum"`     // SHA-256 of all above
}

func (r regression) plan() plan {
	return plan{seed: r.Seed, fixed: true, scenario: r.Scenario, heal: time.Duration(r.Heal), clients: r.Clients}
}

// sum returns what Sum must be.
func (r regression) sum() (string, error) {
	r.Sum = ""
	data, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:]), nil
}

// A RegressionError says why a regression file is refused.
type RegressionError struct{ File, Reason string }

// Error names the file and the reason.
func (e *RegressionError) Error() string {
	return fmt.Sprintf("drtest: regression %s: %s", e.File, e.Reason)
}

// readRegression reads a file and refuses one that cannot be trusted.
func readRegression(path string) (regression, error) {
	refuse := func(format string, args ...any) (regression, error) {
		return regression{}, &RegressionError{path, fmt.Sprintf(format, args...)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return refuse("%v", err)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return refuse("damaged: %v", err)
	}
	if head.Version != regressionVersion {
		return refuse("its version %d is not known, want %d: it was written by another version of drtest", head.Version, regressionVersion)
	}
	var r regression
	if err := fault.Strict(data, &r); err != nil {
		if e, ok := errors.AsType[*ScenarioError](err); ok {
			return refuse("%v", e)
		}
		return refuse("damaged: %v", err)
	}
	if want, err := r.sum(); err != nil || r.Sum != want {
		return refuse("edited or damaged: its sum does not fit its content; find it again with HOLDFAST_SEED=%d, or delete it", r.Seed)
	}
	if err := r.Scenario.Validate(); err != nil {
		return refuse("%v", err)
	}
	return r, nil
}

// write stores the regression.
func (r regression) write(path string) error {
	sum, err := r.sum()
	if err != nil {
		return err
	}
	r.Sum = sum
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// files returns the regressions of the name, and of others that begin alike, in order.
func (e *explorer) files() (out []string) {
	entries, err := os.ReadDir(e.config.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.fail("drtest: ExploreConfig.Dir: %v", err)
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, fileName(e.config.Name)+".") && strings.HasSuffix(name, ".json") {
			out = append(out, filepath.Join(e.config.Dir, name))
		}
	}
	return out
}

// place returns the file for a regression. That of a planted bug has its name; another never takes the place of one that
// was found before with the same seed.
func (e *explorer) place(r regression) string {
	if r.Bug != "" {
		return e.path(r.Bug)
	}
	file := e.path(fmt.Sprintf("seed%d", r.Seed))
	for n := 2; exists(file); n++ {
		if was, err := readRegression(file); err == nil && was.like(r) {
			break
		}
		file = e.path(fmt.Sprintf("seed%d-%d", r.Seed, n))
	}
	return file
}

// like reports whether two regressions are of one timeline.
func (r regression) like(other regression) bool {
	return r.Name == other.Name && r.Bug == other.Bug && r.Seed == other.Seed && r.Heal == other.Heal && r.Clients == other.Clients &&
		r.Scenario.Name == other.Scenario.Name && slices.EqualFunc(r.Scenario.Events, other.Scenario.Events, Event.same)
}

// path returns the file of a regression.
func (e *explorer) path(what string) string {
	return filepath.Join(e.config.Dir, fileName(e.config.Name)+"."+what+".json")
}

// fileName returns a name with an underscore in the place of what not every file name may have.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
}

// replayAll replays the regressions of the name. It reports false if there is no need to search: one of them fails.
func (e *explorer) replayAll() bool {
	for _, file := range e.files() {
		r, err := readRegression(file)
		if err != nil {
			e.fail("%v", err)
			continue
		}
		if r.Name != e.config.Name || e.config.Bug != "" && e.config.Bug != r.Bug || e.update && e.config.Bug != "" {
			continue
		}
		e.result.Replayed = append(e.result.Replayed, file)
		x, seen := e.trace(r.plan())
		failed := len(x.violations) > 0
		switch {
		case e.config.Bug != "" && !x.shows(r.Violates) && !e.showsAgain(r):
			e.fail("drtest: regression %s: the planted bug %q no longer violates %q in it; HOLDFAST_UPDATE=1 finds another timeline", file, r.Bug, r.Violates)
		case e.config.Bug == "" && failed:
			e.result.Finding = e.replayed(x, file)
			if r.Bug == "" {
				e.result.Finding.Diverged = seen.compare(r, x.hash())
			}
			return false
		}
	}
	return true
}

// morePlays is how often the timeline of a planted bug is played again that did not show it, where Worlds may go another way: what shows in nine
// plays of ten is missed once in a million.
const morePlays = 5

func (e *explorer) showsAgain(r regression) bool {
	if e.config.AcceptDivergence == "" {
		return false
	}
	for range morePlays {
		if e.try(r.plan(), nil).shows(r.Violates) {
			return true
		}
	}
	return false
}

// shows reports whether one of some checks is violated.
func (x *trial) shows(checks []string) bool {
	return slices.ContainsFunc(x.violations, func(v Violation) bool { return slices.Contains(checks, v.Check) })
}

// replayOnly replays one file, which must give the history it was recorded with.
func (e *explorer) replayOnly(file string) {
	r, err := readRegression(file)
	if err != nil {
		e.fail("%v", err)
		return
	}
	if r.Name != e.config.Name || e.config.Bug != "" && r.Bug != e.config.Bug {
		e.fail("drtest: HOLDFAST_REPLAY: %s is a regression of %s, and this Explore is %s: nothing was replayed. Run the one test that it belongs to, with -run",
			file, owner(r.Name, r.Bug), owner(e.config.Name, e.config.Bug))
		return
	}
	x, seen := e.trace(r.plan())
	e.result.Replayed = append(e.result.Replayed, file)
	e.result.Seeds = 1
	e.account(x)
	if diverged := seen.compare(r, x.hash()); diverged != "" && r.Bug == e.config.Bug { // without its bug it must go another way
		e.fail("drtest: regression %s: the replay diverged: %s", file, diverged)
	}
	if len(x.violations) == 0 {
		e.t.Logf("drtest: regression %s: nothing goes wrong any more\n%s", file, x.text())
		return
	}
	f := e.replayed(x, file)
	e.result.Finding = f
	if e.config.Bug == "" {
		e.fail("%s", f)
	} else {
		e.t.Log(f.String())
	}
}

// owner names an Explore.
func owner(name, bug string) string {
	if bug == "" {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q with the planted bug %q", name, bug)
}

// text returns the report of a World.
func (x *trial) text() string {
	if x.report == nil {
		return "the World was given up: there is no report\n" + x.log
	}
	return x.report.Text() + x.log
}

// found explains a failing World of the search: it is played again, shrunk and kept.
func (e *explorer) found(x *trial) {
	if e.config.Bug != "" && !e.update {
		if file := e.path(e.config.Bug); exists(file) { // it is known, in its smallest form
			e.result.Finding = e.replayed(x, file)
			return
		}
	}
	diverged, repeats := e.confirm(x)
	if !repeats {
		e.result.Finding = e.finding(x, x, 1)
		e.result.Finding.Diverged = diverged + "; nothing went wrong that time"
		e.fail("drtest: Explore: seed %d: the replay diverged: %s", x.plan.seed, e.result.Finding.Diverged)
		return
	}
	best, worlds := x, 0
	if x.took < e.config.World.Watchdog { // each of the others would stand still as long
		best, worlds = e.shrink(x)
	}
	f := e.finding(best, x, worlds+1)
	again, seen := e.trace(best.plan)
	if diverged == "" && again.differs(best) {
		diverged = e.difference(best.plan, seen)
	}
	f.Diverged = diverged
	e.result.Finding = f
	e.keep(f, again, seen)
	if diverged != "" && e.config.AcceptDivergence == "" {
		e.fail("drtest: Explore: seed %d: the replay diverged: %s", x.plan.seed, diverged)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// keep writes the regression of a finding.
func (e *explorer) keep(f *Finding, x *trial, seen *trace) {
	r := regression{
		Version: regressionVersion, Name: e.config.Name, Bug: e.config.Bug, Seed: f.Seed, Violates: strings.Split(f.checks(), ", "),
		Heal: fault.Duration(f.Heal), Clients: f.Clients, Scenario: f.Scenario, Events: seen.n, Hash: x.hash(), Digests: seen.digests,
	}
	file := e.place(r)
	if err := r.write(file); err != nil {
		e.fail("drtest: Explore: %v", err)
		return
	}
	f.File = file
	f.command = e.command("HOLDFAST_REPLAY=" + file)
}

// finding returns what a World shows, shrunk from another.
func (e *explorer) finding(x, original *trial, worlds int) *Finding {
	return &Finding{
		Seed: x.plan.seed, Violations: x.violations, Scenario: x.plan.scenario, Heal: x.plan.heal, Clients: x.plan.clients,
		Original: len(original.plan.scenario.Events), Worlds: worlds, report: x.text(),
		command: e.command(fmt.Sprintf("HOLDFAST_SEED=%d", x.plan.seed)),
	}
}

// replayed returns what a World shows that was played from a file.
func (e *explorer) replayed(x *trial, file string) *Finding {
	f := e.finding(x, x, 0)
	f.File, f.command = file, e.command("HOLDFAST_REPLAY="+file)
	return f
}

// command returns the shell command that runs this test again.
func (e *explorer) command(variable string) string {
	var b strings.Builder
	for i, part := range strings.Split(e.t.Name(), "/") {
		if i > 0 {
			b.WriteString("/")
		}
		b.WriteString("^" + part + "$")
	}
	pkg := "."
	if f := runtime.FuncForPC(reflect.ValueOf(e.f).Pointer()); f != nil {
		dir, base := filepath.Split(f.Name())
		base, _, _ = strings.Cut(base, ".")
		pkg = dir + strings.TrimSuffix(base, "_test")
	}
	return fmt.Sprintf("%s go test %s -run '%s' -count=1 -v", variable, pkg, b.String())
}

// confirm plays a failing World again. It returns the first event that differs, "" if none does, and whether the same
// thing goes wrong.
func (e *explorer) confirm(x *trial) (diverged string, repeats bool) {
	again, seen := e.trace(x.plan)
	if again.differs(x) {
		diverged = e.difference(x.plan, seen)
	}
	return diverged, again.violates(x)
}

// difference plays a World once more and returns the first event that differs from a trace.
func (e *explorer) difference(p plan, seen *trace) string {
	x, other := e.trace(p)
	for i := range min(len(seen.lines), len(other.lines)) {
		if seen.lines[i] != other.lines[i] {
			return fmt.Sprintf("event %d was %q and then %q%s", i, seen.lines[i], other.lines[i], x.ties())
		}
	}
	if len(seen.lines) != len(other.lines) {
		return fmt.Sprintf("there were %d events and then %d, the first %d alike%s", seen.n, other.n, min(len(seen.lines), len(other.lines)), x.ties())
	}
	return "the first run differs from two others, which are alike: the World depends on what ran before it in the process" + x.ties()
}

// ties says how many events share a nanosecond, which is the usual reason for another order.
func (x *trial) ties() string {
	if x.report == nil || x.report.Ties == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d events share a nanosecond with another, first %s)", x.report.Ties, x.report.FirstTie)
}

// hash returns the hash of the history; "" for a World that did not end as it should: its record may not be complete.
func (x *trial) hash() string {
	if x.report == nil || slices.ContainsFunc(x.violations, func(v Violation) bool { return v.Check == "world" }) {
		return ""
	}
	return x.report.Hash
}

// differs reports whether two trials that both ended went different ways.
func (x *trial) differs(from *trial) bool {
	return x.hash() != "" && from.hash() != "" && x.hash() != from.hash()
}

// A trace is the records of a history.
type trace struct {
	n       int
	lines   []string
	rolling hash.Hash64
	digests []byte
}

// Bounds of what a trace keeps.
const (
	maxLines   = 1 << 20
	maxDigests = 1 << 14
)

// trace runs a World and keeps its records.
func (e *explorer) trace(p plan) (*trial, *trace) {
	t := &trace{rolling: fnv.New64a()}
	return e.try(p, t.add), t
}

func (t *trace) add(line []byte) {
	t.n++
	if len(t.lines) < maxLines {
		t.lines = append(t.lines, string(bytes.TrimSpace(line)))
	}
	_, _ = t.rolling.Write(line) // never fails
	if len(t.digests) < maxDigests {
		sum := t.rolling.Sum64()
		t.digests = append(t.digests, byte(sum^sum>>8^sum>>16^sum>>24^sum>>32))
	}
}

// compare returns the first event that differs from those of a regression; "" if none does.
func (t *trace) compare(r regression, hash string) string {
	for i := range min(len(t.digests), len(r.Digests)) {
		if t.digests[i] != r.Digests[i] {
			return fmt.Sprintf("event %d is not what was recorded: %q now", i, t.lines[i])
		}
	}
	switch {
	case t.n != r.Events:
		return fmt.Sprintf("%d events, %d were recorded; the first %d are alike", t.n, r.Events, min(len(t.digests), len(r.Digests)))
	case hash != "" && r.Hash != "" && hash != r.Hash:
		return fmt.Sprintf("the first %d events are alike, and one of the others is not what was recorded: the hash of the history is %s, was %s", len(r.Digests), hash, r.Hash)
	default:
		return ""
	}
}
