package embedded

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/internal/planted"
	"github.com/holdfast-go/holdfast/queue"
)

// keys is the store, with a defect if a test has planted one in it.
func keys(s *redisstore.Store) replica {
	switch {
	case planted.Has(planted.ShortRetention):
		return forgetful{s}
	case planted.Has(planted.UnknownReleases):
		return trusting{s}
	}
	return s
}

// A forgetful store keeps the markers of calls for less time than their queue keeps a message from its next reader.
type forgetful struct{ *redisstore.Store }

// Complete implements idempotency.Store.
func (s forgetful) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	if c.Retention > 24*time.Hour { // of Once
		c.Retention = 5 * time.Second
	}
	return s.Store.Complete(ctx, c)
}

// A trusting store takes an unknown outcome for none.
type trusting struct{ *redisstore.Store }

// Release implements idempotency.Store.
func (s trusting) Release(ctx context.Context, r idempotency.Release) (idempotency.Status, error) {
	r.Hold = false
	return s.Store.Release(ctx, r)
}

// transport is the queue, with a defect if a test has planted one in it.
func transport(t queue.Transport) queue.Transport {
	if planted.Has(planted.ZeroRequeue) {
		return hasty{t}
	}
	return t
}

// A hasty queue hands a message out again at once.
type hasty struct{ queue.Transport }

// Release implements queue.Transport.
func (q hasty) Release(ctx context.Context, releases []queue.Release) []error {
	now := make([]queue.Release, len(releases))
	for i, r := range releases {
		now[i] = queue.Release{Message: r.Message}
	}
	return q.Transport.Release(ctx, now)
}
