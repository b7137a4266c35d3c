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
	key := h.numbers("attempt")
	n, err := w.takeNumber(ctx, key, w.counted(key)+1, h.handler.config.MaxAttempts-1)
	if err != nil {
		return
	}
	h.failed = n
	w.count(key, n)
}

// takeNumber takes the first free number of key from n to last, or returns last+1 if there is none.
func (w *Worker) takeNumber(ctx context.Context, key string, n, last int) (int, error) {
	for ; n <= last; n++ {
		var ours atomic.Bool
		err := w.config.Once(ctx, key+strconv.Itoa(n), func(context.Context) error { ours.Store(true); return nil })
		if ours.Load() {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// numbers begins the keys under which something of a call is counted; a number follows. No call has such a key: call IDs have no spaces. A call
// that was redriven begins anew.
func (h *held) numbers(of string) string {
	key := h.envelope.Key()
	if !h.envelope.Redriven.IsZero() {
		key += " redriven " + strconv.FormatInt(h.envelope.Redriven.Unix(), 10)
	}
	return key + " " + of + " "
}

// countStart counts, where all processes see it, that h is about to run, and reports whether fewer than twice MaxAttempts have. The first MaxAttempts
// receives are not counted. A run that has come to an end gives its number back to this process, see startEnded.
func (w *Worker) countStart(h *held) (begin bool, err error) {
	key, last := h.numbers("start"), 2*h.handler.config.MaxAttempts
	w.mu.Lock()
	h.start = w.known[key]
	delete(w.known, key)
	w.mu.Unlock()
	if h.start > 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(w.base, settleTimeout)
	defer cancel()
	n, err := w.takeNumber(ctx, key, 1, last)
	if err != nil || n > last {
		return false, err
	}
	h.start = n
	return true, nil
}

// startEnded keeps h's number for when this process begins the call again: what comes to an end takes no worker down.
func (w *Worker) startEnded(h *held) {
	if h.start > 0 {
		w.count(h.numbers("start"), h.start)
	}
}

// maxCounted is how many numbers are remembered here, so as not to ask for each again.
const maxCounted = 10_000

func (w *Worker) counted(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[key]
}

func (w *Worker) count(key string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.known[key]; !there && len(w.known) >= maxCounted {
		for other := range w.known { // one that has to be asked for again, not all
			delete(w.known, other)
			break
		}
	}
	w.known[key] = n
}
