package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
)

// fate is how a delivery ended.
type fate uint8

const (
	fateDone fate = iota
	fateFailed
	fateDead
	fateDropped
	fateExpired
	fatePutOff
	fates
)

const (
	deleteLinger  = 20 * time.Millisecond
	settleTimeout = 2 * time.Second
	maxForwards   = 3
	forwardWait   = time.Minute
)

// finish deletes a call that is over. On a FIFO queue the group's next waits for the confirmation; elsewhere the delete
// joins a batch, and the lease is kept until it is confirmed.
func (w *Worker) finish(h *held, f fate) {
	w.telemetry.ended(h, f, h.attempt())
	if h.source.limits.FIFO {
		w.deleteBatch(h.source, []*held{h})
		return
	}
	h.source.deletes.add(h)
}

// deleteBatch deletes with a few repetitions while the leases last. A message that is not deleted comes
// again: Once then recognises it.
func (w *Worker) deleteBatch(src *workerSource, batch []*held) {
	w.telemetry.deleteBatch(len(batch))
	todo := batch
	for wait := 100 * time.Millisecond; ; wait *= 4 {
		ctx, cancel := context.WithTimeout(w.base, settleTimeout)
		began := time.Now()
		errs := src.transport.Delete(ctx, messagesOf(todo))
		cancel()
		w.telemetry.operation(opDelete, src, began, errs)
		todo = w.deleted(todo, errs)
		if len(todo) == 0 || wait > 2*time.Second || w.draining() {
			break
		}
		w.pauseFor(wait)
	}
	for _, h := range todo {
		w.config.Ledger.Explain(h.envelope.ID, RuleDeleteFailed)
		w.drop(h)
	}
	if len(todo) > 0 {
		w.telemetry.settleFailed.Add(int64(len(todo)))
		w.logger().Warn("queue: deletes not confirmed, the calls will come again", slog.String("worker", w.config.Name),
			slog.String("region", src.region), slog.Int("messages", len(todo)))
	}
}

// deleted forgets what is gone and returns what is still to be deleted. A lost lease is the end of trying.
func (w *Worker) deleted(batch []*held, errs []error) (left []*held) {
	var lost []*held
	w.mu.Lock()
	now := time.Now()
	for i, h := range batch {
		switch err := errorAt(errs, i); {
		case errors.Is(err, ErrLeaseLost) || h.lost.Load() || now.After(h.until):
			// Deleting with a stale receipt may "succeed" and delete nothing.
			w.config.Ledger.Explain(h.envelope.ID, RuleDeleteFailed)
			lost = append(lost, h)
		case err != nil:
			left = append(left, h)
		default:
			w.forgetLocked(h)
		}
	}
	w.mu.Unlock()
	for _, h := range lost {
		w.drop(h)
	}
	return left
}

func messagesOf(items []*held) []*Message {
	messages := make([]*Message, len(items))
	for i, h := range items {
		messages[i] = h.message
	}
	return messages
}

// drop forgets h without telling the queue: its lease is lost or will end. The later messages of its FIFO group go
// back, because h comes again and they must not overtake it.
func (w *Worker) drop(h *held) {
	w.mu.Lock()
	mates := w.takeMatesLocked(h)
	w.forgetLocked(h)
	for _, m := range mates {
		w.notAttemptLocked(m)
	}
	w.mu.Unlock()
	w.releaseMates(mates, minWait)
}

// releaseMates gives FIFO messages back that were not started.
func (w *Worker) releaseMates(mates []*held, wait time.Duration) {
	for _, m := range mates {
		w.telemetry.released[releasedPutOff].Add(1)
		m.source.releases.add(Release{Message: m.message, After: min(wait, w.leaseLeft(m))})
	}
}

// retryAfter gives a failed call back. What would outlive the longest lease or four fifths of the queue's
// retention is sent again instead, with its count.
func (w *Worker) retryAfter(h *held, attempt int, wait time.Duration) {
	w.telemetry.ended(h, fateFailed, 0)
	w.startEnded(h)
	if h.source.limits.FIFO {
		w.release(h, min(wait, w.leaseLeft(h)), releasedFailed)
		return
	}
	if wait > w.leaseLeft(h) || w.agesBy(h, wait) {
		h.envelope.Attempt = attempt
		if w.resend(h, wait) {
			return
		}
		wait = min(wait, w.leaseLeft(h))
	}
	w.release(h, wait, releasedFailed)
}

// leaseLeft is how much longer this receive of h may be held in all.
func (w *Worker) leaseLeft(h *held) time.Duration {
	if h.source.limits.MaxLease == 0 {
		return math.MaxInt64
	}
	return max(minWait, h.source.limits.MaxLease-time.Since(h.since)-time.Minute)
}

