//go:build unix

package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// The words between up and the supervisor, over the supervisor's standard output and input.
const (
	wordReady = "ready" // every server answers, the state is written
	wordKeep  = "keep"  // up has understood; from now on its end no longer matters
)

// errAbandoned is why a supervisor gives up when up ends before wordKeep.
var errAbandoned = errors.New("the command that started the servers has ended")

// supervise starts the kinds of st and owns them until it is told to stop: by a signal, or by in
// ending before wordKeep. What it writes to out before wordReady is an error.
func supervise(ctx context.Context, h home, st *state, in io.Reader, out io.Writer) int {
	signal.Ignore(syscall.SIGPIPE) // out breaks when up is killed
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with the process
		line, _ := bufio.NewReader(in).ReadString('\n')
		if strings.TrimSpace(line) != wordKeep {
			cancel(errAbandoned)
		}
	}()
	all, err := st.start(ctx, h)
	if err != nil {
		fmt.Fprintln(out, err)
		h.forget()
		return 1
	}
	fmt.Fprintln(out, wordReady)
	<-ctx.Done()
	if err := closeAll(all); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	h.forget()
	return 0
}

// forget removes the state and the data; what cannot be removed now is removed by the next up.
func (h home) forget() {
	os.RemoveAll(h.data())
	os.Remove(h.state())
}

// start starts st.Wanted and writes the state, first without and then with the servers.
func (st *state) start(ctx context.Context, h home) (map[string]*Server, error) {
	var want []kind
	for _, k := range kinds() {
		if slices.Contains(st.Wanted, k.name) {
			want = append(want, k)
		}
	}
	ports, err := fixedPorts()
	if err != nil {
		return nil, err
	}
	st.Supervisor = identify(os.Getpid())
	if err := h.save(st); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.data(), 0o711); err != nil {
		return nil, err
	}
	all, err := startAll(ctx, h.data(), want, ports)
	if err != nil {
		return nil, err
	}
	for _, k := range want {
		for _, m := range k.members {
			s := all[m.name]
			st.Servers = append(st.Servers, entry{Name: m.name, Variable: m.variable, Address: s.Addr(), Proc: s.Proc(), Log: s.Log()})
		}
	}
	st.Ready = true
	if err := h.save(st); err != nil {
		return nil, errors.Join(err, closeAll(all))
	}
	return all, nil
}

// launch starts a supervisor for the kinds wanted in the background and waits until it is ready.
// When it returns an error, nothing runs.
func launch(ctx context.Context, h home, wanted []string, skipped map[string]string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(h.log(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, superviseArgs(wanted, skipped)...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives the terminal
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("servers: start the supervisor: %w", err)
	}
	defer context.AfterFunc(ctx, func() { in.Close() })()
	if first, rest := answer(out); first != wordReady {
		in.Close()
		cmd.Wait() //nolint:errcheck // what it wrote says more than its exit status
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("servers: %s", strings.TrimSpace(first+"\n"+rest))
	}
	if _, err := fmt.Fprintln(in, wordKeep); err != nil { // interrupted between the two words
		cmd.Wait() //nolint:errcheck // it ends because in is closed
		return context.Cause(ctx)
	}
	return nil
}

// answer reads the supervisor's first line and, when that is not wordReady, all the rest.
func answer(out io.Reader) (first, rest string) {
	r := bufio.NewReader(out)
	first, _ = r.ReadString('\n')
	first = strings.TrimSpace(first)
	if first != wordReady {
		all, _ := io.ReadAll(r)
		rest = string(all)
	}
	return first, rest
}

// superviseArgs and parseSupervise carry the plan from up to the supervisor: kind, or
// kind=reason for one that is skipped.
func superviseArgs(wanted []string, skipped map[string]string) []string {
	args := append([]string{"supervise"}, wanted...)
	for name, reason := range skipped {
		args = append(args, name+"="+reason)
	}
	return args
}

func parseSupervise(args []string) *state {
	st := &state{Wanted: []string{}, Skipped: map[string]string{}, Ports: os.Getenv("HOLDFAST_PORTS")}
	for _, arg := range args {
		if name, reason, skipped := strings.Cut(arg, "="); skipped {
			st.Skipped[name] = reason
		} else {
			st.Wanted = append(st.Wanted, name)
		}
	}
	slices.Sort(st.Wanted)
	return st
}
