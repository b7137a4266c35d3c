package queue

import (
	"context"
	"strconv"
	"sync/atomic"
)

// countFailure finds out which failed attempt of its call this is. A queue counts receives, and which of them were no attempt only the process knows
// that gave the message back; so each failure takes the next free number in the store of Once, where all processes see it. Without Once, and
// when its store does not answer, what the receives say stands: as many attempts, or more than there were.
func (w *Worker) countFailure(h *held) {
	if w.config.Once == nil {
		return
	}
	ctx, cancel := context.WithTimeout(w.base, settleTimeout)
	defer cancel()
	key, last := h.failures(), h.handler.config.MaxAttempts
	n := w.counted(key) + 1
	for ; n < last; n++ {
		var ours atomic.Bool
		err := w.config.Once(ctx, key+strconv.Itoa(n), func(context.Context) error { ours.Store(true); return nil })
		if ours.Load() {
			break
		}
		if err != nil {
			return
		}
	}
	h.failed = n
	w.count(key, n)
}

// failures begins the keys of a call's failed attempts; the number of one follows. No call has such a key: call IDs have no spaces. A call that was redriven begins anew.
func (h *held) failures() string {
	key := h.envelope.Key()
	if !h.envelope.Redriven.IsZero() {
		key += " redriven " + strconv.FormatInt(h.envelope.Redriven.Unix(), 10)
	}
	return key + " attempt "
}

// maxCounted is how many calls have their failures remembered here, so as not to ask for each number again.
const maxCounted = 10_000

func (w *Worker) counted(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[key]
}

func (w *Worker) count(key string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.known) >= maxCounted {
		clear(w.known)
	}
	w.known[key] = n
}
