package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/holdfast-go/holdfast/examples/orders/real"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// runReal runs one process of one Region on the servers that the environment names, until ctx ends.
func runReal(ctx context.Context, o *options, out, errs io.Writer) error {
	dir, clean, err := stateDir(o.dir)
	if err != nil {
		return err
	}
	defer clean()
	config, err := real.FromEnv(o.self, dir, os.Getenv)
	if err != nil {
		return err
	}
	parts, release, err := real.Open(ctx, config, o.settings(), logger(o, errs))
	if err != nil {
		return err
	}
	defer release()
	parts.Listen = func(h http.Handler) service.HTTPServer { return service.NewServer(o.addr, h) }
	svc, err := service.New(parts)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s at http://%s; moves are approved at /admin/failover/.\n", parts.Instance, o.addr)
	if err := svc.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
