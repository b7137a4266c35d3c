package failover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
)

// stateFile is the JSON form of ControllerConfig.StateFile.
type stateFile struct {
	Format  string          `json:"format"`
	Regions []Region        `json:"regions"` // of the fleet that wrote it
	Sum     string          `json:"sum"`     // SHA-256 of Record
	Record  json.RawMessage `json:"record"`
}

const stateFormat = "holdfast-failover-1"

// boot reads the state file. A missing one is a first boot; a torn or foreign one is an error, because starting
// without it could follow a coordinator that has gone back.
func (c *Controller) boot() error {
	text, err := os.ReadFile(c.cfg.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fieldError("StateFile", "%v", err)
	}
	rec, err := c.parseState(text)
	if err != nil {
		return fieldError("StateFile", "%s: %v; remove it only if no instance of this fleet can be running elsewhere", c.cfg.StateFile, err)
	}
	c.record, c.known, c.phaseSeen = rec, true, c.start
	return nil
}

func (c *Controller) parseState(text []byte) (rec Record, err error) {
	var f stateFile
	if err := json.Unmarshal(text, &f); err != nil {
		return rec, fmt.Errorf("torn: %w", err)
	}
	sum := sha256.Sum256(f.Record)
	switch {
	case f.Format != stateFormat:
		return rec, fmt.Errorf("foreign: its format is %q", f.Format)
	case !slices.Equal(slices.Sorted(slices.Values(f.Regions)), slices.Sorted(slices.Values(c.cfg.Regions))):
		return rec, fmt.Errorf("foreign: it is of Regions %q", f.Regions)
	case hex.EncodeToString(sum[:]) != f.Sum:
		return rec, errors.New("torn: its checksum does not match")
	}
	if err := json.Unmarshal(f.Record, &rec); err != nil {
		return rec, fmt.Errorf("torn: %w", err)
	}
	if problem := rec.problem(); problem != "" {
		return rec, fmt.Errorf("torn: %s", problem)
	}
	return rec, nil
}

// persist writes the newest record to the state file and its new audit entries to the sink, and reports whether both have everything.
// saving keeps two writers of the files apart; nothing else waits for it. An error is logged: the process goes on with what it knows.
func (c *Controller) persist() (done bool) {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	rec := c.record.clone()
	c.mu.Unlock()
	if rec.Sequence == c.saved && rec.Epoch == c.savedEpoch {
		return true
	}
	done = true
	if c.cfg.StateFile != "" {
		if err := c.save(rec); err != nil {
			c.log.Error("state file not written", slog.Any("error", err))
			done = false
		}
	}
	if c.cfg.Audit != nil && !c.copyAudit(rec) {
		done = false
	}
	if done {
		c.saved, c.savedEpoch = rec.Sequence, rec.Epoch
	}
	return done
}

func (c *Controller) save(rec Record) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	whole, err := json.Marshal(stateFile{Format: stateFormat, Regions: c.cfg.Regions, Sum: hex.EncodeToString(sum[:]), Record: text})
	if err != nil {
		return err
	}
	return replaceFile(c.cfg.StateFile, whole)
}

// replaceFile puts text at path so that a crash leaves the old or the new content: temporary file, fsync,
// rename, fsync of the directory.
func replaceFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has been renamed
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// copyAudit copies new entries to the sink, and reports whether it has them all. The chain itself is in the coordinator's record.
func (c *Controller) copyAudit(rec Record) bool {
	before := rec.Audit.Sequence - uint64(len(rec.Log))
	for i, line := range rec.Log {
		sequence := before + uint64(i) + 1
		if sequence <= c.auditTo {
			continue
		}
		if _, err := c.cfg.Audit.Write(append(slices.Clone(line), '\n')); err != nil {
			c.log.Error("audit entry not copied", slog.Uint64("sequence", sequence), slog.Any("error", err))
			return false // tried again, so that the copy has no gap
		}
		c.auditTo = sequence
	}
	return true
}
