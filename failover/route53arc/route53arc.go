// Package route53arc reads where users' traffic goes from the routing controls of Amazon Application Recovery Controller (ARC).
//
// A routing control is a switch, one per Region. [Source.Active] reads them all: exactly one on names the Region that is active, none on
// means that traffic is stopped, more than one is a conflict. It is a source of routing and never of fencing: a
// routing control has no version and cannot be compared and swapped, so nothing about who may write may hang on it. [Source.Switch] turns one
// on and the others off in one call.
//
// A cluster has five Regional endpoints, of which ARC keeps at least three reachable. The source keeps to one that answers and goes on
// to the next when it does not. The AWS SDK is not imported: [API] is the two calls that are needed, which a client of the SDK's
// route53recoverycluster makes with a few lines (GetRoutingControlState, UpdateRoutingControlStates).
//
// It is tested against a scripted cluster, not against AWS.
package route53arc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// API is one endpoint of a cluster. Errors of an endpoint that does not answer make the source try the next one.
type API interface {
	// Get reports whether the routing control is on.
	Get(ctx context.Context, arn string) (on bool, err error)
	// Update sets the states of several routing controls in one call: all or none.
	Update(ctx context.Context, states map[string]bool) error
}

// ErrConflict matches states in which several Regions are on.
var ErrConflict = errors.New("route53arc: several routing controls are on")

// Config configures a [Source].
type Config struct {
	// Controls holds the ARN of each Region's routing control. At least one.
	Controls map[string]string
	// Endpoints are the cluster's, usually five. At least one.
	Endpoints []API
	// Timeout bounds a request to one endpoint. Zero means 3 s.
	Timeout time.Duration
}

// A Source reads and sets the routing controls of a fleet. It is safe for concurrent use.
type Source struct {
	cfg  Config
	next atomic.Uint32 // the endpoint that answered last
}

// New returns a source. Errors name the field.
func New(cfg Config) (*Source, error) {
	switch {
	case len(cfg.Controls) == 0:
		return nil, errors.New("route53arc: Config.Controls is empty")
	case len(cfg.Endpoints) == 0:
		return nil, errors.New("route53arc: Config.Endpoints is empty")
	case slices.Contains(cfg.Endpoints, nil):
		return nil, errors.New("route53arc: Config.Endpoints: one is nil")
	case cfg.Timeout < 0:
		return nil, errors.New("route53arc: Config.Timeout is negative")
	}
	seen := map[string]string{}
	for _, region := range slices.Sorted(maps.Keys(cfg.Controls)) {
		arn := cfg.Controls[region]
		if other, twice := seen[arn]; twice || arn == "" || region == "" {
			return nil, fmt.Errorf("route53arc: Config.Controls: Region %q has %q, want a routing control of its own (%q has the same)", region, arn, other)
		}
		seen[arn] = region
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 3 * time.Second
	}
	cfg.Controls, cfg.Endpoints = maps.Clone(cfg.Controls), slices.Clone(cfg.Endpoints)
	return &Source{cfg: cfg}, nil
}

// Active returns the Region whose routing control is on, "" if none is. Several are [ErrConflict]. The controls are read one after the other, so
// that a switch in between looks like none or several: such a reading counts only if the next one is the same. Other errors: no endpoint
// answered.
func (s *Source) Active(ctx context.Context) (region string, err error) {
	on, err := s.on(ctx)
	for range rereadings {
		if err != nil || len(on) == 1 {
			break
		}
		before := on
		if on, err = s.on(ctx); slices.Equal(on, before) {
			break
		}
	}
	switch {
	case err != nil || len(on) == 0:
		return "", err
	case len(on) > 1:
		return "", fmt.Errorf("%w: %q", ErrConflict, on)
	}
	return on[0], nil
}

// rereadings bounds how often Active looks again while somebody switches.
const rereadings = 3

// on returns the Regions whose routing controls are on, in order.
func (s *Source) on(ctx context.Context) (on []string, err error) {
	for _, r := range slices.Sorted(maps.Keys(s.cfg.Controls)) {
		err := s.ask(ctx, func(ctx context.Context, api API) error {
			is, err := api.Get(ctx, s.cfg.Controls[r])
			if err == nil && is {
				on = append(on, r)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return on, nil
}

// Switch turns region's routing control on and all others off, in one call; with region "" all are turned off. Calling it again does no
// harm: it fits a step of a runbook, or ControllerConfig.Smoke.
func (s *Source) Switch(ctx context.Context, region string) error {
	if _, ok := s.cfg.Controls[region]; !ok && region != "" {
		return fmt.Errorf("route53arc: no routing control of Region %q", region)
	}
	states := map[string]bool{}
	for r, arn := range s.cfg.Controls {
		states[arn] = r == region
	}
	return s.ask(ctx, func(ctx context.Context, api API) error { return api.Update(ctx, states) })
}

// ask tries the endpoints in turn, beginning with the one that answered last.
func (s *Source) ask(ctx context.Context, call func(context.Context, API) error) error {
	first := s.next.Load()
	var errs []error
	for i := range uint32(len(s.cfg.Endpoints)) {
		n := (first + i) % uint32(len(s.cfg.Endpoints))
		bounded, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		err := call(bounded, s.cfg.Endpoints[n])
		cancel()
		if err == nil {
			s.next.Store(n)
			return nil
		}
		errs = append(errs, fmt.Errorf("endpoint %d: %w", n+1, err))
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("route53arc: no endpoint did it: %w", errors.Join(errs...))
}
