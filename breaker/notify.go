package breaker

import (
	"context"
	"log/slog"
	"time"
)

// maxPending bounds the transitions that wait for a listener that does not return.
const maxPending = 256

// noteLocked queues a transition for the log and the listener.
func (b *Breaker) noteLocked(from, to State, why cause, wait time.Duration, counts Counts) {
	if from != to {
		b.entered[to]++
	}
	if len(b.pending) == maxPending {
		b.pending = b.pending[1:]
	}
	b.pending = append(b.pending, Transition{
		Name: b.cfg.Name, Key: b.key, From: from, To: to, Mode: b.mode,
		Reason: why.reason, By: why.by, At: time.Now(), Wait: wait, Window: counts,
	})
}

// unlockAndNotify unlocks b.mu and delivers the queued transitions, unless another goroutine, or a caller
// further up this one's stack, is delivering: then that one does.
func (b *Breaker) unlockAndNotify() {
	if len(b.pending) == 0 || b.delivering {
		b.mu.Unlock()
		return
	}
	b.delivering = true
	b.mu.Unlock()
	b.deliver()
}

func (b *Breaker) deliver() {
	empty := false
	defer func() {
		if !empty { // a listener panicked: the next transition delivers the rest
			b.mu.Lock()
			b.delivering = false
			b.mu.Unlock()
		}
	}()
	for {
		b.mu.Lock()
		if len(b.pending) == 0 {
			b.pending = nil
			b.delivering, empty = false, true
			b.mu.Unlock()
			return
		}
		t := b.pending[0]
		b.pending = b.pending[1:]
		b.mu.Unlock()
		b.log(t)
		if b.cfg.OnStateChange != nil {
			b.cfg.OnStateChange(t)
		}
	}
}

func (b *Breaker) log(t Transition) {
	level := slog.LevelInfo
	if t.To == StateOpen {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("name", t.Name), slog.String("from", t.From.String()), slog.String("to", t.To.String()),
		slog.String("mode", t.Mode.String()), slog.String("reason", t.Reason),
	}
	if t.Key != "" {
		attrs = append(attrs, slog.String("key", t.Key))
	}
	if t.By != "" {
		attrs = append(attrs, slog.String("by", t.By))
	}
	if t.Wait > 0 {
		attrs = append(attrs, slog.Duration("wait", t.Wait))
	}
	b.cfg.Logger.LogAttrs(context.Background(), level, "breaker changed", attrs...)
}
