package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

func phases(name string, took time.Duration) []failover.PhaseTime {
	return []failover.PhaseTime{{Phase: name, Took: took}}
}

// The first executor stops half way; the second resumes the same run.
func TestPromotionIsResumedByTheNextExecutor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j, dir := newWorld(), NewMemoryJournal(), t.TempDir()
		fail := true
		build := func(tr failover.Transition) (*Runbook, error) {
			second := w.step("second", "first")
			second.Do = func(context.Context) error {
				if fail {
					return errNo
				}
				w.apply("second")
				return nil
			}
			return New("promote "+tr.To, w.step("first"), second)
		}
		promote := Promotion(build, Config{Journal: j, RTO: time.Hour, OnReport: WriteReports(dir)})
		asked := time.Now()
		tr := failover.Transition{
			ID: "move-1", To: "west", By: "i-1", Auto: true, Reason: "a quorum", Asked: asked, Mark: asked.Add(30 * time.Second),
			Took: phases("detect", 40*time.Second), Exposure: failover.Exposure{Known: true, Bound: 3 * time.Second},
		}
		if err := promote(t.Context(), tr); !errors.Is(err, errNo) {
			t.Fatalf("Promote = %v, want the step's error", err)
		}
		fail = false
		tr.By = "i-2"
		if err := promote(t.Context(), tr); err != nil || w.did["first"] != 1 || w.did["second"] != 1 {
			t.Errorf("resumed Promote = %v, did %v; want nil, each once", err, w.did)
		}
		text, err := os.ReadFile(filepath.Join(dir, "move-1.json"))
		var rep Report
		if err = errors.Join(err, json.Unmarshal(text, &rep)); err != nil {
			t.Fatal(err)
		}
		if rep.By != "auto/i-1" || rep.Exposure != 3*time.Second || rep.Runners != 2 || !rep.Since.Equal(asked.Add(-10*time.Second)) || rep.Phases[0].Phase != "detect" {
			t.Errorf("report %+v", rep)
		}
		if page, err := os.ReadFile(filepath.Join(dir, "move-1.md")); err != nil || !strings.Contains(string(page), "# promote west: finished") {
			t.Errorf("page %s, %v", page, err)
		}
		tr.ID, tr.Exposure = "../move", failover.Exposure{}
		if err := promote(t.Context(), tr); err != nil {
			t.Errorf("a report that cannot be written stopped the promotion: %v", err)
		}
		if rep, err := must(t, "promote west", w.step("first"), w.step("second", "first")).Report(t.Context(), "../move", j); err != nil || rep.Exposure != failover.UnknownExposure {
			t.Errorf("exposure %v of a transition that does not know it, %v; want unknown", rep.Exposure, err)
		}
	})
}
