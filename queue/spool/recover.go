//go:build unix

package spool

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
			s.segments = append(s.segments, &segment{id: id, path: filepath.Join(s.dir, f.Name())})
		}
	}
	slices.SortFunc(s.segments, func(a, b *segment) int { return strings.Compare(a.path, b.path) })
	settled := map[uint64]bool{}
	var found []*entry
	for i, seg := range s.segments {
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

// recoverSegment reads one file. Bytes that are no record are cut off at the end of the newest, and put in quarantine
// elsewhere.
func (s *Spool) recoverSegment(seg *segment, newest bool, found []*entry, settled map[uint64]bool) ([]*entry, error) {
	b, err := s.fs.ReadFile(seg.path)
	if err != nil {
		return nil, err
	}
	slab := make([]entry, 0, len(b)/256+1)
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
		if k == kindSettled {
			settled[sequence] = true
		} else if e, ok := newEntry(body); ok {
			e.sequence, e.segment, e.offset, e.size = sequence, seg, int64(at), n
			if len(slab) == cap(slab) {
				slab = make([]entry, 0, 1024)
			}
			slab = append(slab, e)
			found = append(found, &slab[len(slab)-1])
		}
		s.next = max(s.next, sequence+1)
		at += n
	}
	seg.size = int64(len(b))
	s.bytes += seg.size
	return found, nil
}

// newEntry reads what the index needs of a message and skips the body.
func newEntry(body []byte) (entry, bool) {
	r := reader{b: body}
	e := entry{at: r.instant()}
	r.instant()
	r.instant()
	e.callID, e.group = r.text(), r.text()
	return e, !r.bad
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
	slices.SortStableFunc(found, func(a, b *entry) int {
		switch {
		case a.sequence < b.sequence:
			return -1
		case a.sequence > b.sequence:
			return 1
		}
		return 0
	})
	s.entries = make([]*entry, 0, len(found))
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
