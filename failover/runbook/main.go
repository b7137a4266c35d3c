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
)

// Exit codes of [Main].
const (
	ExitOK      = 0 // done, or nothing to do
	ExitFailed  = 1 // a step stopped the run, or RTO or RPO was missed
	ExitUsage   = 2 // wrong flags
	ExitRefused = 3 // refused: nothing was changed
	ExitBlocked = 4 // waiting for people or for the world, interrupted, or taken over by another runner; a plan that is not ready
)

// Main runs a runbook from a command line, with a [FileJournal], for a one-click CI job:
//
//	func main() { os.Exit(runbook.Main(book, os.Args[1:])) }
//
// Its commands are plan, run, resume, approve, skip, pause, continue, unplan, cancel, undo, status and verify-audit; each prints JSON
// (with -text plan, run, undo and status print text) and "help" lists their flags. SIGINT and SIGTERM stop a run so that it can be resumed.
func Main(book *Runbook, args []string) int { return MainOn(nil, book, args) }

// MainOn is [Main] with the runs in journal, for jobs that run on a different machine each time. Nil means the FileJournal that -journal names.
func MainOn(journal Journal, book *Runbook, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return command(ctx, journal, book, args, os.Stdout, os.Stderr)
}

// options are the flags of all commands.
type options struct {
	journal, run, step, by, reason, plan, since, reports string
	planned, text                                        bool
	rto, rpo, ttl                                        time.Duration
}

const usage = `usage: %[1]s COMMAND [flags]

  plan          what a run would do now        [-planned] [-text]
  run           carry it out, or go on         -run ID -by NAME [-reason R] [-planned] [-rto D] [-rpo D] [-since T] [-reports DIR]
  resume        go on with a run that exists   -run ID -by NAME [-reason R] [-reports DIR]
  approve       approve a step                 -run ID -step S -by NAME -plan HASH [-ttl D]
  skip          waive a step                   -run ID -step S -by NAME -reason R
  pause         start no further steps         -run ID -by NAME -reason R
  continue      end a pause                    -run ID -by NAME
  unplan        go on as an unplanned run      -run ID -by NAME -reason R
  cancel        end a run for good             -run ID -by NAME -reason R
  undo          take the steps back            -run ID -by NAME [-reason R]
  status        the report so far              -run ID [-text]
  verify-audit  check the journal's chain      -run ID

All but plan take -journal DIR (default "runbook-journal"). A run is refused while another of this runbook is not over.
Exit codes: 0 done, 1 failed or a target missed, 2 usage, 3 refused, 4 blocked: run it again later.
`

// verbs are the commands that need no more than a journal.
var verbs = map[string]func(context.Context, Journal, *Runbook, options, io.Writer) error{
	"run": carryOut, "resume": resume, "cancel": cancelRun, "undo": undoRun, "status": status, "verify-audit": verifyAudit,
	"approve": func(ctx context.Context, j Journal, book *Runbook, o options, _ io.Writer) error {
		return book.Approve(ctx, j, o.run, o.step, o.by, o.plan, o.ttl)
	},
	"skip": func(ctx context.Context, j Journal, book *Runbook, o options, _ io.Writer) error {
		return book.Skip(ctx, j, o.run, o.step, o.by, o.reason)
	},
	"pause": func(ctx context.Context, j Journal, _ *Runbook, o options, _ io.Writer) error {
		return Pause(ctx, j, o.run, o.by, o.reason)
	},
	"continue": func(ctx context.Context, j Journal, _ *Runbook, o options, _ io.Writer) error {
		return Continue(ctx, j, o.run, o.by)
	},
	"unplan": func(ctx context.Context, j Journal, book *Runbook, o options, _ io.Writer) error {
		return book.Unplan(ctx, j, o.run, o.by, o.reason)
	},
}

