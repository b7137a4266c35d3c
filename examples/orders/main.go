// Orders runs the reference service: an order API over two Regions that uses every package of Holdfast.
//
//	go run ./examples/orders            # both Regions in this process, http://localhost:8080
//	go run ./examples/orders -drill     # lose a Region under load, move, heal, move back, close the account
//	go run ./examples/orders -parts real -drill # the same on PostgreSQL, Redis and SQS servers that it starts: make drill-real
//	go run ./examples/orders -help
//
// Nothing has to be set up: databases, Redis, SQS and payments are simulated in the process (package embedded). With -parts real one process of one Region
// runs on servers that are there (package real). The service is the same: this file chooses the parts and nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errBroken is a drill that was played and in which a bound does not hold.
var errBroken = errors.New("a bound is broken")

// run returns the exit code: 0 done, 1 something failed or a bound is broken, 2 wrong flags.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(errs, "orders:", err)
		return 2
	}
	if err := o.start(ctx, out, errs); err != nil {
		fmt.Fprintln(errs, "orders:", err)
		return 1
	}
	return 0
}

// start runs what the flags ask for, until ctx ends.
func (o *options) start(ctx context.Context, out, errs io.Writer) error {
	if o.onLab() {
		return runLab(ctx, o, out, errs)
	}
	if o.drill {
		return runDrill(ctx, o, out)
	}
	if o.parts == "real" {
		return runReal(ctx, o, out, errs)
	}
	return runEmbedded(ctx, o, out, errs)
}
