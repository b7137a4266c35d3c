//go:build unix

package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-go/holdfast/internal/telemetry"
	"github.com/holdfast-go/holdfast/queue"
)

// Config configures a [Spool]. The zero value is ready to use.
type Config struct {
	// Name is used in errors and metrics. Empty means the directory's base name.
	Name string

	// SegmentBytes is the size at which a new file is begun. Zero means 64 MiB; below 4 KiB is an error.
	SegmentBytes int64

	// MaxBytes is how much the files may take. Zero means 1 GiB. Above it Append returns queue.ErrSpoolFull.
	MaxBytes int64

	// MaxAge moves older messages to the directory expired/ instead of sending them. Zero means never. While the spool is
	// open no step of the wall clock changes an age; over a restart the wall clock is all there is, and a message from
	// its future is as old as the restart.
	MaxAge time.Duration

	// Logger receives one line per damage and failure. Nil is silent.
	Logger *slog.Logger

	// MeterProvider receives the durations of fdatasync; the counts are reported by the queue.Client. Nil means
	// OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

func (c *Config) setDefaults(dir string) error {
	if c.Name == "" {
		c.Name = filepath.Base(dir)
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	switch {
	case c.SegmentBytes < 4<<10:
		return fmt.Errorf("spool: Config.SegmentBytes: %d is below the minimum 4096", c.SegmentBytes)
	case c.MaxBytes < 0 || c.MaxAge < 0:
		return errors.New("spool: Config: negative MaxBytes or MaxAge")
	}
	return nil
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("spool: closed")

// A Spool is a [queue.Spool] in one directory. Its methods are safe for concurrent use; it starts no goroutine.
type Spool struct {
	config Config
	dir    string
	fs     filesystem
	unlock func() error
	opened time.Time // ages are counted from here: what the wall clock does afterwards makes no message older or younger
	syncs  *telemetry.Histogram
	set    telemetry.Set

	mu         sync.Mutex // guards the following; no I/O under it
	closed     bool
	next       uint64 // sequence
	entries    []*entry
	pending    int // entries that are not settled
	available  entryHeap
	groups     map[string][]*entry // FIFO groups, in order
	segments   []*segment          // oldest first
	active     *segment            // nil = the next commit begins one
	nextFile   uint64
	bytes      int64
	reserved   int64 // bytes of batches not yet written
	batch      *batch
	committing *batch
	last       int     // messages of the last batch that had any: what the next one makes room for
	spare      []byte  // memory for the next batch's records
	slab       []entry // for the next entries
	settled    []byte  // records of what was settled, for the next commit
	lazy       int     // their number
	arrived    chan struct{}
	aside      []string // call IDs in quarantine/ and expired/
	stats      queue.SpoolStats
}

// An entry is a message in the spool. The body stays on disk.
type entry struct {
	sequence uint64
	segment  *segment
	offset   int64
	size     int
	at       time.Duration // of Append, since Spool.opened
	group    string
	settled  bool
	out      bool
}

type segment struct {
	id   uint64
	path string
	size int64
	live int  // messages not settled
	w    file // nil once sealed
	r    file
}

// A batch is what one fdatasync covers. Its first member is the leader: it waits for the batch before and commits.
type batch struct {
	prev    *batch
	buf     []byte
	entries []*entry // offsets relative to buf
	done    chan struct{}
	err     error
}

// Open locks dir, creating it if needed, and reads what an earlier process left. Damage is repaired or put in
// quarantine, never an error. Errors: a directory that cannot be written to or is locked.
func Open(dir string, config Config) (*Spool, error) {
	if err := config.setDefaults(dir); err != nil {
		return nil, err
	}
	var disk osFS
	if err := disk.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("spool: open %q: %w", dir, err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: open %q: %w", dir, err)
	}
	s, err := open(disk, dir, config, unlock)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	return s, nil
}

func open(disk filesystem, dir string, config Config, unlock func() error) (*Spool, error) {
	s := &Spool{
		config: config, dir: dir, fs: disk, unlock: unlock, opened: time.Now(), groups: map[string][]*entry{}, next: 1, nextFile: 1,
		syncs: telemetry.NewHistogram(config.MeterProvider, telemetry.Queue, telemetry.QueueSpoolSyncDuration),
		set:   telemetry.NewSet(attribute.String("name", config.Name)),
	}
	for _, sub := range []string{quarantine, expired} {
		if err := disk.MkdirAll(filepath.Join(dir, sub)); err != nil {
			return nil, fmt.Errorf("spool: open %q: %w", dir, err)
		}
	}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("spool: open %q: %w", dir, err)
	}
	return s, nil
}

// Close writes what is settled, waits for the Appends under way, closes the files and gives the lock up. Messages stay. Call it after the
// client's Run has returned; what is called later returns [ErrClosed].
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	lazy, last := s.lazy > 0, s.batch // nobody begins another one
	if last == nil {
		last = s.committing
	}
	s.mu.Unlock()
	var err error
	if lazy {
		err = s.join()
	} else if last != nil {
		<-last.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		err = errors.Join(err, seg.close())
	}
	s.wakeLocked()
	return errors.Join(err, s.unlock())
}

func (seg *segment) close() error {
	var err error
	for _, f := range []file{seg.w, seg.r} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	seg.w, seg.r = nil, nil
	return err
}

// fullError refuses an Append: nothing was written, or what was could not be taken back.
type fullError struct {
	name   string
	why    string
	err    error
	unsure bool // a part, or all of it, may be found after a restart
}

func (e *fullError) Error() string {
	if e.unsure {
		return fmt.Sprintf("spool %q: full: %s; what was written could not be cut off again", e.name, e.why)
	}
	return fmt.Sprintf("spool %q: full: %s", e.name, e.why)
}
func (e *fullError) Unwrap() error        { return e.err }
func (e *fullError) Is(target error) bool { return target == queue.ErrSpoolFull }
func (e *fullError) NotRun() bool         { return !e.unsure }
func (e *fullError) OutcomeUnknown() bool { return e.unsure }

// closedError is ErrClosed, known not to have written anything.
type closedError struct{}

func (closedError) Error() string        { return ErrClosed.Error() }
func (closedError) Is(target error) bool { return target == ErrClosed }
func (closedError) NotRun() bool         { return true }
func (closedError) OutcomeUnknown() bool { return false }

// Append returns nil when o is on disk. Concurrent calls share an fdatasync. It blocks for as long as the disk does:
// ctx ends only the wait for another caller's fdatasync, and then o may be on disk all the same.
//
// Errors: queue.ErrSpoolFull and [ErrClosed], after which nothing was written; any other leaves that open, and so does
// a queue.ErrSpoolFull whose outcome is unknown: the disk was full in the middle and would not take it back.
func (s *Spool) Append(ctx context.Context, o queue.Outgoing) error {
	now := time.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return closedError{}
	}
	b, leader := s.batchLocked()
	offset := len(b.buf)
	b.buf = appendRecord(b.buf, s.next, kindMessage, func(buf []byte) []byte { return appendMessage(buf, &o, now) })
	size := len(b.buf) - offset
	if refused := s.refuseLocked(size); refused != nil {
		b.buf = b.buf[:offset]
		s.mu.Unlock()
		if leader { // others may have joined behind us, or will
			s.commitAs(b)
		}
		return refused
	}
	e := s.entryLocked()
	*e = entry{sequence: s.next, at: now.Sub(s.opened), group: o.Group, offset: int64(offset), size: size}
	s.next++
	s.reserved += int64(size)
	b.entries = append(b.entries, e)
	s.mu.Unlock()
	if leader {
		s.commitAs(b)
		return b.err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("spool %q: waiting for fdatasync: %w", s.config.Name, context.Cause(ctx))
	}
}

