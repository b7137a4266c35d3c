//go:build unix

package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A run is scripts/with-servers beside a fake scripts/servers that notes how it is called.
type run struct {
	t    *testing.T
	root string
}

// newRun makes one whose servers are up already, or not.
func newRun(t *testing.T, up bool) *run {
	t.Helper()
	r := &run{t: t, root: t.TempDir()}
	r.write("with-servers", read(t, "with-servers"))
	status := "exit 1"
	if up {
		status = "exit 0"
	}
	r.write("servers", `#!/bin/sh
echo "$1" >>"$(dirname "$0")/calls"
case $1 in
status) `+status+` ;;
env) echo "export HOLDFAST_TEST_MOTO='http://it'\''s'" ;;
esac
`)
	return r
}

func (r *run) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.root, "scripts", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// command runs script with servers, as the leader of its own process group.
func (r *run) command(script string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.root, "scripts", "with-servers"), "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (r *run) calls() string {
	text, _ := os.ReadFile(filepath.Join(r.root, "scripts", "calls"))
	return strings.Join(strings.Fields(string(text)), " ")
}

func TestWithServers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		up           bool
		status       int
		calls        string
	}{
		{"passes", `test "$HOLDFAST_TEST_MOTO" = "http://it's"`, false, 0, "status up env down"},
		{"fails", "exit 7", false, 7, "status up env down"},
		{"leaves what was up", "exit 7", true, 7, "status up env"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, tt.up)
			cmd := r.command(tt.script)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.status || r.calls() != tt.calls {
				t.Errorf("exit status %d, calls %q; want %d, %q\n%s", got, r.calls(), tt.status, tt.calls, out)
			}
		})
	}
}

func TestWithServersInterrupted(t *testing.T) {
	t.Parallel()
	r := newRun(t, false)
	running := filepath.Join(r.root, "running")
	cmd := r.command(": >" + running + "; exec sleep 600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(running); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the command has not started within 20s")
		}
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil { // as ctrl-C does
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // its status is looked at
	if got, want := r.calls(), "status up env down"; got != want || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("exit status %d, calls %q; want 130, %q", cmd.ProcessState.ExitCode(), got, want)
	}
}