func command(ctx context.Context, journal Journal, book *Runbook, args []string, out, errs io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintf(errs, usage, book.name)
		if len(args) == 0 {
			return ExitUsage
		}
		return ExitOK
	}
	verb := verbs[args[0]]
	if verb == nil && args[0] != "plan" {
		fmt.Fprintf(errs, "unknown command %q\n", args[0])
		fmt.Fprintf(errs, usage, book.name)
		return ExitUsage
	}
	o, err := parse(args[0], args[1:], errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return ExitOK
	case err != nil:
		fmt.Fprintln(errs, err)
		return ExitUsage
	case verb == nil:
		err = printPlan(ctx, book, o, out) // needs no journal and leaves no directory behind
	default:
		if journal == nil {
			journal, err = OpenJournal(o.journal)
		}
		if err == nil {
			err = verb(ctx, journal, book, o, out)
		}
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitCode(err)
	}
	return ExitOK
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
	f.StringVar(&o.since, "since", "", "when the fault began, as 2006-01-02T15:04:05Z")
	f.StringVar(&o.reports, "reports", "", "directory in which to write the report")
	f.BoolVar(&o.planned, "planned", false, "both Regions are there and nothing may be lost")
	f.BoolVar(&o.text, "text", false, "print text instead of JSON")
	f.DurationVar(&o.rto, "rto", 0, "time within which the run should be complete")
	f.DurationVar(&o.rpo, "rpo", 0, "how much may be lost, in time")
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
	if _, err := time.Parse(time.RFC3339, o.since); err != nil && o.since != "" {
		return o, fmt.Errorf("%s: -since: %w", name, err)
	}
	return o, nil
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, ErrRefused):
		return ExitRefused
	case errors.Is(err, ErrBlocked), errors.Is(err, ErrUndecided), errors.Is(err, ErrFenced), errors.Is(err, context.Canceled):
		return ExitBlocked
	}
	return ExitFailed
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printPlan(ctx context.Context, book *Runbook, o options, out io.Writer) error {
	p := book.Plan(ctx, Mode(o.planned))
	if o.text {
		if _, err := io.WriteString(out, p.String()); err != nil {
			return err
		}
	} else if err := printJSON(out, p); err != nil {
		return err
	}
	if !p.Ready() {
		return fmt.Errorf("%w: the plan has blocked steps or problems", ErrBlocked)
	}
	return nil
}

func carryOut(ctx context.Context, j Journal, book *Runbook, o options, out io.Writer) error {
	cfg := Config{Journal: j, By: o.by, Reason: o.reason, Mode: Mode(o.planned), RTO: o.rto, RPO: o.rpo, Alone: true}
	cfg.Since, _ = time.Parse(time.RFC3339, o.since) // checked by parse; empty is zero
	if o.reports != "" {
		cfg.OnReport = WriteReports(o.reports)
	}
	rep, err := book.Run(ctx, o.run, cfg)
	if rep.Run == "" {
		return err
	}
	if err := errors.Join(err, printReport(out, rep, o.text)); err != nil {
		return err
	}
	if !rep.Met() {
		return fmt.Errorf("run %q finished after %v with an exposure of %v; the RTO is %v, the RPO %v", o.run, rep.Took, rep.Exposure, rep.RTO, rep.RPO)
	}
	return nil
}

// resume is run, in the run's own mode, of a run that exists.
func resume(ctx context.Context, j Journal, book *Runbook, o options, out io.Writer) error {
	rep, err := book.Report(ctx, o.run, j)
	if err != nil {
		return err
	}
	o.planned = rep.Planned
	return carryOut(ctx, j, book, o, out)
}

func printReport(out io.Writer, rep Report, text bool) error {
	if text {
		_, err := io.WriteString(out, rep.Markdown())
		return err
	}
	return printJSON(out, rep)
}

func cancelRun(ctx context.Context, j Journal, _ *Runbook, o options, _ io.Writer) error {
	return Cancel(ctx, j, o.run, o.by, o.reason)
}

func undoRun(ctx context.Context, j Journal, book *Runbook, o options, out io.Writer) error {
	rep, err := book.Undo(ctx, o.run, Config{Journal: j, By: o.by, Reason: o.reason})
	if rep.Run == "" {
		return err
	}
	return errors.Join(err, printReport(out, rep, o.text))
}

func status(ctx context.Context, j Journal, book *Runbook, o options, out io.Writer) error {
	rep, err := book.Report(ctx, o.run, j)
	if err != nil {
		return err
	}
	return printReport(out, rep, o.text)
}

func verifyAudit(ctx context.Context, j Journal, _ *Runbook, o options, out io.Writer) error {
	entries, err := j.Load(ctx, o.run)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return refused("there is no run %q", o.run)
	}
	if err := VerifyChain(entries); err != nil {
		return err
	}
	last, err := json.Marshal(entries[len(entries)-1])
	if err != nil {
		return err
	}
	return printJSON(out, map[string]any{"run": o.run, "entries": len(entries), "head": hexSum(last)})
}
