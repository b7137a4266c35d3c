package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

// leaseVersion is the version of the lease file.
const leaseVersion = 1

// A record is the content of a lease file: which faults are active, whose, and how to undo them.
type record struct {
	Version  int       `json:"version"`
	Drill    string    `json:"drill"`
	Scenario string    `json:"scenario_sha256"`
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Active   []active  `json:"active"`
}

// An active is one fault that is there, or is about to be.
type active struct {
	ID      int         `json:"id"`
	Fault   fault.Fault `json:"fault"`
	Since   time.Time   `json:"since"`
	Actions []string    `json:"actions"` // names of those that may have been done
}

func (r *record) who() string {
	return fmt.Sprintf("drill %q (pid %d on %s, started %s)", r.Drill, r.PID, r.Host, r.Started.UTC().Format(time.RFC3339))
}

// active says which faults there are.
func (r *record) active() []string {
	out := []string{}
	for _, a := range r.Active {
		text := a.Fault.String()
		if len(a.Actions) > 0 {
			text += fmt.Sprintf(" with %q", a.Actions)
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		out = append(out, "no fault")
	}
	return out
}

// ErrRunning is wrapped by the error about a lease that another drill holds.
var ErrRunning = errors.New("another drill is running")

// A StaleError says that a drill was killed and what it left could not be undone.
type StaleError struct {
	Lease string
	Drill string   // who it was
	Left  []string // faults that may still be active
	Err   error    // why they could not be undone
}

// Error names the drill, what it left, and what to do.
func (e *StaleError) Error() string {
	return fmt.Sprintf("drill: lease %s: %s was killed and left %s, which could not be undone: %v; undo it by hand and remove the file",
		e.Lease, e.Drill, strings.Join(e.Left, "; "), e.Err)
}

// Unwrap returns why it could not be undone.
func (e *StaleError) Unwrap() error { return e.Err }

// A lease is a lease file that this process holds.
type lease struct {
	path   string
	unlock func() error

	mu     sync.Mutex // guards record and last, and makes writes one after the other
	record record
	last   int
}

// peek reads a lease file without taking it; nil if there is none.
func peek(path string) (*record, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("drill: Config.Lease: %w", err)
	}
	var version struct {
		Version int `json:"version"`
	}
	var r record
	switch err := json.Unmarshal(data, &version); {
	case err != nil:
	case version.Version != leaseVersion:
		return nil, fmt.Errorf("drill: lease %s: version %d is not known, want %d: a drill of another version was killed and may have left faults; recover with that version", path, version.Version, leaseVersion)
	default:
		if err = fault.Strict(data, &r); err == nil {
			return &r, nil
		}
		return nil, unreadable(path, err)
	}
	return nil, unreadable(path, errors.New("it is no JSON"))
}

func unreadable(path string, err error) error {
	return fmt.Errorf("drill: lease %s cannot be read: %w: a drill may have left faults; find out what it did, undo it, and remove the file", path, err)
}

// acquire takes a lease, after undoing what a killed drill left.
func acquire(ctx context.Context, path string, actions []Action) (l *lease, recovered []string, err error) {
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		if held, _ := peek(path); held != nil && errors.Is(err, ErrRunning) {
			err = fmt.Errorf("%w: %s", err, held.who())
		}
		return nil, nil, fmt.Errorf("drill: lease %s: %w", path, err)
	}
	left, err := peek(path)
	if err == nil && left != nil {
		recovered, err = undoLeft(ctx, path, left, actions)
	}
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return &lease{path: path, unlock: unlock}, recovered, nil
}

// undoLeft undoes what a killed drill left, and removes its lease.
func undoLeft(ctx context.Context, path string, left *record, actions []Action) (recovered []string, err error) {
	var errs []error
	var remain []string
	for _, a := range slices.Backward(left.Active) {
		failed := len(errs)
		for _, name := range slices.Backward(a.Actions) {
			i := slices.IndexFunc(actions, func(x Action) bool { return x.Name == name && x.Target == a.Fault.Target() })
			if i < 0 {
				errs = append(errs, fmt.Errorf("no action %q on %q is known here", name, a.Fault.Target()))
				continue
			}
			if err := guarded(ctx, actions[i].Undo, a.Fault); err != nil {
				errs = append(errs, fmt.Errorf("undo of action %q on %q: %w", name, a.Fault.Target(), err))
			}
		}
		if len(errs) > failed {
			remain = append(remain, a.Fault.String())
			continue
		}
		how := "ended with its process"
		if len(a.Actions) > 0 {
			how = fmt.Sprintf("undone with %q", a.Actions)
		}
		recovered = append(recovered, fmt.Sprintf("%s of %s: %s", a.Fault, left.who(), how))
	}
	if len(errs) > 0 {
		return recovered, &StaleError{Lease: path, Drill: left.who(), Left: remain, Err: errors.Join(errs...)}
	}
	if len(left.Active) == 0 {
		recovered = append(recovered, left.who()+" left no fault")
	}
	return recovered, os.Remove(path)
}

// Recover undoes what a killed drill left, as the next [Run] with this lease would, and returns what that was: one
// sentence for each fault, nil if there is nothing. Errors: [ErrRunning], a [*StaleError], and those of files.
func Recover(ctx context.Context, path string, actions []Action) (recovered []string, err error) {
	l, recovered, err := acquire(ctx, path, actions)
	if err != nil {
		return recovered, err
	}
	return recovered, l.unlock()
}

// guarded calls Do or Undo of an action with a time limit, and turns a panic into an error.
func guarded(ctx context.Context, f func(context.Context, fault.Fault) error, what fault.Fault) (err error) {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f(ctx, what)
}

// begin writes that the drill has the lease.
func (l *lease) begin(r record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record = r
	return l.writeLocked()
}

// add writes that a fault is about to be. Only then may it act.
func (l *lease) add(f fault.Fault, actions []string) (id int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.record.Active = append(l.record.Active, active{ID: l.last, Fault: f, Since: time.Now().UTC(), Actions: actions})
	if err := l.writeLocked(); err != nil {
		l.record.Active = l.record.Active[:len(l.record.Active)-1]
		return 0, err
	}
	return l.last, nil
}

// busy reports whether a fault is active.
func (l *lease) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.record.Active) > 0
}

// remove writes that a fault is gone.
func (l *lease) remove(id int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record.Active = slices.DeleteFunc(l.record.Active, func(a active) bool { return a.ID == id })
	return l.writeLocked()
}

// writeLocked replaces the file: a crash leaves the old one or the new one.
func (l *lease) writeLocked() error {
	data, err := json.MarshalIndent(l.record, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(l.path, append(data, '\n')); err != nil {
		return fmt.Errorf("drill: lease: %w", err)
	}
	return nil
}

// end gives the lease back. What is still active stays in the file for whoever comes next.
func (l *lease) end() (left []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.record.Active) > 0 {
		return l.record.active(), l.unlock()
	}
	if err = os.Remove(l.path); errors.Is(err, os.ErrNotExist) { // the drill did not begin
		err = nil
	}
	return nil, errors.Join(err, l.unlock())
}

// replace writes a file so that it survives a crash of the machine.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
