package service

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// Run serves until ctx ends, then stops in an order in which nothing loses what it stands on: no new work comes, requests end,
// detached handlers end, deferred calls end, what they deferred is flushed, then those on whose word all acted.
func (s *Service) Run(ctx context.Context) error {
	return holdfast.Run(ctx,
		holdfast.Stage{s.announce},
		holdfast.Stage{s.serve},
		holdfast.Stage{s.Guard.Run},
		holdfast.Stage{s.Worker.Run, s.Cashier.Run},
		holdfast.Stage{s.Client.Run, s.Charges.Run},
		holdfast.Stage{s.Controller.Run, s.Modes.Run, failoversql.Beat(s.parts.Database, s.parts.SQL[s.parts.Self])},
		holdfast.Stage{s.metrics.run},
	)
}

// announce turns readiness off and gives load balancers time to see it.
func (s *Service) announce(ctx context.Context) error {
	<-ctx.Done()
	s.closing.Store(true)
	if delay := s.parts.Settings.DrainDelay; delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		<-timer.C
	}
	return nil
}

// serve runs the HTTP server. Shutdown has what [holdfast.Run] gives a stage, less a moment to say so.
func (s *Service) serve(ctx context.Context) error {
	server := s.parts.Listen(s.handler)
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdfast.StopTimeout-time.Second)
	defer cancel()
	err := server.Shutdown(bounded)
	if c, ok := server.(io.Closer); ok && err != nil {
		err = errors.Join(err, c.Close()) // what is still open ends before the stages that it stands on
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		return errors.Join(served, err)
	}
	return err
}
