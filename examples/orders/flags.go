package main

import (
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// flags are what the command line says.
type flags struct {
	drill   bool
	rate    float64
	approve bool
	report  string
	dir     string
}

func parse(args []string, errs io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet("orders", flag.ContinueOnError)
	set.SetOutput(errs)
	set.BoolVar(&f.drill, "drill", false, "lose a Region under load, move the writer, heal, move back, and close the account")
	set.Float64Var(&f.rate, "rate", 200, "orders a second in the drill, and as many reads")
	set.BoolVar(&f.approve, "approve", false, "in the drill two people decide on the move, not the group")
	set.StringVar(&f.report, "report", ".", "directory for report.html and report.json")
	set.StringVar(&f.dir, "state", "", "directory for state files and spools; empty = a temporary one, removed at the end")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("orders: %q is not a flag", set.Arg(0))
	}
	if !(f.rate > 0 && f.rate <= 10_000) {
		return f, fmt.Errorf("orders: -rate: %v is not between 0 and 10000", f.rate)
	}
	return f, nil
}

// short are settings with which a whole drill takes less than a minute. In production the defaults are longer: lease 20 s, probes every 2 s.
func short(byApproval bool) service.Settings {
	return service.Settings{LeaseTTL: 2 * time.Second, ProbeEvery: 200 * time.Millisecond, ProbeTimeout: 800 * time.Millisecond, MaxFlight: 500 * time.Millisecond,
		SettleAfter: 2 * time.Second, ByApproval: byApproval}
}
