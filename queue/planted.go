package queue

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/internal/planted"
)

// What follows are the defects that tests plant in what is made here. In programs each function returns what it is given.

// tried is the guard of Try.
func tried(once func(context.Context, string, func(context.Context) error) error) func(context.Context, string, func(context.Context) error) error {
	if once == nil || !planted.Has(planted.TryUnguarded) {
		return once
	}
	return func(ctx context.Context, _ string, call func(context.Context) error) error { return call(ctx) }
}

// ruled is a handler with its rule for calls of an older epoch.
func ruled(h *handler) *handler {
	if !planted.Has(planted.StaleRuns) {
		return h
	}
	lawless := *h
	lawless.config.Stale, lawless.config.StaleFunc = StaleRun, nil
	return &lawless
}

// blaming has what config.Around refuses count against the Region.
func blaming(config RegionalConfig) RegionalConfig {
	around, observe := config.Around, config.Observe
	if around == nil || observe == nil || !planted.Has(planted.OpenCounts) {
		return config
	}
	config.Around = func(ctx context.Context, region string, call func(context.Context) error) error {
		ran := false
		err := around(ctx, region, func(ctx context.Context) error {
			ran = true
			return call(ctx)
		})
		if err != nil && !ran {
			observe(region, &SendError{Region: region, Outcome: SendUnknown, Err: err}, 0) // as if it had been sent
		}
		return err
	}
	return config
}

// hasty gives every message back without its delay.
func hasty(list []source) []source {
	if planted.Has(planted.ZeroRequeue) {
		for i := range list {
			list[i].transport = hastyTransport{list[i].transport}
		}
	}
	return list
}

type hastyTransport struct{ Transport }

// Release implements [Transport].
func (t hastyTransport) Release(ctx context.Context, releases []Release) []error {
	now := make([]Release, len(releases))
	for i, r := range releases {
		now[i] = Release{Message: r.Message}
	}
	return t.Transport.Release(ctx, now)
}

// Send implements [Transport]: what a worker sends again in place of giving it back comes at once too.
func (t hastyTransport) Send(ctx context.Context, messages []Outgoing) []SendResult {
	now := make([]Outgoing, len(messages))
	for i, m := range messages {
		var e Envelope
		if e.Decode(m.Body) == nil {
			e.Resume = time.Time{}
			m.Body, m.NotBefore = string(e.Append(nil)), time.Time{}
		}
		now[i] = m
	}
	return t.Transport.Send(ctx, now)
}
