package drtest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/report"
)

// A report is the same to the byte in every run, time zone and locale.
func TestReportIsGolden(t *testing.T) {
	t.Setenv("TZ", "Asia/Kathmandu")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	was := time.Local
	time.Local = time.FixedZone("Kathmandu", 5*3600+45*60)
	defer func() { time.Local = was }()
	dir := t.TempDir()
	var world *drtest.World
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Artifacts: dir, Settle: 2 * time.Minute}, func(_ *testing.T, w *drtest.World) {
		world = w
		s := openShop(w)
		w.Load(s.orders(4, drtest.Constant(1), drtest.Edges{Before: 10 * time.Second, After: time.Minute, Thin: 10}))
		w.Play(loseEast)
		w.Check(check.RTO(time.Minute).For("POST /orders").Floor(check.Setting{Name: "promotion", Took: promotionTakes}), check.RPO(time.Second), check.AppliedOnce(), check.SingleWriter())
	})
	for _, ext := range []string{".txt", ".json", ".html"} {
		data, err := os.ReadFile(filepath.Join(dir, "TestReportIsGolden"+ext))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "report"+ext, string(data))
	}
	data, err := world.Report().JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back report.Report
	if err := json.Unmarshal(data, &back); err != nil || back.Hash != world.Report().Hash || !back.Passed() {
		t.Errorf("read back: %+v, %v", back, err)
	}
}
