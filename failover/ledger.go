package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// An UnknownWrite is the record of a write whose fate is open, for someone to reconcile.
type UnknownWrite struct {
	ID     string    `json:"id"`
	Client string    `json:"client"`
	Region Region    `json:"region"`
	Epoch  uint64    `json:"epoch"`
	At     time.Time `json:"at"`
	Error  string    `json:"error"`
}

// A Ledger keeps records of writes of unknown outcome. Record returns once the record is as safe as the ledger makes it;
// an error of it is joined to the write's. A crash between the write's send and Record leaves neither an error nor a
// record. Implementations are safe for concurrent use.
type Ledger interface {
	// Record keeps w.
	Record(ctx context.Context, w UnknownWrite) error
}

// keptUnknown is how many records a MemoryLedger keeps at least; a tenth more, and those are dropped together.
const keptUnknown = 10_000

// A MemoryLedger logs every record and keeps at least the newest 10,000 in memory. They die with the process.
type MemoryLedger struct {
	log *slog.Logger

	mu     sync.Mutex // guards writes
	writes []UnknownWrite
}

// NewMemoryLedger returns an empty ledger that logs to log; nil is silent.
func NewMemoryLedger(log *slog.Logger) *MemoryLedger {
	return &MemoryLedger{log: telemetry.Logger(log)}
}

// Record keeps w.
func (l *MemoryLedger) Record(_ context.Context, w UnknownWrite) error {
	l.log.Warn("write of unknown outcome", slog.String("id", w.ID), slog.String("client", w.Client),
		slog.String("region", w.Region), slog.String("epoch", FormatEpoch(w.Epoch)), slog.String("error", w.Error))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.writes) == keptUnknown+keptUnknown/10 {
		l.writes = slices.Delete(l.writes, 0, keptUnknown/10)
	}
	l.writes = append(l.writes, w)
	return nil
}

// All returns the kept records, oldest first.
func (l *MemoryLedger) All() []UnknownWrite {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.writes)
}

// A FileLedger appends every record to a file as a line of JSON and syncs it before Record returns.
type FileLedger struct {
	file *os.File

	mu   sync.Mutex // keeps lines whole; guards torn
	torn bool       // the last line may be incomplete
}

// OpenFileLedger opens or creates the file at path. Close it when its writers have stopped.
func OpenFileLedger(path string) (*FileLedger, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("failover: ledger: %w", err)
	}
	if err := endLine(f); err != nil {
		return nil, fmt.Errorf("failover: ledger: %w", errors.Join(err, f.Close()))
	}
	return &FileLedger{file: f}, nil
}

// endLine ends a line that a crash has torn, so that the next record stands on its own.
func endLine(f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

// Record appends w and syncs the file.
func (l *FileLedger) Record(_ context.Context, w UnknownWrite) error {
	line, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("failover: ledger: %w", err)
	}
	line = append(line, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(line)
	l.torn = err != nil && (l.torn || n > 0)
	if err = errors.Join(err, l.file.Sync()); err != nil {
		return fmt.Errorf("failover: ledger: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *FileLedger) Close() error { return l.file.Close() }