func (s *Spool) refuseLocked(size int) error {
	switch {
	case size > maxRecord:
		return &fullError{name: s.config.Name, why: fmt.Sprintf("a message of %d bytes is over the record limit", size)}
	case s.bytes+s.reserved+int64(size) > s.config.MaxBytes:
		return &fullError{name: s.config.Name, why: fmt.Sprintf("%d of %d bytes used", s.bytes+s.reserved, s.config.MaxBytes)}
	}
	return nil
}

// batchLocked joins the batch that is gathering, or begins one, as its leader.
func (s *Spool) batchLocked() (b *batch, leader bool) {
	if s.batch != nil {
		return s.batch, false
	}
	s.batch = &batch{prev: s.committing, buf: s.spare, entries: make([]*entry, 0, s.last), done: make(chan struct{})}
	s.spare = nil
	return s.batch, true
}

// entryLocked returns memory for an entry. Those of one slab were appended together and are settled together.
func (s *Spool) entryLocked() *entry {
	if len(s.slab) == 0 {
		s.slab = make([]entry, min(max(1, s.last), slabEntries))
	}
	e := &s.slab[0]
	s.slab = s.slab[1:]
	return e
}

const (
	slabEntries = 128
	spareBytes  = 1 << 20 // larger batches are rare: their memory is not kept
)

