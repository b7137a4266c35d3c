//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
)

const usage = `usage: scripts/servers <command> [kind ...]

  up      install what is missing, start the servers and wait until each answers
  env     print the variables that the tests read: eval "$(scripts/servers env)"
  status  say what runs and whether it answers
  down    stop them

Kinds are redis, sqs, moto and postgres; up without one starts all. Kind chromium
is only installed: tests start it themselves.

Variables:
  HOLDFAST_INSTALL=0      install nothing
  HOLDFAST_PORTS          fixed ports, such as redis-a=6380,moto=5000
  HOLDFAST_START_TIMEOUT  how long a server may take to answer, default 1m
  HOLDFAST_SERVERS_DIR    folder for state, logs and data, default .servers
  CI=true                 a kind that cannot run is an error instead of a note
`

// errInterrupted is why a command gives up on ctrl-C.
var errInterrupted = errors.New("interrupted")

// Main is the command scripts/servers; it returns the exit status.
func Main(args []string, in io.Reader, out, errs io.Writer) int {
	h, err := folder()
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	if len(args) > 0 && args[0] == "supervise" {
		return supervise(context.Background(), h, parseSupervise(args[1:]), in, out)
	}
	ctx, stop := interruptible()
	defer stop()
	err = command(ctx, h, args, out, errs)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(errs, usage)
		return 2
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(errs, "servers: interrupted: what was started is stopped again")
		return 130
	}
	fmt.Fprintln(errs, err)
	return 1
}

var errUsage = errors.New("usage")

func command(ctx context.Context, h home, args []string, out, errs io.Writer) error {
	if len(args) == 0 || len(args) > 1 && args[0] != "up" {
		return errUsage
	}
	switch args[0] {
	case "up":
		return h.up(ctx, args[1:], errs)
	case "down":
		return h.down(ctx, errs)
	case "env":
		return h.env(out)
	case "status":
		return h.status(out)
	}
	return errUsage
}

// folder returns the home that HOLDFAST_SERVERS_DIR names.
func folder() (home, error) {
	dir := os.Getenv("HOLDFAST_SERVERS_DIR")
	if dir == "" {
		dir = ".servers"
	}
	dir, err := filepath.Abs(dir)
	return home(dir), err
}

// interruptible returns a context that ends with errInterrupted at the first signal that asks
// the command to end.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() { // ends with the process
		<-c
		cancel(errInterrupted)
	}()
	return ctx, func() { signal.Stop(c) }
}

// up starts the kinds named, or leaves them alone when all of them answer.
func (h home) up(ctx context.Context, names []string, errs io.Writer) error {
	want, err := pick(names)
	if err != nil {
		return err
	}
	if _, err := fixedPorts(); err != nil {
		return err
	}
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	wanted, skipped, err := prepare(ctx, want, errs)
	if err != nil {
		return err
	}
	old := h.load()
	if old.healthy() == nil && old.covers(wanted) {
		fmt.Fprintln(errs, "servers: already up")
		return h.status(errs)
	}
	if _, err := h.stop(old); err != nil {
		return err
	}
	if err := launch(ctx, h, wanted, skipped); err != nil {
		return err
	}
	return h.status(errs)
}

// covers reports whether every kind of wanted runs on the ports asked for.
func (st *state) covers(wanted []string) bool {
	missing := slices.ContainsFunc(wanted, func(name string) bool { return !slices.Contains(st.Wanted, name) })
	return !missing && st.Ports == os.Getenv("HOLDFAST_PORTS")
}

// prepare installs what the kinds need. It returns the names of those that can run, and why the
// others cannot; in CI that is an error.
func prepare(ctx context.Context, want []kind, errs io.Writer) (wanted []string, skipped map[string]string, err error) {
	in := &installer{out: errs, root: os.Geteuid() == 0}
	skipped = map[string]string{}
	for _, k := range want {
		if k.external() {
			fmt.Fprintf(errs, "servers: %s: the environment names servers of its own\n", k.name)
			continue
		}
		err := k.ensure(in, ctx)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if _, missing := errors.AsType[*MissingError](err); missing {
			skipped[k.name] = oneLine(err.Error())
		} else if err != nil {
			return nil, nil, err
		} else {
			wanted = append(wanted, k.name)
		}
	}
	if len(skipped) > 0 && os.Getenv("CI") == "true" {
		return nil, nil, fmt.Errorf("servers: CI=true, and not every kind can run:\n%s", list(skipped))
	}
	return wanted, skipped, nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func list(skipped map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Fprintf(&b, "servers: skipped: %s: %s\n", name, skipped[name])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// down stops the set, wherever its start or its life ended.
func (h home) down(ctx context.Context, errs io.Writer) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ran, err := h.stop(h.load())
	if err != nil {
		return err
	}
	if ran {
		fmt.Fprintln(errs, "servers: stopped")
	} else {
		fmt.Fprintln(errs, "servers: nothing was running")
	}
	return nil
}

// env prints shell commands that set the variables.
func (h home) env(out io.Writer) error {
	st := h.load()
	if st == nil || !st.Ready || !st.Supervisor.Alive() {
		return errors.New("servers: not up: run scripts/servers up")
	}
	for _, s := range st.Servers {
		fmt.Fprintf(out, "export %s=%s\n", s.Variable, quote(s.Address))
	}
	for _, k := range kinds() {
		if reason, skipped := st.Skipped[k.name]; skipped {
			for _, m := range k.members {
				fmt.Fprintf(out, "export %s=%s\n", SkipVariable(m.variable), quote(reason))
			}
		}
	}
	return nil
}

// quote makes one word of text for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// status prints one line per server. It is an error when one of them does not answer.
func (h home) status(out io.Writer) error {
	st := h.load()
	if st == nil || !st.Ready || !st.Supervisor.Alive() {
		return fmt.Errorf("servers: not up: %w", st.healthy())
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var errs []error
	for _, s := range st.Servers {
		verdict := "answers"
		if err := s.check(); err != nil {
			verdict = "down"
			errs = append(errs, err)
		}
		fmt.Fprintf(w, "servers:\t%s\t%s\tpid %d\t%s\n", s.Name, redact(s.Address), s.Proc.PID, verdict)
	}
	w.Flush()
	if len(st.Skipped) > 0 {
		fmt.Fprintln(out, list(st.Skipped))
	}
	return errors.Join(errs...)
}

// redact hides the password of a connection URL.
func redact(address string) string {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		return u.Redacted()
	}
	return address
}
