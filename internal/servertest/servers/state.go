//go:build unix

package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A state is what the supervisor leaves in its folder for the next command.
type state struct {
	Supervisor Proc              `json:"supervisor"`
	Wanted     []string          `json:"wanted"`  // names of the kinds that run
	Skipped    map[string]string `json:"skipped"` // why a kind does not, by its name
	Ports      string            `json:"ports"`   // HOLDFAST_PORTS of the run
	Ready      bool              `json:"ready"`   // every server has answered
	Servers    []entry           `json:"servers"`
}

// An entry is one running server.
type entry struct {
	Name     string `json:"name"`
	Variable string `json:"variable"`
	Address  string `json:"address"`
	Proc     Proc   `json:"proc"`
	Log      string `json:"log"`
}

// A home is the folder of a shared set: its lock, state, logs and data.
type home string

func (h home) state() string { return filepath.Join(string(h), "state.json") }
func (h home) data() string  { return filepath.Join(string(h), "data") }
func (h home) log() string   { return filepath.Join(string(h), "supervisor.log") }

// lock waits until no other command works in h. The kernel gives the lock back when the holder
// ends, however it ends.
func (h home) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(string(h), 0o711); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(string(h), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	got := poll(ctx, func() bool { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil })
	if !got {
		f.Close()
		return nil, fmt.Errorf("servers: another command works in %s: %w", h, context.Cause(ctx))
	}
	return func() { f.Close() }, nil
}

// load returns the state, nil when there is none that can be read.
func (h home) load() *state {
	data, err := os.ReadFile(h.state())
	if err != nil {
		return nil
	}
	var st state
	if json.Unmarshal(data, &st) != nil {
		return nil
	}
	return &st
}

// save replaces the state whole, so that no reader sees half of it. It holds a password.
func (h home) save(st *state) error {
	data, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	part := h.state() + ".part"
	if err := os.WriteFile(part, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(part, h.state())
}

// stop ends what st says was started and forgets it. It reports whether anything ran.
func (h home) stop(st *state) (ran bool, err error) {
	if st != nil {
		ran, err = st.end()
	}
	if err != nil {
		return ran, err
	}
	return ran, errors.Join(os.RemoveAll(h.state()), os.RemoveAll(h.data()), h.removeScratch())
}

// removeScratch removes the folders that a server of another account was given outside of h,
// where a supervisor that was killed has left them.
func (h home) removeScratch() error {
	var errs []error
	for _, k := range kinds() {
		for _, m := range k.members {
			errs = append(errs, os.RemoveAll(scratch(filepath.Join(h.data(), m.name))))
		}
	}
	return errors.Join(errs...)
}

// end asks the supervisor to stop and then makes sure that nothing of st runs: pid by pid, and
// only processes that started when st says they did.
func (st *state) end() (ran bool, err error) {
	all := []Proc{st.Supervisor}
	for _, s := range st.Servers {
		all = append(all, s.Proc)
	}
	for _, p := range all {
		ran = ran || p.Alive()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st.Supervisor.signal(syscall.SIGTERM)
	left := gone(ctx, st.Supervisor)
	for _, p := range left {
		p.signal(syscall.SIGKILL)
	}
	// Linux ends the servers with the supervisor; elsewhere those of a killed one are left.
	short, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, p := range gone(short, all...) {
		p.signal(syscall.SIGKILL)
	}
	last, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if left := gone(last, all...); len(left) > 0 {
		return ran, fmt.Errorf("servers: pid %d does not end", left[0].PID)
	}
	return ran, nil
}

// healthy returns why the set of st is not up, nil when every server answers.
func (st *state) healthy() error {
	switch {
	case st == nil:
		return errors.New("nothing was started")
	case !st.Supervisor.Alive():
		return errors.New("the supervisor has ended")
	case !st.Ready:
		return errors.New("the start was not finished")
	}
	for _, s := range st.Servers {
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// check asks the server for an answer.
func (s entry) check() error {
	if !s.Proc.Alive() {
		return fmt.Errorf("%s (pid %d) has ended, see %s", s.Name, s.Proc.PID, s.Log)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := ask(ctx, s.Address); err != nil {
		return fmt.Errorf("%s (pid %d) does not answer: %w", s.Name, s.Proc.PID, err)
	}
	return nil
}
