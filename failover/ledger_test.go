package failover

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
)

// The default ledger logs every unknown write and keeps the newest 10,000.
func TestMemoryLedgerKeepsTheNewest(t *testing.T) {
	var log bytes.Buffer
	l := NewMemoryLedger(slog.New(slog.NewTextHandler(&log, nil)))
	const all = 3 * keptUnknown
	for i := range all {
		if err := l.Record(t.Context(), UnknownWrite{ID: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
		if i%997 != 0 {
			continue
		}
		if kept := l.All(); len(kept) < min(i+1, keptUnknown) || len(kept) > keptUnknown*11/10 || kept[len(kept)-1].ID != strconv.Itoa(i) {
			t.Fatalf("after %d records %d are kept, the newest %s", i+1, len(kept), kept[len(kept)-1].ID)
		}
	}
	if n := strings.Count(log.String(), "write of unknown outcome"); n != all {
		t.Errorf("%d of %d are logged", n, all)
	}
}
