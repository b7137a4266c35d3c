package drill

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/report"
	"github.com/holdfast-go/holdfast/internal/audit"
)

// Outcome is what a drill came to. The package comment says when it is which.
type Outcome string

// The outcomes.
const (
	OutcomePassed       Outcome = "passed"
	OutcomeFailed       Outcome = "failed"
	OutcomeInterrupted  Outcome = "interrupted"
	OutcomeInconclusive Outcome = "inconclusive"
)

// evidenceVersion is the version of drill.json and manifest.json.
const evidenceVersion = 1

// Evidence is drill.json: what a drill was and what it came to.
type Evidence struct {
	Version   int               `json:"version"`
	Name      string            `json:"name"`
	Outcome   Outcome           `json:"outcome"`
	Reason    string            `json:"reason"` // why that outcome
	Operators []string          `json:"operators"`
	Approvals []string          `json:"approvals"`
	Started   time.Time         `json:"started"`
	Ended     time.Time         `json:"ended"`
	Scenario  string            `json:"scenario_sha256"`
	Allowed   []string          `json:"allowed"`
	Attached  map[string]string `json:"attached"` // hosts of the World → real servers
	Commit    string            `json:"commit"`
	Versions  map[string]string `json:"versions"`
	RTO       Measured          `json:"rto"`
	RPO       Measured          `json:"rpo"`
	Recovered []string          `json:"recovered"` // what a killed drill had left
	Failures  []string          `json:"failures"`  // what went wrong besides checks
	Left      []string          `json:"left"`      // faults that could not be undone
}

// Measured is an objective and what was measured, in seconds.
type Measured struct {
	Objective float64 `json:"objective_seconds"` // 0 = none
	Got       float64 `json:"measured_seconds"`
	Status    string  `json:"status"` // of the check; "" = not judged
}

// The files of a bundle beside the manifest.
const (
	fileDrill    = "drill.json"
	fileScenario = "scenario.json"
	fileReport   = "report.json"
	filePage     = "report.html"
	fileText     = "report.txt"
	fileAudit    = "audit.jsonl"
	fileManifest = "manifest.json"
)

var bundleFiles = []string{fileAudit, fileDrill, filePage, fileReport, fileScenario, fileText}

type manifest struct {
	Version int            `json:"version"`
	Files   []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// scenarioFile is the form of a scenario that is hashed.
func scenarioFile(s drtest.Scenario) []byte {
	data, _ := json.MarshalIndent(s, "", "  ") // a scenario always can be
	return append(data, '\n')
}

// hashOf is the hash of a scenario in plans, leases and evidence.
func hashOf(s drtest.Scenario) string { return sha(scenarioFile(s)) }

// version returns the versions of this program and the commit it was built from.
func (c *Config) version() (commit string, versions map[string]string) {
	versions = map[string]string{"go": runtime.Version()}
	commit = c.Commit
	if info, ok := debug.ReadBuildInfo(); ok {
		versions[info.Main.Path] = info.Main.Version
		modified := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && c.Commit == "":
				commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true" && c.Commit == "":
				modified = " with changes"
			}
		}
		commit += modified
	}
	maps.Copy(versions, c.Versions)
	return commit, versions
}

// writeBundle writes all files but the audit log, which is there, and then the manifest. It returns the manifest's hash.
func writeBundle(dir string, s drtest.Scenario, e Evidence, r *report.Report) (digest string, err error) {
	drill, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return "", err
	}
	data, err := r.JSON()
	if err != nil {
		return "", err
	}
	files := map[string][]byte{
		fileDrill: append(drill, '\n'), fileScenario: scenarioFile(s), fileReport: append(data, '\n'), filePage: []byte(r.HTML()), fileText: []byte(r.Text()),
	}
	for name, data := range files {
		if err := replace(filepath.Join(dir, name), data); err != nil {
			return "", err
		}
	}
	m := manifest{Version: evidenceVersion}
	for _, name := range bundleFiles {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		m.Files = append(m.Files, manifestFile{name, len(data), sha(data)})
	}
	list, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", err
	}
	list = append(list, '\n')
	return sha(list), replace(filepath.Join(dir, fileManifest), list)
}

// ErrEvidence is wrapped by every error of [Verify] that says that a bundle is not what was written.
var ErrEvidence = errors.New("drill: evidence does not hold")

// Verify reads a bundle and checks it: every file against the manifest, no file missing or added, the chain of the
// audit log, the hash of the scenario. It returns what the bundle says and the hash of its manifest, to be compared
// with [Result].Digest. Its error wraps [ErrEvidence] and names everything that does not hold.
func Verify(dir string) (e Evidence, digest string, err error) {
	list, err := os.ReadFile(filepath.Join(dir, fileManifest))
	if err != nil {
		return e, "", fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	var m manifest
	if err := decode(list, &m.Version, &m); err != nil {
		return e, "", fmt.Errorf("%w: %s: %w", ErrEvidence, fileManifest, err)
	}
	var errs []error
	bad := func(file, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s: %w", ErrEvidence, file, fmt.Errorf(format, args...)))
	}
	data := map[string][]byte{}
	for _, f := range m.Files {
		if !slices.Contains(bundleFiles, f.Name) {
			bad(f.Name, "a bundle has no such file")
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, f.Name))
		data[f.Name] = got
		switch {
		case err != nil:
			bad(f.Name, "%w", err)
		case sha(got) != f.SHA256 || len(got) != f.Size:
			bad(f.Name, "it was changed: sha256 %s, the manifest has %s", sha(got), f.SHA256)
		}
	}
	for _, name := range bundleFiles {
		if !slices.ContainsFunc(m.Files, func(f manifestFile) bool { return f.Name == name }) {
			bad(name, "missing from the manifest")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		bad(dir, "%w", err)
	}
	for _, x := range entries {
		if x.Name() != fileManifest && !slices.Contains(bundleFiles, x.Name()) {
			bad(x.Name(), "it was added")
		}
	}
	if _, err := audit.Verify(bytes.NewReader(data[fileAudit]), audit.Head{}); err != nil {
		bad(fileAudit, "%w", err)
	}
	if err := decode(data[fileDrill], &e.Version, &e); err != nil {
		bad(fileDrill, "%w", err)
	} else if got := sha(data[fileScenario]); got != e.Scenario {
		bad(fileScenario, "sha256 %s, %s has %s", got, fileDrill, e.Scenario)
	}
	if _, err := report.Parse(data[fileReport]); err != nil {
		bad(fileReport, "%w", err)
	}
	return e, sha(list), errors.Join(errs...)
}

// decode reads JSON whose version must be the one known here.
func decode(data []byte, version *int, v any) error {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	if *version = head.Version; head.Version != evidenceVersion {
		return fmt.Errorf("version %d is not known, want %d", head.Version, evidenceVersion)
	}
	return fault.Strict(data, v)
}
