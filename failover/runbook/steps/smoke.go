package steps

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// SmokeTest repeats test until it returns nil. A plan does not run it: a test may place an order.
func SmokeTest(name string, test func(context.Context) error) runbook.Step {
	return runbook.Step{
		Name: name, Phase: "validate",
		Check: func(context.Context) (runbook.State, error) { return runbook.StateNeeded, nil },
		Verify: func(ctx context.Context) (runbook.State, error) {
			if err := test(ctx); err != nil {
				return runbook.StateBlocked, err
			}
			return runbook.StateDone, nil
		},
	}
}

// SmokeHTTP repeats GET url until it answers with status 200 to client; nil means http.DefaultClient.
func SmokeHTTP(name string, client *http.Client, url string) runbook.Step {
	client = orDefault(client)
	return SmokeTest(name, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		status, err := send(client, req)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET %s: status %d, want 200", url, status)
		}
		return err
	})
}

func orDefault(client *http.Client) *http.Client {
	if client == nil {
		return http.DefaultClient
	}
	return client
}

// send sends req, reads the answer so that the connection can be used again, and returns its status.
func send(client *http.Client, req *http.Request) (status int, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, nil
}
