package steps

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
)

// A Fact is something that must be the same in two Regions. [Image], [Schema], [ConfigHash], [Flags], [QueueAttributes], [Certificate] and
// [Quota] are the usual ones.
type Fact struct {
	Name string

	// Read returns the fact's values by key; a fact of one value may use any key. Its errors, such as a certificate that is about to
	// expire, are shown like a difference.
	Read func(ctx context.Context, region failover.Region) (map[string]string, error)

	// Same compares the values of the two Regions, the first of which is the active one. Nil means that both have the key, with equal values.
	Same func(active, standby string) bool
}

// Parity checks that facts hold in both Regions, of which the first is the active one. It changes nothing and is blocked, naming every fact
// and key that differs, until they are the same. It can be waived.
func Parity(name string, active, standby failover.Region, facts ...Fact) runbook.Step {
	return runbook.Step{Name: name, Waive: true, Timeout: 2 * time.Minute, Phase: "assess", Check: func(ctx context.Context) (runbook.State, error) {
		var differ []error
		for _, f := range facts {
			differ = append(differ, f.compare(ctx, active, standby)...)
		}
		if len(differ) > 0 {
			return runbook.StateBlocked, errors.Join(differ...)
		}
		return runbook.StateDone, nil
	}}
}

func (f Fact) compare(ctx context.Context, active, standby failover.Region) (differ []error) {
	a, errA := f.Read(ctx, active)
	b, errB := f.Read(ctx, standby)
	for region, err := range map[failover.Region]error{active: errA, standby: errB} {
		if err != nil {
			differ = append(differ, fmt.Errorf("%s in %s: %w", f.Name, region, err))
		}
	}
	if differ != nil {
		return differ
	}
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		va, hasA := a[key]
		vb, hasB := b[key]
		if f.Same == nil && hasA && hasB && va == vb || f.Same != nil && f.Same(va, vb) {
			continue
		}
		differ = append(differ, fmt.Errorf("%s differs: %s in %s, %s in %s", f.label(key), shown(va, hasA), active, shown(vb, hasB), standby))
	}
	return differ
}

func (f Fact) label(key string) string {
	if key == "" {
		return f.Name
	}
	return f.Name + " " + key
}

func shown(value string, has bool) string {
	if !has {
		return "nothing"
	}
	return fmt.Sprintf("%q", value)
}
