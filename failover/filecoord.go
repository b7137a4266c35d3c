package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A FileCoordinator keeps the record in a file on one machine, for several processes of that machine: development,
// demos and drills. It survives the loss of no machine.
type FileCoordinator struct {
	path     string
	survives []Region
}

// OpenFileCoordinator uses the file at path and one beside it with the suffix ".lock". It claims to survive the loss of the given
// Regions, which is true only where they are simulated on one machine. It creates nothing until the first store.
func OpenFileCoordinator(path string, survives ...Region) (*FileCoordinator, error) {
	if path == "" {
		return nil, errors.New("failover: OpenFileCoordinator: path is empty")
	}
	return &FileCoordinator{path: path, survives: survives}, nil
}

// fileState is the JSON form of the file.
type fileState struct {
	Record Record          `json:"record"`
	Votes  map[string]Vote `json:"votes"`
}

// locked runs f with the file's content under an exclusive lock of the lock file, and stores it if f says so.
func (c *FileCoordinator) locked(ctx context.Context, f func(*fileState) (store bool, err error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lock, err := os.OpenFile(c.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("failover: file coordinator: %w", err)
	}
	defer lock.Close() // releases the lock
	if err := lockFile(ctx, lock); err != nil {
		return fmt.Errorf("failover: file coordinator: %w", err)
	}
	s := fileState{Votes: map[string]Vote{}}
	text, err := os.ReadFile(c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("failover: file coordinator: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("failover: file coordinator: %s is torn: %w", c.path, err)
		}
	}
	store, err := f(&s)
	if err != nil || !store {
		return err
	}
	if text, err = json.Marshal(s); err != nil {
		return err
	}
	return replaceFile(c.path, text)
}

// Load returns the stored record.
func (c *FileCoordinator) Load(ctx context.Context) (rec Record, err error) {
	err = c.locked(ctx, func(s *fileState) (bool, error) {
		if s.Record.Sequence == 0 {
			return false, ErrNoRecord
		}
		rec = s.Record
		return false, nil
	})
	return rec, err
}

// CompareAndSwap stores next.
func (c *FileCoordinator) CompareAndSwap(ctx context.Context, sequence uint64, next Record) error {
	return c.locked(ctx, func(s *fileState) (bool, error) {
		if s.Record.Sequence != sequence {
			return false, ErrConflict
		}
		s.Record = next
		return true, nil
	})
}

// Vote stores v.
func (c *FileCoordinator) Vote(ctx context.Context, v Vote) error {
	return c.locked(ctx, func(s *fileState) (bool, error) {
		if s.Votes[v.Instance].Number > v.Number {
			return false, ErrConflict
		}
		s.Votes[v.Instance] = v
		for name, old := range s.Votes {
			if time.Since(old.At) > VoteRetention {
				delete(s.Votes, name)
			}
		}
		return true, nil
	})
}

// Votes returns every instance's newest vote.
func (c *FileCoordinator) Votes(ctx context.Context) (votes []Vote, err error) {
	err = c.locked(ctx, func(s *fileState) (bool, error) {
		for _, v := range s.Votes {
			if time.Since(v.At) <= VoteRetention {
				votes = append(votes, v)
			}
		}
		return false, nil
	})
	return votes, err
}

// Info says that the file is linearizable on its machine.
func (c *FileCoordinator) Info() CoordinatorInfo {
	return CoordinatorInfo{Name: "file", Linearizable: true, Survives: c.survives}
}
