package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
)

// runDrill plays the drill on embedded parts, in real time.
func runDrill(ctx context.Context, o *options, out io.Writer) (err error) {
	dir, clean, err := stateDir(o.dir)
	if err != nil {
		return err
	}
	defer clean()
	defer debug.SetGCPercent(debug.SetGCPercent(simulationGC))
	world, err := drtest.NewReal(context.WithoutCancel(ctx), drtest.Config{Name: "orders drill", Fidelity: drtest.FidelityMessages})
	if err != nil {
		return err
	}
	fleet := embedded.Start(world, embedded.Config{Dir: dir, Settings: o.settings()})
	defer func() {
		if ctx.Err() == nil { // what is left of an interrupted drill ends with this process: in an outage a stop in good order takes half a minute
			fleet.Stop()
			err = errors.Join(err, world.Close())
		}
	}()
	fmt.Fprintf(out, "Two Regions and a witness, lease %v, probes every %v. Production has 20s and 5s; what follows scales with them.\n", o.lease, o.probe)
	pulse := startPulse()
	result, err := drill.Run(ctx, fleet.System(), o.drillConfig(out))
	late := pulse.stop()
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		return late.explain(err)
	}
	err = o.judge(result, out)
	fmt.Fprintln(out, late)
	return late.explain(err)
}

// simulationGC lets the heap of two Regions and their network grow to five times what lives: at 200 orders/s a fifth of the CPU is the collector's otherwise.
const simulationGC = 400

// drillConfig is what the flags say of a drill.
func (o *options) drillConfig(out io.Writer) drill.Config {
	return drill.Config{Rate: o.rate, Approve: o.approval, Progress: func(e drill.Event) {
		fmt.Fprintf(out, "%7.1f s  %s\n", e.At.Round(100*time.Millisecond).Seconds(), e.Text)
	}}
}

// judge prints and writes the result. A bound that does not hold is errBroken.
func (o *options) judge(result *drill.Result, out io.Writer) error {
	result.Print(out)
	if err := result.Save(o.report); err != nil {
		return fmt.Errorf("-report: %w", err)
	}
	fmt.Fprintf(out, "written: report.html and report.json in %s\n", o.report)
	if !result.Passed() {
		return errBroken
	}
	return nil
}
