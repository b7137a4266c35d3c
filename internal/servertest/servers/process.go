//go:build unix

package servers

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// A stat is what the system says of one process.
type stat struct {
	pid, parent int
	state       byte   // R, S, D, T (stopped), Z (ended, not yet waited for) …
	start       string // when it started: pid and start together never come twice
}

// A Proc names one process for good: a later process with the same pid has another Start.
type Proc struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// identify returns the name of the running process pid.
func identify(pid int) Proc {
	s, _ := procStat(pid)
	return Proc{PID: pid, Start: s.start}
}

// Alive reports whether this very process runs.
func (p Proc) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	s, ok := procStat(p.PID)
	return ok && s.start == p.Start && s.state != 'Z'
}

// signal sends sig to this very process; it does nothing when that has ended.
func (p Proc) signal(sig syscall.Signal) {
	if p.Alive() {
		syscall.Kill(p.PID, sig) //nolint:errcheck // it may have ended since Alive
	}
}

// gone waits until no process of ps runs, and returns those that still do when ctx ends.
func gone(ctx context.Context, ps ...Proc) []Proc {
	poll(ctx, func() bool {
		ps = slices.DeleteFunc(ps, func(p Proc) bool { return !p.Alive() })
		return len(ps) == 0
	})
	return ps
}

// poll asks done every 10 ms until it answers true or ctx ends. It is for what the system
// changes and does not announce: another process's state, a port, a file.
func poll(ctx context.Context, done func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return done()
		case <-tick.C:
		}
	}
	return true
}

// A child is a process that this one started.
type child struct {
	Proc
	ended chan struct{} // closed once it was waited for
	err   error         // of the wait; read after ended
}

// spawn starts argv in dir with its output appended to logPath. The child leads its own process
// group, so that a ctrl-C meant for us does not reach it, and receives death when we end.
func spawn(argv, env []string, dir, logPath string, as *account, death syscall.Signal) (*child, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = as.attr(death)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{Proc: identify(cmd.Process.Pid), ended: make(chan struct{})}
	var end *will
	if !diesWithParent {
		if end, err = makeWill(death, c.Proc); err != nil {
			cmd.Process.Kill() //nolint:errcheck // it has just started
		}
	}
	go func() { // ends with the child
		c.err = cmd.Wait()
		if end != nil {
			end.revoke()
		}
		close(c.ended)
	}()
	return c, err
}

func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// family returns c and its descendants. The first is stopped before the others are listed, so
// that it can start no more of them meanwhile.
func (c *child) family(ctx context.Context) ([]Proc, error) {
	c.signal(syscall.SIGSTOP)
	if err := stopped(ctx, c.Proc); err != nil {
		return nil, err
	}
	all, found := procAll(), []Proc{c.Proc}
	for i := 0; i < len(found); i++ {
		for _, s := range all {
			if s.parent == found[i].PID {
				found = append(found, Proc{PID: s.pid, Start: s.start})
			}
		}
	}
	return found, nil
}

// freeze stops c and its descendants and returns when none of them runs any more.
func (c *child) freeze(ctx context.Context) ([]Proc, error) {
	all, err := c.family(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		p.signal(syscall.SIGSTOP)
	}
	return all, stopped(ctx, all...)
}

// stopped waits until every process of ps is stopped or has ended.
func stopped(ctx context.Context, ps ...Proc) error {
	ok := poll(ctx, func() bool {
		return !slices.ContainsFunc(ps, func(p Proc) bool {
			s, ok := procStat(p.PID)
			return ok && s.start == p.Start && s.state != 'T' && s.state != 'Z'
		})
	})
	if !ok {
		return fmt.Errorf("pid %d does not stop: %w", ps[0].PID, context.Cause(ctx))
	}
	return nil
}

// kill ends c and its descendants as a power cut would, and returns when all are gone.
func (c *child) kill(ctx context.Context) error {
	all, err := c.family(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		p.signal(syscall.SIGKILL)
	}
	if left := gone(ctx, all...); len(left) > 0 {
		return fmt.Errorf("pid %d does not end: %w", left[0].PID, context.Cause(ctx))
	}
	<-c.ended
	return nil
}

// A will is carried out when this process ends, however it ends, without having revoked it: a
// shell waits at the other end of a pipe and then signals the child.
type will struct {
	hold  io.WriteCloser
	shell *exec.Cmd
}

func makeWill(sig syscall.Signal, c Proc) (*will, error) {
	script := fmt.Sprintf("read -r _ && exit; kill -%d %d", sig, c.PID)
	w := &will{shell: exec.Command("/bin/sh", "-c", script)}
	w.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if w.hold, err = w.shell.StdinPipe(); err != nil {
		return nil, err
	}
	return w, w.shell.Start()
}

// revoke ends the shell without a signal to anybody.
func (w *will) revoke() {
	io.WriteString(w.hold, "\n") //nolint:errcheck // a shell that is gone does nothing either
	w.hold.Close()
	w.shell.Wait() //nolint:errcheck // as above
}
