package spool

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/queue"
)

// slowFS is a disk whose fdatasync ends when the gate opens.
type slowFS struct {
	*faultFS
	gate chan struct{}
	free atomic.Bool // the lock was given up
}

func (f *slowFS) Create(path string) (file, error) {
	inner, err := f.faultFS.Create(path)
	return &slowFile{inner, f}, err
}

type slowFile struct {
	file
	disk *slowFS
}

func (f *slowFile) Datasync() error {
	<-f.disk.gate
	if f.disk.free.Load() {
		return errors.New("another process may have the directory")
	}
	return f.file.Datasync()
}

// Close waits for the Appends under way, also for those that wait for an fdatasync which is not theirs: their files are open for so long, and
// the directory is locked.
func TestCloseWaitsForAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowFS{faultFS: newFaultFS(1), gate: make(chan struct{})}
		s, err := open(disk, "/s", config(), func() error { disk.free.Store(true); return nil })
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, id := range []string{"first", "second"} { // the second's leader waits for the first's fdatasync
			wg.Go(func() {
				if err := s.Append(t.Context(), message(id)); err != nil {
					t.Errorf("Append of the %s = %v", id, err)
				}
			})
			synctest.Wait()
		}
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		})
		synctest.Wait()
		close(disk.gate)
		wg.Wait()
		if err := s.Append(t.Context(), message("third")); !errors.Is(err, ErrClosed) {
			t.Errorf("Append after Close = %v", err)
		}
		if err := s.Settle(queue.Spooled{Sequence: 1}, queue.SpoolSent, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Settle after Close = %v", err)
		}
		again, err := open(disk.faultFS, "/s", config(), noUnlock)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(takeAll(t, again)); !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("the next process finds %q", got)
		}
	})
}