// agesBy reports whether h will be older than four fifths of the queue's retention after wait.
func (w *Worker) agesBy(h *held, wait time.Duration) bool {
	retention := h.source.limits.Retention
	return retention > 0 && time.Since(h.message.Sent)+wait > retention/5*4
}

// putOffTo makes the call come again after wait without counting an attempt. A queue counts every receive, so a copy that
// carries the count takes the message's place; on a FIFO queue, where that would change the order, the message is given
// back and this process remembers.
func (w *Worker) putOffTo(h *held, wait time.Duration) {
	w.telemetry.ended(h, fatePutOff, 0)
	w.startEnded(h)
	if !h.source.limits.FIFO && h.bad == nil {
		h.envelope.Attempt = h.attempt() - 1
		if w.resend(h, wait) {
			return
		}
	}
	w.mu.Lock()
	w.notAttemptLocked(h)
	w.mu.Unlock()
	w.release(h, min(wait, w.leaseLeft(h)), releasedPutOff)
}

// hop sends a call on that is not due yet.
func (w *Worker) hop(h *held, left time.Duration) {
	h.envelope.Attempt = h.attempt() - 1
	if !h.source.limits.FIFO && w.resend(h, left) {
		return
	}
	w.mu.Lock()
	w.notAttemptLocked(h)
	w.mu.Unlock()
	w.release(h, min(left, w.leaseLeft(h)), releasedPutOff)
}

// forward sends a call of an older epoch on under the current one.
func (w *Worker) forward(h *held, current uint64) {
	if h.envelope.Forwards >= maxForwards {
		w.putOffTo(h, jitter(forwardWait))
		return
	}
	h.envelope.Forwards++
	h.envelope.Epoch = current
	w.putOffTo(h, jitter(minWait))
}

// resend sends a copy of h that runs not before wait, and deletes h then: a crash between the two leaves two
// copies and never none. It reports whether h is settled.
func (w *Worker) resend(h *held, wait time.Duration) bool {
	e := h.envelope
	e.Death = nil
	e.Claim, e.ClaimSum = "", ""
	if h.message.Fetch != nil && len(e.Data) == 0 {
		return false // the payload was not fetched
	}
	at := time.Now().UTC().Add(wait)
	e.Resume = at
	out := Outgoing{CallID: e.ID, Body: string(e.Append(nil)), Tenant: h.message.Tenant, NotBefore: at, Expires: e.Expires}
	ctx, cancel := context.WithTimeout(w.base, settleTimeout)
	defer cancel()
	r := h.source.transport.Send(ctx, []Outgoing{out})[0]
	if r.Err != nil {
		if outcome.Of(r.Err) == outcome.Unknown {
			w.config.Ledger.Explain(e.ID, RuleSendUnknown)
		}
		return false
	}
	w.telemetry.resent.Add(1)
	h.source.deletes.add(h)
	return true
}

// stopped gives a call back that a drain stopped, at once and uncounted.
func (w *Worker) stopped(h *held) {
	w.telemetry.ended(h, fatePutOff, 0)
	w.startEnded(h)
	w.mu.Lock()
	w.notAttemptLocked(h)
	w.report.Stopped++
	w.mu.Unlock()
	w.release(h, 0, releasedDrain)
}

// release gives h back. On a FIFO queue its group's later messages go back too, behind it.
func (w *Worker) release(h *held, wait time.Duration, why int) {
	w.mu.Lock()
	mates := w.takeMatesLocked(h)
	for _, m := range mates {
		w.notAttemptLocked(m)
	}
	w.forgetLocked(h)
	w.mu.Unlock()
	w.telemetry.released[why].Add(1)
	h.source.releases.add(Release{Message: h.message, After: wait})
	w.releaseMates(mates, wait+time.Second)
}

// releaseBatch gives messages back. One that cannot be comes back when its lease ends.
func (w *Worker) releaseBatch(src *workerSource, batch []Release) {
	ctx, cancel := context.WithTimeout(w.base, settleTimeout)
	defer cancel()
	began := time.Now()
	errs := src.transport.Release(ctx, batch)
	w.telemetry.operation(opRelease, src, began, errs)
}

