package runbook

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
)

// A MemoryJournal keeps entries in this process: for tests, and for runs that nobody needs to resume.
type MemoryJournal struct {
	mu   sync.Mutex // guards runs
	runs map[string][][]byte
	ids  []string // in the order of their first entries
}

// NewMemoryJournal returns an empty journal.
func NewMemoryJournal() *MemoryJournal { return &MemoryJournal{runs: map[string][][]byte{}} }

// Acquire makes its caller the run's runner.
func (j *MemoryJournal) Acquire(ctx context.Context, first Entry) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries, err := decode(first.Run, j.runs[first.Run])
	if err != nil {
		return 0, err
	}
	first.Event, first.Token = EventAcquired, read(entries).token+1
	return first.Token, j.addLocked(ctx, first)
}

// Append stores e.
func (j *MemoryJournal) Append(ctx context.Context, e Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries, err := decode(e.Run, j.runs[e.Run])
	if err != nil {
		return err
	}
	if e.Token != 0 && read(entries).token > e.Token {
		return ErrFenced
	}
	return j.addLocked(ctx, e)
}

func (j *MemoryJournal) addLocked(ctx context.Context, e Entry) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lines := j.runs[e.Run]
	var last []byte
	if len(lines) == 0 {
		j.ids = append(j.ids, e.Run)
	} else {
		last = lines[len(lines)-1]
	}
	line, err := Chain(last, e)
	if err != nil {
		return err
	}
	j.runs[e.Run] = append(lines, line)
	return nil
}

// Load returns the run's entries.
func (j *MemoryJournal) Load(_ context.Context, run string) ([]Entry, error) {
	j.mu.Lock()
	lines := slices.Clone(j.runs[run])
	j.mu.Unlock()
	return decode(run, lines)
}

// Runs returns the first entry of every run.
func (j *MemoryJournal) Runs(context.Context) (first []Entry, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range j.ids {
		var e Entry
		if err := json.Unmarshal(j.runs[id][0], &e); err != nil {
			return nil, err
		}
		first = append(first, e)
	}
	return first, nil
}
