package idempotency

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/internal/planted"
)

// sound is the store of a Region, with a defect if a test has planted one in it. In programs it is what it is given.
func sound(s Replica) Replica {
	switch {
	case planted.Has(planted.ShortRetention):
		return forgetful{s}
	case planted.Has(planted.UnknownReleases):
		return trusting{s}
	}
	return s
}

// A forgetful store keeps the markers of calls for as long as a worker leases a message, and not for as long as their queue keeps it.
type forgetful struct{ Replica }

// Complete implements [Store].
func (s forgetful) Complete(ctx context.Context, c Completion) (Answer, error) {
	if c.Retention > 24*time.Hour { // of Once
		c.Retention = 30 * time.Second // queue.WorkerConfig.Lease
	}
	return s.Replica.Complete(ctx, c)
}

// A trusting store takes an unknown outcome for none.
type trusting struct{ Replica }

// Release implements [Store].
func (s trusting) Release(ctx context.Context, r Release) (Status, error) {
	r.Hold = false
	return s.Replica.Release(ctx, r)
}
