// Command orders runs the reference service: an order API over two Regions, on embedded parts in one process.
//
//	go run ./examples/orders            both Regions, with a live page
//	go run ./examples/orders -drill     lose a Region under load, move, heal, move back, and close the account
//
// With -drill it prints progress, phases, availability, RTO, RPO and the ledger, writes report.html and report.json, and exits with 1 if
// a bound is broken.
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
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK     = 0
	exitBroken = 1 // the drill was played, and a bound does not hold
	exitFailed = 2 // it could not be played, or the flags are wrong
)

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	f, err := parse(args, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	if !f.drill {
		fmt.Fprintln(errs, "orders: only -drill is here yet")
		return exitFailed
	}
	passed, err := runDrill(ctx, f, out)
	switch {
	case err != nil:
		fmt.Fprintln(errs, err)
		return exitFailed
	case !passed:
		return exitBroken
	}
	return exitOK
}