// join commits what is settled, with or as a batch.
func (s *Spool) join() error {
	s.mu.Lock()
	b, leader := s.batchLocked()
	s.mu.Unlock()
	if leader {
		s.commitAs(b)
	} else {
		<-b.done
	}
	return b.err
}

// commitAs is the leader's part: it waits for the batch before, closes the gathering and writes.
func (s *Spool) commitAs(b *batch) {
	if b.prev != nil {
		<-b.prev.done
		b.prev = nil
	}
	s.gather(b)
	s.mu.Lock()
	s.batch, s.committing = nil, b
	b.buf = append(b.buf, s.settled...)
	s.settled, s.lazy = s.settled[:0], 0
	s.mu.Unlock()
	var seg *segment
	var base int64
	if len(b.buf) > 0 {
		seg, base, b.err = s.write(b.buf)
	}
	s.mu.Lock()
	s.publishLocked(b, seg, base)
	remove := s.finishedLocked()
	s.mu.Unlock()
	s.remove(remove)
	close(b.done)
}

// gatherTurns is how often a leader lets others run at most.
const gatherTurns = 64

// gather lets others run for as long as they append to b: the writers of the batch before have just been woken, and without
// them every fdatasync carries half of what it can. It does not sleep: where every processor is idle a timer is a millisecond
// late, which is several fdatasyncs. A lone writer pays a microsecond.
func (s *Spool) gather(b *batch) {
	n := s.gathered(b)
	for range gatherTurns {
		runtime.Gosched()
		before := n
		if n = s.gathered(b); n == before {
			return
		}
	}
}

// gathered is the size of b.
func (s *Spool) gathered(b *batch) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(b.entries)
}

// publishLocked makes a written batch's messages available.
func (s *Spool) publishLocked(b *batch, seg *segment, base int64) {
	s.committing = nil
	if cap(b.buf) <= spareBytes {
		s.spare = b.buf[:0]
	}
	b.buf = nil
	if len(b.entries) > 0 {
		s.last = len(b.entries)
	}
	for _, e := range b.entries {
		s.reserved -= int64(e.size)
	}
	if b.err != nil || seg == nil {
		return
	}
	for _, e := range b.entries {
		e.segment, e.offset = seg, base+e.offset
		s.addLocked(e)
	}
	if len(b.entries) > 0 {
		s.wakeLocked()
	}
}

func (s *Spool) addLocked(e *entry) {
	e.segment.live++
	s.pending++
	s.entries = append(s.entries, e)
	if e.group != "" {
		s.groups[e.group] = append(s.groups[e.group], e)
		if len(s.groups[e.group]) > 1 {
			return // the head is handed out first
		}
	}
	s.available.push(e)
}

func (s *Spool) wakeLocked() {
	if s.arrived != nil {
		close(s.arrived)
		s.arrived = nil
	}
}

// write appends buf to the active segment and makes it durable. It is called by one leader at a time. After a
// failed write or fsync the segment is sealed for good: which of its new pages are on disk nobody can say, and a second
// fsync would report success without writing them. The bytes go to a new segment then, once.
func (s *Spool) write(buf []byte) (seg *segment, base int64, err error) {
	unsure := false
	for try := 0; ; try++ {
		if seg, err = s.writable(int64(len(buf))); err == nil {
			base = seg.size
			if err = s.writeTo(seg, buf); err == nil {
				return seg, base, nil
			}
			unsure = !s.seal(seg, err) || unsure
		}
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return nil, 0, &fullError{name: s.config.Name, why: "no space left on the volume", err: err, unsure: unsure}
		}
		if try == 1 {
			return nil, 0, fmt.Errorf("spool %q: %w", s.config.Name, err)
		}
	}
}

