package flags

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
)

// maxFile bounds what is read of a file.
const maxFile = 1 << 20

// reread is how long an unchanged stat is believed: a file may be rewritten within the clock's grain.
const reread = time.Minute

// File returns a provider that reads a set from path, as degrade.ParseFlags understands it. path may be a symbolic link that
// is swapped, as a mounted ConfigMap is: what it leads to is looked at anew each time. The file is read again when its identity,
// size or time have changed, and every minute. A missing file is an error, not an empty set. Write it by renaming a finished
// file into place: a half-written one is refused.
func File(path string) degrade.Provider { return &file{path: path} }

type file struct {
	path string

	mu   sync.Mutex // guards the following
	info os.FileInfo
	read time.Time
	set  degrade.FlagSet
}

func (f *file) Load(context.Context, []string) (degrade.FlagSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return degrade.FlagSet{}, fmt.Errorf("flags: %w", err)
	}
	if f.info != nil && same(f.info, info) && time.Since(f.read) < reread {
		return f.set, nil
	}
	set, err := parseFile(f.path)
	if err != nil {
		f.info = nil
		return degrade.FlagSet{}, err
	}
	// info is from before the read: if the file was replaced in between, the next Load sees a difference.
	f.info, f.read, f.set = info, time.Now(), set
	return set, nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func parseFile(path string) (degrade.FlagSet, error) {
	f, err := os.Open(path)
	if err != nil {
		return degrade.FlagSet{}, fmt.Errorf("flags: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1)) // one more, so that ParseFlags sees that it is too large
	if err != nil {
		return degrade.FlagSet{}, fmt.Errorf("flags: %w", err)
	}
	set, err := degrade.ParseFlags(data)
	if err != nil {
		return degrade.FlagSet{}, fmt.Errorf("flags: %s: %w", path, err)
	}
	return set, nil
}
