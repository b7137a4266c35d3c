//go:build unix

package spool

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/telemetry"
)

const segmentSuffix = ".seg"

func segmentName(id uint64) string { return fmt.Sprintf("%016x%s", id, segmentSuffix) }

// segmentID parses a file name.
func segmentID(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 16, 64)
	return id, err == nil
}

// holdsSpool reports whether dir has segments.
func holdsSpool(disk filesystem, dir string) bool {
	files, err := disk.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, f := range files {
		if _, ok := segmentID(f.Name()); ok {
			return true
		}
	}
	return false
}

// recover reads the directory.
func (s *Spool) recover() error {
	files, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if id, ok := segmentID(f.Name()); ok {
			s.segments = append(s.segments, &segment{id: id, path: filepath.Join(s.dir, f.Name()), size: sizeOf(f)})
		}
	}
	slices.SortFunc(s.segments, func(a, b *segment) int { return strings.Compare(a.path, b.path) })
	settled := map[uint64]bool{}
	var found []*entry
	for i, seg := range s.segments {
		found = slices.Grow(found, expect(seg))
		if found, err = s.recoverSegment(seg, i == len(s.segments)-1, found, settled); err != nil {
			return err
		}
		s.nextFile = seg.id + 1
	}
	s.index(found, settled)
	if err := s.recoverAside(); err != nil {
		return err
	}
	s.remove(s.finishedLocked())
	return nil
}

// sizeOf is what the directory says, for a guess.
func sizeOf(f fs.DirEntry) int64 {
	if info, err := f.Info(); err == nil {
		return info.Size()
	}
	return 0
}

// expect guesses how many messages are in a segment: growing a slice of many pointers step by step costs as much as reading
// them.
func expect(seg *segment) int {
	const usual = 700 // bytes of a record
	return int(seg.size / usual)
}

// recoverSegment reads one file. Bytes that are no record are cut off at the end of the newest, and put in quarantine
// elsewhere.
func (s *Spool) recoverSegment(seg *segment, newest bool, found []*entry, settled map[uint64]bool) ([]*entry, error) {
	if all, size, ok := s.stream(seg, found, settled); ok {
		seg.size = size
		s.bytes += size
		return all, nil
	}
	b, err := s.fs.ReadFile(seg.path)
	if err != nil {
		return nil, err
	}
	var slab []entry
	for at := 0; at < len(b); {
		sequence, k, body, n := parseRecord(b[at:])
		if n == 0 {
			next := nextRecord(b, at+1)
			if err := s.damage(seg, b, at, next, newest); err != nil {
				return nil, err
			}
			if next == len(b) && newest {
				b = b[:at]
			}
			at = next
			continue
		}
		found, slab = s.note(seg, int64(at), n, sequence, k, body, found, slab, settled)
		at += n
	}
	seg.size = int64(len(b))
	s.bytes += seg.size
	return found, nil
}

// note adds one record to the index.
func (s *Spool) note(seg *segment, at int64, n int, sequence uint64, k kind, body []byte, found []*entry, slab []entry, settled map[uint64]bool) ([]*entry, []entry) {
	s.next = max(s.next, sequence+1)
	if k == kindSettled {
		settled[sequence] = true
		return found, slab
	}
	if len(slab) == cap(slab) {
		slab = make([]entry, 0, 1024)
	}
	e := &slab[:len(slab)+1][len(slab)]
	if !e.parse(body, s.opened) {
		return found, slab
	}
	e.sequence, e.segment, e.offset, e.size = sequence, seg, at, n
	return append(found, e), slab[:len(slab)+1]
}

// window is how much of a segment is read at a time: little enough to stay in the processor's cache.
const window = 256 << 10

// stream reads an undamaged segment through a small window. At the first thing that is no record it gives up, having
// changed nothing that the slow reader would not change too.
func (s *Spool) stream(seg *segment, found []*entry, settled map[uint64]bool) (all []*entry, size int64, ok bool) {
	f, err := s.fs.Open(seg.path)
	if err != nil {
		return nil, 0, false
	}
	defer func() { _ = f.Close() }() // it was only read
	buf := make([]byte, window)
	var slab []entry
	at, have := int64(0), 0
	for {
		n, err := f.ReadAt(buf[have:], at+int64(have))
		have += n
		used := 0
		for {
			sequence, k, body, n := parseRecord(buf[used:have])
			if n == 0 {
				break
			}
			found, slab = s.note(seg, at+int64(used), n, sequence, k, body, found, slab, settled)
			used += n
		}
		switch {
		case err != nil:
			return found, at + int64(have), errors.Is(err, io.EOF) && used == have
		case used == 0 && len(buf) > headerSize+maxRecord:
			return nil, 0, false
		case used == 0:
			buf = append(buf, make([]byte, len(buf))...)
		}
		copy(buf, buf[used:have])
		at, have = at+int64(used), have-used
	}
}

// parse reads what the index needs of a message and skips the rest.
func (e *entry) parse(body []byte, opened time.Time) bool {
	r := reader{b: body}
	// Since 1970, or the difference might overflow. A time after opened shows that a clock was set back: the age counts from
	// here then.
	e.at = time.Duration(min(0, max(0, r.nanoseconds())-opened.UnixNano()))
	r.skipInstant()
	r.skipInstant()
	r.skip() // the call ID
	e.group = r.text()
	return !r.bad
}

// nextRecord finds the next whole record at or after from, or the end.
func nextRecord(b []byte, from int) int {
	for i := from; i+headerSize+fixedSize <= len(b); i++ {
		if _, _, _, n := parseRecord(b[i:]); n > 0 {
			return i
		}
	}
	return len(b)
}

// damage deals with b[at:next], which holds no record.
func (s *Spool) damage(seg *segment, b []byte, at, next int, newest bool) error {
	log := telemetry.Logger(s.config.Logger).With(slog.String("segment", seg.path), slog.Int("at", at), slog.Int("bytes", next-at))
	if newest && next == len(b) {
		log.Info("spool: torn tail cut off")
		return s.fs.Truncate(seg.path, int64(at))
	}
	log.Error("spool: damage put in quarantine")
	s.stats.Damaged++
	return s.writeAside(filepath.Join(s.dir, quarantine), fmt.Sprintf("%016x-%d.damage", seg.id, at), b[at:next])
}

// index makes what was found available. A message that a failed fsync left in two segments is one.
func (s *Spool) index(found []*entry, settled map[uint64]bool) {
	bySequence := func(a, b *entry) int { return cmp.Compare(a.sequence, b.sequence) }
	if !slices.IsSortedFunc(found, bySequence) {
		slices.SortStableFunc(found, bySequence)
	}
	// In place: no more entries are kept than have been read. In order, they are a heap as they are.
	s.entries, s.available = found[:0], make(entryHeap, 0, len(found))
	last := uint64(0)
	for _, e := range found {
		if e.sequence == last || settled[e.sequence] {
			continue
		}
		last = e.sequence
		s.addLocked(e)
	}
}

// recoverAside reads the call IDs of what was put aside.
func (s *Spool) recoverAside() error {
	for _, dir := range []string{quarantine, expired} {
		files, err := s.fs.ReadDir(filepath.Join(s.dir, dir))
		if err != nil {
			return err
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), ".json") {
				continue
			}
			var record asideFile
			b, err := s.fs.ReadFile(filepath.Join(s.dir, dir, f.Name()))
			if err == nil && json.Unmarshal(b, &record) == nil {
				s.aside = append(s.aside, record.CallID)
			}
		}
	}
	return nil
}
