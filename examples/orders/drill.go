package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
)

// runDrill plays the drill on embedded parts in real time.
func runDrill(ctx context.Context, f flags, out io.Writer) (passed bool, err error) {
	dir, done, err := stateDir(f.dir)
	if err != nil {
		return false, err
	}
	defer done()
	world, err := drtest.NewReal(ctx, drtest.Config{Name: "orders drill", Fidelity: drtest.FidelityMessages})
	if err != nil {
		return false, err
	}
	defer world.Close()
	settings := short(f.approve)
	fmt.Fprintf(out, "drill: lease %v, probes every %v, in flight at most %v; the defaults are 20 s, 2 s and 5 s\n", settings.LeaseTTL, settings.ProbeEvery, settings.MaxFlight)
	fleet := embedded.Start(world, embedded.Config{Dir: dir, Settings: settings})
	result, err := drill.Run(ctx, fleet.System(), drill.Config{Rate: f.rate, Approve: f.approve,
		Progress: func(e drill.Event) {
			fmt.Fprintf(out, "%7.1f s  %s\n", e.At.Round(100*time.Millisecond).Seconds(), e.Text)
		}})
	if err != nil {
		return false, err
	}
	result.Print(out)
	if err := result.Save(f.report); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "written: %s/report.html and report.json\n", f.report)
	return result.Passed(), nil
}

// stateDir returns the directory for what processes keep, and what to do at the end.
func stateDir(dir string) (string, func(), error) {
	if dir != "" {
		return dir, func() {}, os.MkdirAll(dir, 0o755)
	}
	dir, err := os.MkdirTemp("", "orders-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}
