//go:build unix

package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/servertest"
)

var startedPID = regexp.MustCompile(`(?:PostgreSQL|Redis|SQS) pid (\d+)`)

// Whatever ends a drill in the middle of the outage, none of its servers is left: neither those that run nor those that stand still.
func TestADrillThatIsInterruptedLeavesNothing(t *testing.T) {
	servertest.Start(t, servertest.Postgres) // skips where servers cannot be started
	for name, s := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) { endDrill(t, s) })
	}
}

func endDrill(t *testing.T, s syscall.Signal) {
	c := exec.CommandContext(t.Context(), os.Args[0], "-parts", "real", "-drill", "-lease", "4s", "-probe", "400ms", "-rate", "5", "-report", t.TempDir())
	c.Env = append(os.Environ(), asCommand+"=1", "TMPDIR="+enterable(t)) // SIGKILL leaves files
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill() //nolint:errcheck // it has ended, if the test has come so far
	var pids []int
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		for _, found := range startedPID.FindAllStringSubmatch(lines.Text(), -1) {
			pid, _ := strconv.Atoi(found[1])
			pids = append(pids, pid)
		}
		if strings.Contains(lines.Text(), "us-east-1 is gone") {
			send(t, c, s)
			break
		}
	}
	began := time.Now()
	if err := c.Wait(); err == nil {
		t.Errorf("after %v the command ends with 0, want a failure", s)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v to end", took)
	} else {
		t.Logf("it took %v to end", took)
	}
	if len(pids) != 6 {
		t.Fatalf("the command has named the servers %v, want six:\n%s", pids, &said)
	}
	eventually(t, "all servers are gone", func() error {
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return errors.New("left: pid " + strconv.Itoa(pid))
			}
		}
		return nil
	})
}

// enterable is a temporary directory that the user of PostgreSQL may enter.
func enterable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
