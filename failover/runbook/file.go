package runbook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A FileJournal keeps a file of JSON lines for every run in one directory. Every entry is synced before Append returns. A
// line torn by a crash was never acknowledged and is cut off by the next writer. It serves processes of one
// machine, which must be a Unix; for runners on several machines use package redisjournal.
type FileJournal struct{ dir string }

// OpenJournal uses the directory at path, which it creates.
func OpenJournal(path string) (*FileJournal, error) {
	if path == "" {
		return nil, errors.New("runbook: OpenJournal: path is empty")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("runbook: journal: %w", err)
	}
	return &FileJournal{dir: path}, nil
}

const journalSuffix = ".jsonl"

// fileName reports whether a run's ID can be the name of a file in one directory.
func fileName(run string) bool {
	return run != "" && !strings.ContainsAny(run, "/\\\x00") && !strings.HasPrefix(run, ".")
}

// locked runs f with the run's file open and locked, and its whole lines.
func (j *FileJournal) locked(ctx context.Context, run string, f func(file *os.File, lines [][]byte) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if !fileName(run) {
		return fmt.Errorf("runbook: journal: run ID %q is not a file name", run)
	}
	file, err := os.OpenFile(filepath.Join(j.dir, run+journalSuffix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("runbook: journal: %w", err)
	}
	defer file.Close() // releases the lock
	if err := lock(ctx, file); err != nil {
		return fmt.Errorf("runbook: journal: %w", err)
	}
	text, err := os.ReadFile(file.Name())
	if err != nil {
		return fmt.Errorf("runbook: journal: %w", err)
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	if whole < len(text) {
		if err := file.Truncate(int64(whole)); err != nil {
			return fmt.Errorf("runbook: journal: %w", err)
		}
	}
	lines := bytes.Split(bytes.TrimSuffix(text[:whole], []byte("\n")), []byte("\n"))
	if whole == 0 {
		lines = nil
	}
	return f(file, lines)
}

// add appends e's line and syncs it, and the directory with a first line.
func (j *FileJournal) add(file *os.File, lines [][]byte, e Entry) error {
	var last []byte
	if len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	line, err := Chain(last, e)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, 2); err != nil {
		return fmt.Errorf("runbook: journal: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	if err = errors.Join(err, file.Sync()); err != nil {
		return fmt.Errorf("runbook: journal: %w", err)
	}
	if last != nil {
		return nil
	}
	dir, err := os.Open(j.dir)
	if err != nil {
		return fmt.Errorf("runbook: journal: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Acquire makes its caller the run's runner.
func (j *FileJournal) Acquire(ctx context.Context, first Entry) (token uint64, err error) {
	err = j.locked(ctx, first.Run, func(file *os.File, lines [][]byte) error {
		entries, err := decode(first.Run, lines)
		if err != nil {
			return err
		}
		token = read(entries).token + 1
		first.Event, first.Token = EventAcquired, token
		return j.add(file, lines, first)
	})
	return token, err
}

// Append stores e.
func (j *FileJournal) Append(ctx context.Context, e Entry) error {
	return j.locked(ctx, e.Run, func(file *os.File, lines [][]byte) error {
		entries, err := decode(e.Run, lines)
		if err != nil {
			return err
		}
		if e.Token != 0 && read(entries).token > e.Token {
			return ErrFenced
		}
		return j.add(file, lines, e)
	})
}

// Load returns the run's entries.
func (j *FileJournal) Load(ctx context.Context, run string) (entries []Entry, err error) {
	if _, err := os.Stat(filepath.Join(j.dir, run+journalSuffix)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	err = j.locked(ctx, run, func(_ *os.File, lines [][]byte) (err error) {
		entries, err = decode(run, lines)
		return err
	})
	return entries, err
}

// Runs returns the first entry of every run.
func (j *FileJournal) Runs(ctx context.Context) (first []Entry, err error) {
	files, err := filepath.Glob(filepath.Join(j.dir, "*"+journalSuffix))
	if err != nil {
		return nil, fmt.Errorf("runbook: journal: %w", err)
	}
	for _, f := range files {
		entries, err := j.Load(ctx, strings.TrimSuffix(filepath.Base(f), journalSuffix))
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			first = append(first, entries[0])
		}
	}
	slices.SortFunc(first, func(a, b Entry) int { return a.At.Compare(b.At) })
	return first, nil
}

// Path is the file of a run.
func (j *FileJournal) Path(run string) string { return filepath.Join(j.dir, run+journalSuffix) }

func decode(run string, lines [][]byte) (entries []Entry, err error) {
	for i, line := range lines {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("runbook: journal of run %q: line %d: %w", run, i+1, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
