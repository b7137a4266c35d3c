package queue

import (
	"context"
	"errors"
	"time"
)

// Peek returns the call IDs of the messages in t that can be received now, and gives them back. For queues that can only be
// read by receiving, to close a [Ledger] with: it counts as a receive of each message, and what is leased or delayed
// is not seen. A body that is no envelope counts as "raw-" and its message ID.
func Peek(ctx context.Context, t Transport) (ids []string, err error) {
	var held []*Message
	defer func() {
		releases := make([]Release, len(held))
		for i, m := range held {
			releases[i].Message = m
		}
		err = errors.Join(append(t.Release(context.WithoutCancel(ctx), releases), err)...)
	}()
	for empty := 0; empty < 2; {
		got, err := t.Receive(ctx, ReceiveRequest{Max: 10, Wait: time.Second, Lease: time.Minute})
		if err != nil {
			return ids, err
		}
		if empty++; len(got) > 0 {
			empty = 0
		}
		for _, m := range got {
			held = append(held, m)
			ids = append(ids, callIDOf(m))
		}
	}
	return ids, nil
}

func callIDOf(m *Message) string {
	var e Envelope
	if e.Decode(m.Body) != nil {
		return "raw-" + sanitize(m.ID)
	}
	return e.ID
}
