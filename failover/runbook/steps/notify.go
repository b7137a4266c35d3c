package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// Notify posts body as JSON to a webhook. It is told once per process at the most, and after a crash perhaps again. It can be waived.
func Notify(name string, client *http.Client, url string, body any) runbook.Step {
	if client == nil {
		client = http.DefaultClient
	}
	var told atomic.Bool
	return runbook.Step{
		Name: name, Waive: true,
		Check: when(func(context.Context) (bool, error) { return told.Load(), nil }),
		Do: func(ctx context.Context) error {
			if err := post(ctx, client, url, body); err != nil {
				return err
			}
			told.Store(true)
			return nil
		},
	}
}

// PagerDutyEventsURL is where Events API v2 takes events.
const PagerDutyEventsURL = "https://events.pagerduty.com/v2/enqueue"

// PagerDuty triggers an incident with the Events API v2. key is the deduplication key: pass the run's ID, so that a run that is resumed
// does not page twice. severity is critical, error, warning or info.
func PagerDuty(name string, client *http.Client, url, routingKey, key, summary, source, severity string) runbook.Step {
	return Notify(name, client, url, map[string]any{
		"routing_key": routingKey, "event_action": "trigger", "dedup_key": key,
		"payload": map[string]string{"summary": summary, "source": source, "severity": severity},
	})
}

func post(ctx context.Context, client *http.Client, url string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token := runbook.Token(ctx); token != "" {
		req.Header.Set("Idempotency-Key", token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST: status %d", resp.StatusCode)
	}
	return nil
}
