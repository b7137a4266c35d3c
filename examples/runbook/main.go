// Command runbook loses a database under load and comes back, by runbooks that can be copied.
//
//	go run ./examples/runbook
//
// It starts a PostgreSQL primary in us-east-1 and its streaming standby in us-west-2, writes orders all the time, cuts the
// replication and kills the primary with SIGKILL a moment later. The failover controllers notice, cut the old writer off and promote the standby by the runbook in promotion.go; the seven-step
// runbook in outage.go follows and proves it. Then the runbook in failback.go starts the old primary behind its fence, lists what only it
// has, rebuilds it, and moves the writer home without losing a write. Reports are written as Markdown and JSON.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	dir := flag.String("dir", "", "where to write reports and journals; empty means a new temporary directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "runbook:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "runbook"); err != nil {
			return err
		}
	}
	result, err := drill(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Print(result)
	fmt.Println("reports in", dir)
	return result.Check()
}
