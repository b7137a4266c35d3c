package steps

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/holdfast-go/holdfast/failover/runbook"
)

// Approve waits for n people other than the requester.
func Approve(name string, n int) runbook.Step { return runbook.Step{Name: name, Approve: n} }

// FenceOldWriter runs fence until fenced says that the old writer refuses writes. The step can be waived: an unreachable Region is fenced by
// its lease, and a person says so.
func FenceOldWriter(name string, fence func(context.Context) error, fenced func(context.Context) (bool, error)) runbook.Step {
	return runbook.Step{Name: name, Do: fence, Check: when(fenced), Waive: true}
}

// DrainClients runs drain until nothing is left in flight, as left counts it.
func DrainClients(name string, drain func(context.Context) error, left func(context.Context) (int, error)) runbook.Step {
	return runbook.Step{Name: name, Do: drain, Check: empty(left), Waive: true}
}

// DrainStranded waits until a queue or spool that was left behind is empty, as left counts it.
func DrainStranded(name string, left func(context.Context) (int, error)) runbook.Step {
	return waitFor(name, empty(left))
}

// SyncKeys runs resync, such as idempotency's Regional.Resync, until nothing is unsynced, as left counts it.
func SyncKeys(name string, resync func(context.Context) error, left func(context.Context) (int, error)) runbook.Step {
	return runbook.Step{Name: name, Do: resync, Check: empty(left)}
}

// SmokeTest waits until test returns nil.
func SmokeTest(name string, test func(context.Context) error) runbook.Step {
	return waitFor(name, func(ctx context.Context) (runbook.State, error) {
		if err := test(ctx); err != nil {
			return runbook.StateBlocked, err
		}
		return runbook.StateDone, nil
	})
}

// SmokeHTTP waits until GET url answers with status 200 to client; nil means http.DefaultClient.
func SmokeHTTP(name string, client *http.Client, url string) runbook.Step {
	if client == nil {
		client = http.DefaultClient
	}
	return SmokeTest(name, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: status %d, want 200", url, resp.StatusCode)
		}
		return nil
	})
}

// waitFor is a step that changes nothing and waits. Its Verify is polled; a Check would stop the run at once.
func waitFor(name string, done func(context.Context) (runbook.State, error)) runbook.Step {
	return runbook.Step{Name: name, Check: func(ctx context.Context) (runbook.State, error) {
		if state, err := done(ctx); err == nil && state == runbook.StateDone {
			return state, nil
		}
		return runbook.StateNeeded, nil
	}, Verify: done}
}

// when makes a Check of a question.
func when(yes func(context.Context) (bool, error)) func(context.Context) (runbook.State, error) {
	if yes == nil {
		return nil
	}
	return func(ctx context.Context) (runbook.State, error) {
		ok, err := yes(ctx)
		switch {
		case err != nil:
			return runbook.StateBlocked, err
		case ok:
			return runbook.StateDone, nil
		}
		return runbook.StateNeeded, nil
	}
}

func empty(left func(context.Context) (int, error)) func(context.Context) (runbook.State, error) {
	return when(func(ctx context.Context) (bool, error) {
		n, err := left(ctx)
		return n == 0, err
	})
}
