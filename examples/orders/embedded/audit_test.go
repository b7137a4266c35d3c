package embedded

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/failover"
)

// Both Regions copy the group's log to the same place: it holds every entry once, and is a whole chain.
func TestAuditHoldsEachEntryOnce(t *testing.T) {
	var log bytes.Buffer
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		f := Start(w, Config{Dir: t.TempDir(), Instances: 1, Audit: &log})
		w.Play(drtest.Timeline("lose the writer", drtest.At(time.Minute, fault.RegionDown(East, fault.ModeBlackhole)).For(5*time.Minute)))
		time.Sleep(10 * time.Minute)
		if f.Writer() != f.Sites[West] {
			t.Errorf("the writer has not moved")
		}
		f.Stop()
	})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	slices.Sort(lines)
	if once := slices.Compact(slices.Clone(lines)); len(once) != len(lines) || len(lines) < 3 {
		t.Errorf("%d entries, %d of them different", len(lines), len(once))
	}
	if err := failover.VerifyAudit(&log); err != nil {
		t.Errorf("VerifyAudit = %v", err)
	}
}

type refusing struct{ bytes.Buffer }

var errFull = errors.New("disk full")

func (r *refusing) Write(p []byte) (int, error) {
	if r.Len() == 0 && string(p) == "late" {
		r.Buffer.WriteString("#")
		return 0, errFull
	}
	return r.Buffer.Write(p)
}

func TestEntryThatCouldNotBeWrittenIsTriedAgain(t *testing.T) {
	to := &refusing{}
	w := onceTo(to)
	if _, err := w.Write([]byte("late")); !errors.Is(err, errFull) {
		t.Errorf("Write = %v, want %v", err, errFull)
	}
	for range 2 {
		if _, err := w.Write([]byte("late")); err != nil {
			t.Error(err)
		}
	}
	if got := to.String(); got != "#late" {
		t.Errorf("written %q, want one entry", got)
	}
}
