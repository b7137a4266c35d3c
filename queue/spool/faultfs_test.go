package spool

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
)

var errCrash = errors.New("crashed")

// faultFS is a disk with a page cache that loses what was not synced. Every write, sync, create, rename, remove and
// truncate is a numbered operation; crashAt and failAt name one.
type faultFS struct {
	mu      sync.Mutex
	rng     *rand.Rand
	ops     int
	crashAt int              // this operation and all later ones fail, and only some of its bytes arrive
	failAt  map[int]error    // this operation fails, later ones do not
	names   map[string]*node // as the process sees them
	durable map[string]*node // as the disk has them
	pending []nameOp         // not yet synced
	dirs    map[string]bool
}

type nameOp struct {
	dir      string
	from, to string // from "" = create, to "" = remove
	node     *node
}

type node struct {
	data   []byte // as the process sees it
	synced []byte // as the disk has it
	lost   []span // dropped by a failed sync: no later sync brings it back
}

type span struct{ from, to int }

func newFaultFS(seed uint64) *faultFS {
	return &faultFS{rng: rand.New(rand.NewPCG(seed, 1)), names: map[string]*node{}, durable: map[string]*node{}, dirs: map[string]bool{}, failAt: map[int]error{}}
}

// step counts an operation and says how it goes.
func (f *faultFS) step() error {
	f.ops++
	if f.crashAt > 0 && f.ops >= f.crashAt {
		return errCrash
	}
	return f.failAt[f.ops]
}

// afterCrash is the disk as the next process finds it: names and pages that were not synced arrived or not, in any order.
func (f *faultFS) afterCrash() *faultFS {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := newFaultFS(f.rng.Uint64())
	names := maps.Clone(f.durable)
	for _, i := range f.rng.Perm(len(f.pending)) {
		if f.rng.IntN(2) == 0 {
			f.pending[i].apply(names)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(names)) {
		d := f.settle(names[path])
		g.names[path] = &node{data: d, synced: bytes.Clone(d)}
		g.durable[path] = g.names[path]
	}
	g.dirs = maps.Clone(f.dirs)
	return g
}

// settle decides which unsynced pages arrived.
func (f *faultFS) settle(n *node) []byte {
	const page = 512
	d := bytes.Clone(n.synced)
	if len(n.data) <= len(d) {
		return d
	}
	end := len(d) + f.rng.IntN(len(n.data)-len(d)+1)
	tail := make([]byte, end-len(d))
	for at := 0; at < len(tail); at += page {
		if f.rng.IntN(2) == 0 {
			copy(tail[at:min(at+page, len(tail))], n.data[len(d)+at:])
		}
	}
	return n.drop(append(d, tail...))
}

func (n *node) drop(d []byte) []byte {
	for _, s := range n.lost {
		for i := s.from; i < min(s.to, len(d)); i++ {
			d[i] = 0
		}
	}
	return d
}

func (o nameOp) apply(names map[string]*node) {
	if o.from != "" {
		delete(names, o.from)
	}
	if o.to != "" {
		names[o.to] = o.node
	}
}

func (f *faultFS) rename(o nameOp) {
	o.apply(f.names)
	f.pending = append(f.pending, o)
}

func (f *faultFS) MkdirAll(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirs[dir] = true
	return nil
}

func (f *faultFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := fstest.MapFS{".": &fstest.MapFile{Mode: fs.ModeDir}}
	for path := range f.names {
		if filepath.Dir(path) == dir {
			m[filepath.Base(path)] = &fstest.MapFile{}
		}
	}
	return m.ReadDir(".")
}

func (f *faultFS) ReadFile(path string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.names[path]; n != nil {
		return bytes.Clone(n.data), nil
	}
	return nil, os.ErrNotExist
}

func (f *faultFS) Open(path string) (file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.names[path]; n != nil {
		return &faultFile{f, n}, nil
	}
	return nil, os.ErrNotExist
}

func (f *faultFS) Create(path string) (file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step(); err != nil {
		return nil, err
	}
	if f.names[path] != nil {
		return nil, os.ErrExist
	}
	n := &node{}
	f.rename(nameOp{dir: filepath.Dir(path), to: path, node: n})
	return &faultFile{f, n}, nil
}

func (f *faultFS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step(); err != nil {
		return err
	}
	f.rename(nameOp{dir: filepath.Dir(from), from: from, to: to, node: f.names[from]})
	return nil
}

func (f *faultFS) Remove(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names[path] == nil {
		return os.ErrNotExist
	}
	if err := f.step(); err != nil {
		return err
	}
	f.rename(nameOp{dir: filepath.Dir(path), from: path})
	return nil
}

func (f *faultFS) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step(); err != nil {
		return err
	}
	f.pending = slices.DeleteFunc(f.pending, func(o nameOp) bool {
		if o.dir == dir {
			o.apply(f.durable)
		}
		return o.dir == dir
	})
	return nil
}

func (f *faultFS) Truncate(path string, size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step(); err != nil {
		return err
	}
	n := f.names[path]
	n.data = n.data[:min(int(size), len(n.data))]
	n.synced = n.drop(bytes.Clone(n.data))
	return nil
}

type faultFile struct {
	fs *faultFS
	n  *node
}

func (f *faultFile) ReadAt(b []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return strings.NewReader(string(f.n.data)).ReadAt(b, at)
}

// Write writes a part when it fails.
func (f *faultFile) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step(); err != nil {
		part := f.fs.rng.IntN(len(b) + 1)
		f.n.data = append(f.n.data, b[:part]...)
		return part, err
	}
	f.n.data = append(f.n.data, b...)
	return len(b), nil
}

// Datasync drops what it could not write when it fails, and marks it clean: later syncs succeed without it.
func (f *faultFile) Datasync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step(); err != nil {
		if err != errCrash {
			f.n.lost = append(f.n.lost, span{len(f.n.synced), len(f.n.data)})
		}
		return err
	}
	f.n.synced = f.n.drop(bytes.Clone(f.n.data))
	return nil
}

func (f *faultFile) Close() error { return nil }