// bury moves h to the dead-letter queue.
func (w *Worker) bury(h *held, reason Reason, why error) {
	if w.halts(h, reason) {
		return
	}
	letter := w.letter(h, reason, why)
	ctx, cancel := context.WithTimeout(w.base, 2*settleTimeout)
	defer cancel()
	began := time.Now()
	errs := h.source.transport.Dead(ctx, []DeadLetter{letter})
	w.telemetry.operation(opDead, h.source, began, errs)
	if err := errorAt(errs, 0); err != nil {
		w.logger().Error("queue: cannot dead-letter a call", slog.String("worker", w.config.Name), slog.String("call", letter.Call),
			slog.String("call_id", letter.CallID), slog.String("reason", string(reason)), slog.Any("error", err))
		w.startEnded(h)
		w.mu.Lock()
		w.notAttemptLocked(h)
		w.mu.Unlock()
		w.release(h, jitter(30*time.Second), releasedPutOff)
		return
	}
	w.config.Ledger.dead(letter.CallID, reason)
	w.telemetry.dead[reasonIndex(reason)].Add(1)
	w.telemetry.ended(h, fateDead, letter.Attempts)
	if h.group != nil && h.handler != nil && h.handler.config.DeadGroup == GroupFollow {
		w.follows(h)
	}
	w.mu.Lock()
	w.forgetLocked(h)
	w.mu.Unlock()
	if w.config.OnDead != nil {
		w.config.OnDead(w.base, letter)
	}
}

// halts keeps a call of a halting group alive.
func (w *Worker) halts(h *held, reason Reason) bool {
	if h.group == nil || h.handler == nil || h.handler.config.DeadGroup != GroupHalt {
		return false
	}
	w.logger().Error("queue: FIFO group halted", slog.String("worker", w.config.Name), slog.String("call", h.envelope.Name),
		slog.String("call_id", h.envelope.ID), slog.String("reason", string(reason)))
	w.telemetry.ended(h, fateFailed, 0)
	w.startEnded(h)
	w.release(h, min(jitter(15*time.Minute), w.leaseLeft(h)), releasedFailed)
	return true
}

// letter writes the death certificate. Poison goes as it came.
func (w *Worker) letter(h *held, reason Reason, why error) DeadLetter {
	l := DeadLetter{
		Message: h.message, Body: h.message.Body, CallID: "raw-" + sanitize(h.message.ID), Reason: reason, Err: why,
		Attempts: h.message.Receives,
	}
	if why != nil {
		l.Class = truncate(errorClass(why), 200)
	}
	if h.bad != nil {
		return l
	}
	e := h.envelope
	l.CallID, l.Call, l.Attempts = e.ID, e.Name, h.attempt()
	e.Death = newDeath(h.message, reason, l.Attempts, why)
	if h.message.Claim != "" { // the pointer stays a pointer
		if p := (Envelope{}); p.Decode(h.message.Body) == nil {
			p.Death = e.Death
			e = p
		}
	}
	l.Body = string(e.Append(nil))
	return l
}

// sanitize makes s fit for a call ID.
func sanitize(s string) string {
	b := []byte(truncate(s, maxIDLength-8))
	for i, c := range b {
		if c <= ' ' || c > '~' {
			b[i] = '_'
		}
	}
	return string(b)
}

// A settler gathers items into batches, flushed when full and after linger. Its goroutines end by themselves; the drain
// waits for them.
type settler[T any] struct {
	w      *Worker
	size   int
	linger time.Duration
	flush  func([]T)

	mu    sync.Mutex // guards the following
	items []T
	timer *time.Timer
	armed bool
}

func (s *settler[T]) add(item T) {
	s.w.settling.add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, item)
	if len(s.items) >= max(1, s.size) || s.w.draining() {
		s.startLocked()
		return
	}
	if !s.armed {
		s.armed = true
		if s.timer == nil {
			s.timer = time.AfterFunc(s.linger, s.lingered)
		} else {
			s.timer.Reset(s.linger)
		}
	}
}

func (s *settler[T]) lingered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.startLocked()
}

// now flushes what is waiting.
func (s *settler[T]) now() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startLocked()
}

func (s *settler[T]) startLocked() {
	for len(s.items) > 0 {
		n := min(len(s.items), max(1, s.size))
		batch := slices.Clone(s.items[:n])
		s.items = append(s.items[:0], s.items[n:]...)
		go func() { // ends with the request's deadline; waited for through settling
			s.flush(batch)
			s.w.settling.add(-n)
		}()
	}
}

// A DrainReport says what a drain found and did.
type DrainReport struct {
	Took         time.Duration
	PollsAborted bool     // a poll had not ended 2 s after the drain began: messages may be hidden until their lease ends
	Finished     int      // handlers that ended by themselves
	Stopped      int      // calls whose context ended with ErrDraining, given back
	Released     int      // messages given back without having been started
	LeftBehind   []string // calls, as "<name>/<ID>", whose handlers ignored the end of their context
	Unconfirmed  int64    // deletes not confirmed: these calls will come again
}

var errLeftBehind = errors.New("queue: handlers left behind")

func (r *DrainReport) err(name string) error {
	if len(r.LeftBehind) == 0 {
		return nil
	}
	return fmt.Errorf("worker %q: %w after %v: %v", name, errLeftBehind, r.Took.Round(time.Millisecond), r.LeftBehind)
}
