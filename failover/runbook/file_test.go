package runbook

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

func openJournal(t *testing.T) *FileJournal {
	t.Helper()
	j, err := OpenJournal(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestFileJournalKeepsAChain(t *testing.T) {
	w := newWorld()
	j := openJournal(t)
	r := must(t, "book", w.step("a"), w.step("b", "a"))
	if _, err := r.Run(t.Context(), "run", Config{Journal: j, By: "ann", PollEvery: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(j.Path("run"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(strings.NewReader(string(text)), audit.Head{}); err != nil {
		t.Errorf("Verify = %v, want nil", err)
	}
	edited := strings.Replace(string(text), `"by":"ann"`, `"by":"eve"`, 1)
	if _, err := audit.Verify(strings.NewReader(edited), audit.Head{}); !errors.Is(err, audit.ErrBroken) {
		t.Errorf("Verify of an edited journal = %v, want ErrBroken", err)
	}
}

func TestFileJournalCutsATornLine(t *testing.T) {
	j := openJournal(t)
	if _, err := j.Acquire(t.Context(), Entry{Run: "run", Runbook: "book", By: "ann"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(j.Path("run"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"seq":2,"run":"ru`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	token, err := j.Acquire(t.Context(), Entry{Run: "run", Runbook: "book", By: "ann"})
	entries, loadErr := j.Load(t.Context(), "run")
	if err != nil || loadErr != nil || token != 2 || len(entries) != 2 || entries[1].Sequence != 2 {
		t.Errorf("after a torn line: token %d, %v, entries %v, %v", token, err, entries, loadErr)
	}
}

func TestFileJournalFencesAndSerialises(t *testing.T) {
	j := openJournal(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	tokens := map[uint64]bool{}
	for range 8 {
		wg.Go(func() {
			token, err := j.Acquire(t.Context(), Entry{Run: "run", Runbook: "book", By: "ann"})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			tokens[token] = true
		})
	}
	wg.Wait()
	if len(tokens) != 8 {
		t.Errorf("tokens %v, want 8 different ones", tokens)
	}
	if err := j.Append(t.Context(), Entry{Run: "run", Token: 7, Event: EventStarted}); !errors.Is(err, ErrFenced) {
		t.Errorf("Append of an older runner = %v, want ErrFenced", err)
	}
	runs, err := j.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Run != "run" {
		t.Errorf("Runs = %v, %v, want the one", runs, err)
	}
}

func TestFileJournalRefusesPathsAsRunIDs(t *testing.T) {
	j := openJournal(t)
	for _, id := range []string{"", "../x", "a/b", ".hidden"} {
		if _, err := j.Acquire(t.Context(), Entry{Run: id}); err == nil {
			t.Errorf("Acquire(%q) = nil, want an error", id)
		}
	}
}
