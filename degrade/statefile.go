package degrade

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// state is what Config.LastKnownGood keeps over a restart.
type state struct {
	Flags    *FlagSet   `json:"flags,omitempty"` // nil = none were ever loaded
	Fetched  time.Time  `json:"fetched"`
	Local    []Override `json:"local,omitempty"`
	Shared   []Override `json:"shared,omitempty"`
	Revision uint64     `json:"revision,omitempty"` // of Shared
	Audit    audit.Head `json:"audit"`
}

// stateFile is the file: the state and the SHA-256 of its bytes.
type stateFile struct {
	Checksum string          `json:"sha256"`
	State    json.RawMessage `json:"state"`
}

const maxState = 4 << 20

func encodeState(s *state) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return json.Marshal(stateFile{checksum(body), body})
}

// decodeState refuses anything that encodeState did not write.
func decodeState(data []byte) (*state, error) {
	var file stateFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.Checksum != checksum(file.State) {
		return nil, errors.New("the checksum does not match: the file is torn or was edited")
	}
	s := &state{}
	decoder := json.NewDecoder(bytes.NewReader(file.State))
	if err := decoder.Decode(s); err != nil {
		return nil, err
	}
	if s.Flags != nil {
		if err := s.Flags.check(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func checksum(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}

// restore reads the state file and returns the place in the audit chain. A file that is missing, unreadable or
// damaged leaves the controller as without one: a service must start without it.
func (c *Controller) restore() audit.Head {
	if c.cfg.LastKnownGood == "" {
		return audit.Head{}
	}
	s, err := readState(c.cfg.LastKnownGood)
	if errors.Is(err, fs.ErrNotExist) {
		return audit.Head{}
	}
	if err != nil {
		c.bootNote = fmt.Sprintf("%s is not used: %v", c.cfg.LastKnownGood, err)
		c.log.Error("degrade: last known good not used", slog.String("name", c.cfg.Name), slog.Any("error", err))
		return audit.Head{}
	}
	now := time.Now()
	if s.Flags != nil && c.cfg.Provider != nil {
		c.flags = flags{set: *s.Flags, known: true, fetched: s.Fetched, source: sourceFile, saved: s.Fetched}
		if c.flags.fetched.After(now) { // the clock was set back
			c.flags.fetched = now
		}
	}
	keep := func(list []Override) []Override {
		return slices.DeleteFunc(list, func(o Override) bool { return !o.sane() })
	}
	c.local = keep(s.Local)
	if c.cfg.Overrides != nil {
		c.shared, c.sharedRevision = keep(s.Shared), s.Revision
	}
	return s.Audit
}

func readState(path string) (*state, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxState {
		return nil, fmt.Errorf("above %d bytes", maxState)
	}
	return decodeState(data)
}

// save replaces the state file by the present state. A failure is logged: it costs memory over a restart, nothing now.
func (c *Controller) save() {
	if c.cfg.LastKnownGood == "" {
		return
	}
	c.saving <- struct{}{}
	defer func() { <-c.saving }()
	head := c.audit.Head()
	c.mu.Lock()
	s := state{Fetched: c.flags.fetched.UTC(), Local: slices.Clone(c.local), Shared: slices.Clone(c.shared), Revision: c.sharedRevision, Audit: head}
	if c.flags.known {
		set := c.flags.set
		s.Flags = &set
	}
	c.flags.saved = c.flags.fetched
	c.mu.Unlock()
	data, err := encodeState(&s)
	if err == nil {
		err = replaceFile(c.cfg.LastKnownGood, data)
	}
	if err != nil {
		c.log.Error("degrade: last known good not written", slog.String("name", c.cfg.Name), slog.Any("error", err))
	}
}

// replaceFile makes data the content of path, such that after a crash at any point path holds the old or the
// new content, whole.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync()) // before the rename: the name must not reach the disk before the content
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
