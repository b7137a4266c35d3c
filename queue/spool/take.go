//go:build unix

package spool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/telemetry"
	"github.com/holdfast-go/holdfast/queue"
)

// lazySettles is how many settled messages wait for a commit. After a crash they may be sent again.
const lazySettles = 100

// Take hands out up to n messages, oldest first.
func (s *Spool) Take(ctx context.Context, n int) ([]queue.Spooled, error) {
	for {
		entries, arrived, err := s.takeEntries(n)
		if err != nil {
			return nil, err
		}
		if taken := s.load(entries); len(taken) > 0 {
			return taken, nil
		}
		if arrived == nil {
			continue
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// takeEntries takes from the heap. With nothing there it returns a channel that is closed when something arrives.
func (s *Spool) takeEntries(n int) (entries []*entry, arrived chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	for len(entries) < n && len(s.available) > 0 {
		e := s.available.pop()
		e.out = true
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		if s.arrived == nil {
			s.arrived = make(chan struct{})
		}
		arrived = s.arrived
	}
	return entries, arrived, nil
}

// load reads the messages of entries. What cannot be read or is too old is put aside and not handed out.
func (s *Spool) load(entries []*entry) []queue.Spooled {
	taken := make([]queue.Spooled, 0, len(entries))
	for _, e := range entries {
		o, err := s.read(e)
		switch {
		case err != nil:
			_ = s.setAside(e, queue.Outgoing{Group: e.group}, quarantine, err)
		case s.config.MaxAge > 0 && time.Since(s.opened)-e.at > s.config.MaxAge:
			_ = s.setAside(e, o, expired, fmt.Errorf("older than %v", s.config.MaxAge))
		default:
			taken = append(taken, queue.Spooled{Sequence: e.sequence, Message: o, Appended: s.opened.Add(e.at).UTC()})
		}
	}
	return taken
}

func (s *Spool) read(e *entry) (queue.Outgoing, error) {
	f, err := s.reader(e.segment)
	if err != nil {
		return queue.Outgoing{}, err
	}
	b := make([]byte, e.size)
	if _, err := f.ReadAt(b, e.offset); err != nil {
		return queue.Outgoing{}, err
	}
	sequence, k, body, n := parseRecord(b)
	if n != e.size || k != kindMessage || sequence != e.sequence {
		return queue.Outgoing{}, errors.New("record is damaged")
	}
	o, _, err := parseMessage(body)
	return o, err
}

func (s *Spool) reader(seg *segment) (file, error) {
	s.mu.Lock()
	f := seg.r
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := s.fs.Open(seg.path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.r != nil { // another Take was faster
		return seg.r, f.Close()
	}
	seg.r = f
	return f, nil
}

// Settle ends what Take began. A sent message is forgotten; the record of that is written with later ones, so that
// after a crash up to 100 messages may be sent again. After Close it returns [ErrClosed].
func (s *Spool) Settle(t queue.Spooled, v queue.SpoolVerdict, why error) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return closedError{}
	}
	e := s.findLocked(t.Sequence)
	if e == nil || !e.out {
		s.mu.Unlock()
		return fmt.Errorf("spool %q: message %d was not handed out", s.config.Name, t.Sequence)
	}
	if v == queue.SpoolAgain {
		e.out = false
		s.available.push(e)
		s.wakeLocked()
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if v == queue.SpoolRefused {
		return s.setAside(e, t.Message, quarantine, why)
	}
	return s.settle(e)
}

func (s *Spool) findLocked(sequence uint64) *entry {
	i, ok := slices.BinarySearchFunc(s.entries, sequence, func(e *entry, n uint64) int { return cmp.Compare(e.sequence, n) })
	if !ok || s.entries[i].settled {
		return nil
	}
	return s.entries[i]
}

// settle forgets e.
func (s *Spool) settle(e *entry) error {
	s.mu.Lock()
	e.settled, e.out = true, false
	e.segment.live--
	s.pending--
	s.settled = appendRecord(s.settled, e.sequence, kindSettled, nil)
	s.lazy++
	s.nextOfGroupLocked(e)
	commit := !s.closed && (s.lazy >= lazySettles || s.pending == 0)
	s.mu.Unlock()
	if !commit {
		return nil
	}
	return s.join()
}

func (s *Spool) nextOfGroupLocked(e *entry) {
	if e.group == "" {
		return
	}
	rest := s.groups[e.group][1:]
	if len(rest) == 0 {
		delete(s.groups, e.group)
		return
	}
	s.groups[e.group] = rest
	s.available.push(rest[0])
	s.wakeLocked()
}

// names of directories for what is not sent
const (
	quarantine = "quarantine"
	expired    = "expired"
)

// An asideFile is what is kept of a message that is not sent.
type asideFile struct {
	CallID    string    `json:"call_id"`
	Group     string    `json:"group,omitempty"`
	Tenant    string    `json:"tenant,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Appended  time.Time `json:"appended"`
	Reason    string    `json:"reason"`
	Body      string    `json:"body"`
}

// setAside writes a message to a directory of its own before it is forgotten here.
func (s *Spool) setAside(e *entry, o queue.Outgoing, dir string, why error) error {
	record := asideFile{CallID: o.CallID, Group: o.Group, Tenant: o.Tenant, NotBefore: o.NotBefore, Expires: o.Expires, Appended: s.opened.Add(e.at).UTC(), Body: o.Body}
	if why != nil {
		record.Reason = why.Error()
	}
	b, err := json.Marshal(record)
	if err == nil {
		err = s.writeAside(filepath.Join(s.dir, dir), fmt.Sprintf("%016x.json", e.sequence), b)
	}
	telemetry.Logger(s.config.Logger).Error("spool: message put aside", slog.String("spool", s.config.Name), slog.String("call_id", o.CallID),
		slog.String("to", dir), slog.Any("reason", why), slog.Any("error", err))
	if err != nil {
		return fmt.Errorf("spool %q: put aside: %w", s.config.Name, err) // stays handed out, and comes again after a restart
	}
	s.mu.Lock()
	s.aside = append(s.aside, o.CallID)
	if dir == quarantine {
		s.stats.Damaged++
	}
	s.mu.Unlock()
	return s.settle(e)
}

// writeAside makes a whole file durable under its name, or none: temporary name, fsync, rename, directory fsync.
func (s *Spool) writeAside(dir, name string, b []byte) error {
	temporary := filepath.Join(dir, name+".tmp")
	_ = s.fs.Remove(temporary)
	f, err := s.fs.Create(temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Datasync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.fs.Rename(temporary, filepath.Join(dir, name)); err != nil {
		return err
	}
	return s.fs.SyncDir(dir)
}

// Adopt moves the messages of other spools below parent into this one: directories that hold a spool and whose lock is
// free, because their process is gone. It returns how many messages it took. A crash in between may leave a message in both:
// it is sent twice, under one ID.
func (s *Spool) Adopt(ctx context.Context, parent string) (int, error) {
	dirs, err := s.fs.ReadDir(parent)
	if err != nil {
		return 0, fmt.Errorf("spool %q: adopt: %w", s.config.Name, err)
	}
	total := 0
	var errs []error
	own, _ := filepath.Abs(s.dir)
	for _, d := range dirs {
		path, _ := filepath.Abs(filepath.Join(parent, d.Name()))
		if !d.IsDir() || path == own || !holdsSpool(s.fs, path) {
			continue
		}
		n, err := s.adoptDir(ctx, path)
		total += n
		if err != nil && !errors.Is(err, errLocked) {
			errs = append(errs, err)
		}
	}
	return total, errors.Join(errs...)
}

// adoptDir takes over one directory. Its quarantine stays.
func (s *Spool) adoptDir(ctx context.Context, dir string) (n int, err error) {
	orphan, err := Open(dir, Config{Logger: s.config.Logger, MeterProvider: s.config.MeterProvider})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, orphan.Close()) }()
	for orphan.Stats().Messages > 0 {
		taken, err := orphan.Take(ctx, 100)
		if err != nil {
			return n, err
		}
		for _, t := range taken {
			if err := s.Append(ctx, t.Message); err != nil {
				return n, err
			}
			n++
			if err := orphan.Settle(t, queue.SpoolSent, nil); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// An entryHeap hands out the lowest sequence first.
type entryHeap []*entry

func (h *entryHeap) push(e *entry) {
	*h = append(*h, e)
	a := *h
	for i := len(a) - 1; i > 0; {
		parent := (i - 1) / 2
		if a[parent].sequence <= a[i].sequence {
			return
		}
		a[parent], a[i] = a[i], a[parent]
		i = parent
	}
}

func (h *entryHeap) pop() *entry {
	a := *h
	first, last := a[0], len(a)-1
	a[0], a[last] = a[last], nil
	a = a[:last]
	*h = a
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(a) {
			return first
		}
		if child+1 < len(a) && a[child+1].sequence < a[child].sequence {
			child++
		}
		if a[i].sequence <= a[child].sequence {
			return first
		}
		a[i], a[child] = a[child], a[i]
		i = child
	}
}
