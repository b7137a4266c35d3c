package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// Notify posts body(run ID) as JSON to a webhook, up to three times until it takes it. The run goes on without it when that fails, and after a
// crash it may be told again, with the same Idempotency-Key.
func Notify(name string, client *http.Client, webhook string, body func(run string) any) runbook.Step {
	client = orDefault(client)
	step := runbook.Step{Name: name, Waive: true, MayFail: true, Timeout: 30 * time.Second, Phase: "notify"}
	step.Preflight = func(context.Context) error {
		if u, err := url.Parse(webhook); err != nil || u.Host == "" {
			return fmt.Errorf("webhook %q is no address", webhook)
		}
		return nil
	}
	return once(step, func(ctx context.Context) (err error) {
		for attempt := range 3 {
			if err = pause(ctx, time.Duration(attempt)*time.Second); err != nil {
				return err
			}
			if err = post(ctx, client, webhook, body(runbook.RunID(ctx))); err == nil {
				return nil
			}
		}
		return err
	})
}

// PagerDutyEventsURL is where Events API v2 takes events.
const PagerDutyEventsURL = "https://events.pagerduty.com/v2/enqueue"

// An Incident is what PagerDuty is told.
type Incident struct {
	URL        string // empty means PagerDutyEventsURL
	RoutingKey string // of the service's integration
	Summary    string
	Source     string // what is affected
	Severity   string // critical, error, warning or info
	Component  string // may be empty
}

// PagerDuty triggers an incident with the Events API v2. The deduplication key is the run's ID, so that a run that is resumed, or several
// steps of it, make one incident.
func PagerDuty(name string, client *http.Client, i Incident) runbook.Step {
	payload := map[string]string{"summary": i.Summary, "source": i.Source, "severity": i.Severity}
	if i.Component != "" {
		payload["component"] = i.Component
	}
	return i.step(name, client, "trigger", payload)
}

// PagerDutyResolve resolves the incident of the run.
func PagerDutyResolve(name string, client *http.Client, i Incident) runbook.Step {
	return i.step(name, client, "resolve", nil)
}

func (i Incident) step(name string, client *http.Client, action string, payload map[string]string) runbook.Step {
	if i.URL == "" {
		i.URL = PagerDutyEventsURL
	}
	step := Notify(name, client, i.URL, func(run string) any {
		event := map[string]any{"routing_key": i.RoutingKey, "event_action": action, "dedup_key": run}
		if payload != nil {
			event["payload"] = payload
		}
		return event
	})
	address := step.Preflight
	step.Preflight = func(ctx context.Context) error {
		switch {
		case i.RoutingKey == "":
			return fmt.Errorf("no routing key")
		case payload != nil && (i.Summary == "" || i.Source == ""):
			return fmt.Errorf("an incident needs a summary and a source")
		case payload != nil && !slices.Contains([]string{"critical", "error", "warning", "info"}, i.Severity):
			return fmt.Errorf("severity %q is none of critical, error, warning, info", i.Severity)
		}
		return address(ctx)
	}
	return step
}

func post(ctx context.Context, client *http.Client, webhook string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, webhook, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", runbook.Token(ctx))
	status, err := send(client, req)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("POST: status %d", status)
	}
	return err
}
