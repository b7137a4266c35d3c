package steps

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// Command is a step whose Do runs a program with arguments, never through a shell, and whose effect done observes.
func Command(name string, done func(context.Context) (bool, error), argv ...string) runbook.Step {
	return runbook.Step{Name: name, Check: when(done), Do: Exec(argv...)}
}

// Exec returns a function that runs a program with arguments and waits for it. When its context ends the program is killed. The error
// has the last kilobyte of what it printed. An empty argv is an error of the function.
func Exec(argv ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if len(argv) == 0 || argv[0] == "" {
			return fmt.Errorf("steps: Exec: no program")
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.WaitDelay = 5 * time.Second // for grandchildren that keep the output open
		var out tail
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
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
