//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/examples/orders/lab"
)

// runLab plays the drill or the soak on servers that it starts, in real time, and leaves none of them behind.
func runLab(ctx context.Context, o *options, out, errs io.Writer) (err error) {
	out = &oneAtATime{w: out} // faults are told of by those who cause them
	dir, err := os.MkdirTemp("", "orders-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	world, err := drtest.NewReal(context.WithoutCancel(ctx), drtest.Config{Name: "orders on real parts", Seed: max(1, o.seed)})
	if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() == nil { // what is left of an interrupted drill ends with this process
			err = errors.Join(err, world.Close())
		}
	}()
	fmt.Fprintf(out, "Two Regions on PostgreSQL, Redis and SQS servers of this command, and a witness; lease %v, probes every %v. Production has 20s and 5s.\n", o.lease, o.probe)
	l, err := lab.Start(ctx, world, lab.Config{Dir: dir, Settings: o.settings(), Logger: logger(o, errs), Say: func(format string, args ...any) {
		fmt.Fprintf(out, "%7.1f s  %s\n", world.Elapsed().Round(100*time.Millisecond).Seconds(), fmt.Sprintf(format, args...))
	}})
	if err != nil {
		return err
	}
	defer func() {
		end := l.Close
		if ctx.Err() != nil {
			end = l.Kill
		}
		err = errors.Join(err, end())
	}()
	result, err := o.onServers(ctx, l, out)
	if err != nil {
		return err
	}
	return o.judge(result, out)
}

// onServers plays what the flags ask for. It is bounded: every step of it is.
func (o *options) onServers(ctx context.Context, l *lab.Lab, out io.Writer) (*drill.Result, error) {
	cfg := o.drillConfig(out)
	cfg.RTO, cfg.Pause, cfg.Settle = 30*time.Second, 15*time.Second, time.Minute
	if o.soak == 0 {
		return drill.Run(ctx, l.System(), cfg)
	}
	cfg.Give, cfg.Settle = 3*time.Minute, 3*time.Minute
	return drill.Soak(ctx, l.System(), drill.SoakConfig{Config: cfg, Length: o.soak, Seed: o.seed, Mishaps: l.Mishaps()})
}