func (s *Spool) writeTo(seg *segment, buf []byte) error {
	n, err := seg.w.Write(buf)
	if err != nil || n < len(buf) {
		return errors.Join(errors.New("write"), err)
	}
	began := time.Now()
	err = seg.w.Datasync()
	s.syncs.RecordDuration(context.Background(), time.Since(began), s.set)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Syncs++
	if err != nil {
		return errors.Join(errors.New("fdatasync"), err)
	}
	seg.size += int64(len(buf))
	s.bytes += int64(len(buf))
	return nil
}

// seal ends the use of a segment after an error. What was acknowledged before stays where it is; the tail is cut, so
// that a reader does not take it for damage nor for a message; cut reports whether that is durable. If not, the reader
// deals with it.
func (s *Spool) seal(seg *segment, why error) (cut bool) {
	telemetry.Logger(s.config.Logger).Error("spool: segment sealed after an error", slog.String("spool", s.config.Name),
		slog.String("segment", seg.path), slog.Any("error", why))
	_ = seg.w.Close()
	cut = s.fs.Truncate(seg.path, seg.size) == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.w = nil
	s.active = nil
	return cut
}

// writable returns the active segment, or a new one whose name is durable in the directory.
func (s *Spool) writable(n int64) (*segment, error) {
	s.mu.Lock()
	seg := s.active
	if seg != nil && seg.size > 0 && seg.size+n > s.config.SegmentBytes {
		_ = seg.w.Close() // synced by its last commit
		seg.w, s.active, seg = nil, nil, nil
	}
	id := s.nextFile
	if seg == nil {
		s.nextFile++
	}
	s.mu.Unlock()
	if seg != nil {
		return seg, nil
	}
	path := filepath.Join(s.dir, segmentName(id))
	f, err := s.fs.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("sync directory: %w", err), f.Close(), s.fs.Remove(path))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = &segment{id: id, path: path, w: f}
	s.segments = append(s.segments, s.active)
	return s.active, nil
}

// finishedLocked takes out the oldest segments whose messages are all settled. Younger ones stay, because they may hold
// the record of what was settled in older ones. When nothing is left the active segment goes too.
func (s *Spool) finishedLocked() (finished []*segment) {
	if s.pending == 0 && s.batch == nil && s.lazy == 0 && s.active != nil && s.active.size > s.config.SegmentBytes/4 {
		_ = s.active.w.Close()
		s.active.w, s.active = nil, nil
	}
	for len(s.segments) > 0 && s.segments[0].live == 0 && s.segments[0] != s.active {
		s.bytes -= s.segments[0].size
		finished = append(finished, s.segments[0])
		s.segments = s.segments[1:]
	}
	n := 0
	for n < len(s.entries) && s.entries[n].settled {
		n++
	}
	s.entries = slices.Delete(s.entries, 0, n)
	return finished
}

// remove deletes files. One that stays is found settled, or sent twice, after a restart.
func (s *Spool) remove(finished []*segment) {
	for _, seg := range finished {
		_ = seg.close()
		if err := s.fs.Remove(seg.path); err != nil {
			telemetry.Logger(s.config.Logger).Warn("spool: cannot remove a segment", slog.String("segment", seg.path), slog.Any("error", err))
		}
	}
}

// Holds reports whether messages of the FIFO group are here.
func (s *Spool) Holds(group string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.groups[group]) > 0 {
		return true
	}
	for _, b := range []*batch{s.batch, s.committing} {
		if b != nil && slices.ContainsFunc(b.entries, func(e *entry) bool { return e.group == group }) {
			return true
		}
	}
	return false
}

// Stats counts.
func (s *Spool) Stats() queue.SpoolStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Messages, st.Bytes = s.pending, s.bytes
	st.Full = s.bytes+s.reserved >= s.config.MaxBytes
	for _, e := range s.entries {
		if !e.settled {
			st.Oldest = s.opened.Add(e.at)
			break
		}
	}
	return st
}

// Calls returns the call IDs in the spool, in quarantine and in expired/, for a queue.Ledger. It reads every message.
func (s *Spool) Calls(context.Context) ([]string, error) {
	s.mu.Lock()
	ids := slices.Clone(s.aside)
	entries := slices.Clone(s.entries)
	settled := make([]bool, len(entries))
	for i, e := range entries {
		settled[i] = e.settled
	}
	s.mu.Unlock()
	for i, e := range entries {
		if settled[i] {
			continue
		}
		if o, err := s.read(e); err == nil {
			ids = append(ids, o.CallID)
		}
	}
	return ids, nil
}
