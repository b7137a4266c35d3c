package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// options are the flags.
type options struct {
	parts    string
	self     string
	addr     string
	dir      string
	rate     float64
	lease    time.Duration
	probe    time.Duration
	approval bool
	verbose  bool
	drill    bool
	soak     time.Duration
	seed     uint64
	report   string
}

// byDefault is a rate that nobody asks for.
const byDefault = -0.5

// parse reads and checks flags. Its errors name the flag.
func parse(args []string, errs io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("orders", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&o.parts, "parts", "embedded", "embedded: both Regions in this process; real: one process of one Region on the servers that ORDERS_… variables name, or with -drill and -soak servers that it starts")
	f.StringVar(&o.self, "self", "us-east-1", "with -parts real and without -drill: the Region of this process")
	f.StringVar(&o.addr, "addr", "localhost:8080", "where to serve HTTP")
	f.StringVar(&o.dir, "dir", "", "where processes keep their state; empty = a temporary directory")
	f.Float64Var(&o.rate, "rate", byDefault, "requests a second from simulated users, 0 to 2000; by default 20, and in a drill 200 orders a second with as many reads, 20 on real parts")
	f.DurationVar(&o.lease, "lease", 2*time.Second, "how long the writer may write without a word from the coordinator; production has 20s")
	f.DurationVar(&o.probe, "probe", 200*time.Millisecond, "how often Regions are probed; production has 5s")
	f.BoolVar(&o.approval, "approval", false, "ask a person before the writer is moved")
	f.BoolVar(&o.drill, "drill", false, "lose the writer Region under load, move, heal, move back, close the account; exit with 1 if a bound is broken")
	f.DurationVar(&o.soak, "soak", 0, "with -parts real: let things go wrong at random for so long, close the account; exit with 1 if it does not close")
	f.Uint64Var(&o.seed, "seed", 1, "of what goes wrong in a soak")
	f.StringVar(&o.report, "report", ".", "where a drill or a soak writes report.html and report.json")
	f.BoolVar(&o.verbose, "v", false, "log changes of state")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.rate == byDefault {
		o.rate = map[bool]float64{false: 20, true: 200}[o.drill && !o.onLab()]
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; flags only", rest[0])
	case o.parts != "embedded" && o.parts != "real":
		return fmt.Errorf("-parts %q: want embedded or real", o.parts)
	case o.soak != 0 && (o.soak < time.Second || o.soak > 24*time.Hour):
		return fmt.Errorf("-soak %v: want 1s to 24h", o.soak)
	case o.soak != 0 && (o.drill || o.parts != "real"):
		return errors.New("-soak: it runs with -parts real, and without -drill")
	case o.onLab() && o.dir != "":
		return errors.New("-dir: a drill on real parts has a directory of its own")
	case o.parts == "real" && o.dir == "" && !o.onLab():
		return errors.New("-dir: with -parts real it is required, and the same for all processes: the coordinator's file is there")
	case (o.drill || o.soak != 0) && o.rate == 0:
		return errors.New("-rate 0: a drill needs users")
	case !(o.rate >= 0 && o.rate <= 2000): // or not a number
		return fmt.Errorf("-rate %v: want 0 to 2000 requests a second", o.rate)
	case o.probe < 20*time.Millisecond || o.probe > time.Minute:
		return fmt.Errorf("-probe %v: want 20ms to 1m", o.probe)
	case o.lease < 4*o.probe || o.lease > 10*time.Minute:
		return fmt.Errorf("-lease %v: want at least four probes (%v) and at most 10m, or one lost renewal ends it", o.lease, 4*o.probe)
	}
	if _, _, err := net.SplitHostPort(o.addr); err != nil {
		return fmt.Errorf("-addr %q: want host:port", o.addr)
	}
	return nil
}

// onLab reports whether servers are started to be broken.
func (o *options) onLab() bool { return o.parts == "real" && (o.drill || o.soak != 0) }

// settings shortens everything with the lease and the probes, so that a minute shows what takes an hour.
func (o *options) settings() service.Settings {
	return service.Settings{
		LeaseTTL: o.lease, PollEvery: o.probe, ProbeEvery: o.probe, ProbeTimeout: 4 * o.probe, MaxFlight: o.lease / 2, Cooldown: 2 * o.lease, MaxMoves: 1000,
		SettleAfter: o.lease, ByApproval: o.approval,
	}
}
