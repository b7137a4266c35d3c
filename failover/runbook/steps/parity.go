package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
)

// A Fact is something that must be the same in two Regions: an image digest, a schema version, a configuration hash, a set of flags, a queue's
// attributes, a certificate's expiry class, a quota.
type Fact struct {
	Name string
	Read func(ctx context.Context, region failover.Region) (string, error)

	// Same compares the values of the two Regions. Nil means equal strings; a quota may only need to be at least as large.
	Same func(a, b string) bool
}

// Parity checks that facts are the same in both Regions. It changes nothing and is blocked, naming every fact that differs, until they are.
// It can be waived.
func Parity(name string, a, b failover.Region, facts ...Fact) runbook.Step {
	return runbook.Step{Name: name, Waive: true, Check: func(ctx context.Context) (runbook.State, error) {
		var differ []error
		for _, f := range facts {
			if err := f.compare(ctx, a, b); err != nil {
				differ = append(differ, err)
			}
		}
		if len(differ) > 0 {
			return runbook.StateBlocked, errors.Join(differ...)
		}
		return runbook.StateDone, nil
	}}
}

func (f Fact) compare(ctx context.Context, a, b failover.Region) error {
	va, err := f.Read(ctx, a)
	if err != nil {
		return fmt.Errorf("%s in %s: %w", f.Name, a, err)
	}
	vb, err := f.Read(ctx, b)
	if err != nil {
		return fmt.Errorf("%s in %s: %w", f.Name, b, err)
	}
	if f.Same == nil && va == vb || f.Same != nil && f.Same(va, vb) {
		return nil
	}
	return fmt.Errorf("%s differs: %q in %s, %q in %s", f.Name, va, a, vb, b)
}
