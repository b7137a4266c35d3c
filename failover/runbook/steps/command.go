package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// Command is a step whose Do runs a program with arguments, never through a shell, and whose effect done observes.
func Command(name string, done func(context.Context) (bool, error), argv ...string) runbook.Step {
	return runbook.Step{Name: name, Check: when(done), Do: Exec(argv...), Preflight: func(context.Context) error {
		if len(argv) == 0 || argv[0] == "" {
			return errNoProgram
		}
		_, err := exec.LookPath(argv[0])
		return err
	}}
}

var errNoProgram = errors.New("steps: Exec: no program")

// Exec returns a function that runs a program with arguments and waits for it. The program finds [runbook.RunID] and [runbook.Token] in the
// environment as RUNBOOK_RUN and RUNBOOK_TOKEN. When its context ends the program is killed; what it started itself may live on. The error
// has the last kilobyte of what it printed, and says that nothing ran where the program could not be started. An empty argv is an
// error of the function.
func Exec(argv ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if len(argv) == 0 || argv[0] == "" {
			return notRun{errNoProgram}
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "RUNBOOK_RUN="+runbook.RunID(ctx), "RUNBOOK_TOKEN="+runbook.Token(ctx))
		cmd.WaitDelay = 3 * time.Second // for grandchildren that keep the output open
		var out tail
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			return notRun{err}
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(out.String()))
		}
		return nil
	}
}

// tail keeps the last kilobyte written. os/exec writes from one goroutine when Stdout and Stderr are the same.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.Buffer.Write(p)
	if extra := t.Len() - 1024; extra > 0 {
		t.Next(extra)
	}
	return len(p), nil
}
