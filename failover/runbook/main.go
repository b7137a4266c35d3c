package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// Exit codes of [Main].
const (
	ExitOK      = 0 // done, or nothing to do
	ExitFailed  = 1 // a step stopped the run, or the RTO was missed
	ExitUsage   = 2 // wrong flags
	ExitRefused = 3 // refused: nothing was changed
	ExitBlocked = 4 // waiting for people or for the world: run it again later
)

// Main runs a runbook from a command line, for a one-click CI job:
//
//	func main() { os.Exit(runbook.Main(book, os.Args[1:])) }
//
// Its commands are plan, run, resume, approve, skip, pause, continue, cancel, undo, status and verify-audit; each prints JSON (plan and
// status also text, with -text) and "help" lists their flags. SIGINT and SIGTERM stop a run so that it can be resumed.
func Main(book *Runbook, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return command(ctx, book, args, os.Stdout, os.Stderr)
}

// options are the flags of all commands.
type options struct {
	journal, run, step, by, reason, plan string
	planned, text                        bool
	rto, ttl                             time.Duration
}

const usage = `usage: %[1]s COMMAND [flags]

  plan          what a run would do now        [-planned] [-text]
  run, resume   carry it out                   -run ID -by NAME [-reason R] [-planned] [-rto D]
  approve       approve a step                 -run ID -step S -by NAME -plan HASH [-ttl D]
  skip          waive a step                   -run ID -step S -by NAME -reason R
  pause         start no further steps         -run ID -by NAME -reason R
  continue      end a pause                    -run ID -by NAME
  cancel        end a run for good             -run ID -by NAME -reason R
  undo          take the steps back            -run ID -by NAME [-reason R]
  status        the report so far              -run ID [-text]
  verify-audit  check the journal's chain      -run ID

All but plan take -journal DIR (default "runbook-journal"). Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 blocked.
`

func command(ctx context.Context, book *Runbook, args []string, out, errs io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintf(errs, usage, book.name)
		if len(args) == 0 {
			return ExitUsage
		}
		return ExitOK
	}
	o, err := parse(args[0], args[1:], errs)
	if err != nil {
		fmt.Fprintln(errs, err)
		return ExitUsage
	}
	verb := map[string]func(context.Context, *FileJournal, *Runbook, options, io.Writer) error{
		"plan": printPlan, "run": carryOut, "resume": carryOut, "approve": approve, "skip": skip, "pause": pause, "continue": goOn,
		"cancel": cancelRun, "undo": undoRun, "status": status, "verify-audit": verifyAudit,
	}[args[0]]
	if verb == nil {
		fmt.Fprintf(errs, "unknown command %q\n", args[0])
		fmt.Fprintf(errs, usage, book.name)
		return ExitUsage
	}
	j, err := openFor(args[0], o)
	if err == nil {
		err = verb(ctx, j, book, o, out)
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitCode(err)
	}
	return ExitOK
}

// openFor opens the journal; a plan needs none and leaves no directory behind.
func openFor(name string, o options) (*FileJournal, error) {
	if name == "plan" {
		return nil, nil
	}
	return OpenJournal(o.journal)
}

func parse(name string, args []string, errs io.Writer) (o options, err error) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&o.journal, "journal", "runbook-journal", "directory of the journal")
	f.StringVar(&o.run, "run", "", "ID of the run")
	f.StringVar(&o.step, "step", "", "name of the step")
	f.StringVar(&o.by, "by", "", "who asks or approves")
	f.StringVar(&o.reason, "reason", "", "why")
	f.StringVar(&o.plan, "plan", "", "hash of the plan that was seen")
	f.BoolVar(&o.planned, "planned", false, "both Regions are there and nothing may be lost")
	f.BoolVar(&o.text, "text", false, "print text instead of JSON")
	f.DurationVar(&o.rto, "rto", 0, "time within which the run should be complete")
	f.DurationVar(&o.ttl, "ttl", time.Hour, "how long an approval holds")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%s: unexpected argument %q", name, f.Arg(0))
	}
	if name != "plan" && o.run == "" {
		return o, fmt.Errorf("%s: -run is required", name)
	}
	return o, nil
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, ErrRefused):
		return ExitRefused
	case errors.Is(err, ErrBlocked), errors.Is(err, ErrUndecided), errors.Is(err, context.Canceled):
		return ExitBlocked
	}
	return ExitFailed
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printPlan(ctx context.Context, _ *FileJournal, book *Runbook, o options, out io.Writer) error {
	p := book.Plan(ctx, Mode(o.planned))
	if o.text {
		_, err := io.WriteString(out, p.String())
		return err
	}
	return printJSON(out, p)
}

func carryOut(ctx context.Context, j *FileJournal, book *Runbook, o options, out io.Writer) error {
	rep, err := book.Run(ctx, o.run, Config{Journal: j, By: o.by, Reason: o.reason, Mode: Mode(o.planned), RTO: o.rto})
	if rep.Run == "" {
		return err
	}
	if err := errors.Join(err, printReport(out, rep, o.text)); err != nil {
		return err
	}
	if !rep.Met() {
		return fmt.Errorf("run %q finished after %v; the RTO is %v", o.run, rep.Took, rep.RTO)
	}
	return nil
}

func printReport(out io.Writer, rep Report, text bool) error {
	if text {
		_, err := io.WriteString(out, rep.Markdown())
		return err
	}
	return printJSON(out, rep)
}

func approve(ctx context.Context, j *FileJournal, book *Runbook, o options, _ io.Writer) error {
	return book.Approve(ctx, j, o.run, o.step, o.by, o.plan, o.ttl)
}

func skip(ctx context.Context, j *FileJournal, book *Runbook, o options, _ io.Writer) error {
	return book.Skip(ctx, j, o.run, o.step, o.by, o.reason)
}

func pause(ctx context.Context, j *FileJournal, _ *Runbook, o options, _ io.Writer) error {
	return Pause(ctx, j, o.run, o.by, o.reason)
}

func goOn(ctx context.Context, j *FileJournal, _ *Runbook, o options, _ io.Writer) error {
	return Continue(ctx, j, o.run, o.by)
}

func cancelRun(ctx context.Context, j *FileJournal, _ *Runbook, o options, _ io.Writer) error {
	return Cancel(ctx, j, o.run, o.by, o.reason)
}

func undoRun(ctx context.Context, j *FileJournal, book *Runbook, o options, out io.Writer) error {
	rep, err := book.Undo(ctx, o.run, Config{Journal: j, By: o.by, Reason: o.reason})
	if rep.Run == "" {
		return err
	}
	return errors.Join(err, printReport(out, rep, o.text))
}

func status(ctx context.Context, j *FileJournal, book *Runbook, o options, out io.Writer) error {
	rep, err := book.Report(ctx, o.run, Config{Journal: j, RTO: o.rto})
	if err != nil {
		return err
	}
	return printReport(out, rep, o.text)
}

func verifyAudit(_ context.Context, j *FileJournal, _ *Runbook, o options, out io.Writer) error {
	f, err := os.Open(j.Path(o.run))
	if err != nil {
		return refused("there is no run %q in %s", o.run, o.journal)
	}
	defer f.Close()
	head, err := audit.Verify(f, audit.Head{})
	if err != nil {
		return err
	}
	return printJSON(out, map[string]any{"run": o.run, "entries": head.Sequence, "head": head.Hash})
}
