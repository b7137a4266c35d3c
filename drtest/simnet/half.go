package simnet

import (
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"
)

// never is the instant of what does not happen.
const never = time.Duration(math.MaxInt64)

// A half is one direction of a connection: what writer wrote and reader has not read.
type half struct {
	n              *Net
	link, back     *link // the way of the bytes, and of their acknowledgements
	writer, reader *Conn
	rng            *rand.Rand // guarded by mu
	timer          *time.Timer
	reading        chan struct{} // holds one token while a Read is in progress; guards timer
	wake           chan struct{} // tells the Read in progress to look again

	mu         sync.Mutex // guards all below; never held while waiting
	buf        []byte     // bytes [off:] are unread
	off        int
	marks      []mark // marks [first:] describe the unread bytes, in order
	first      int
	last       time.Duration // arrival of the latest mark that has one
	active     time.Duration // when the writer last wrote; its sub-grain remainder names the chain of events
	stalled    time.Duration // since when bytes are unacknowledged on a black link; never = they are not
	deadline   time.Duration // of the reader
	err        error         // what every Read returns from now on
	finished   bool          // the writer has sent FIN, or is gone
	readerGone bool          // bytes that arrive are answered with a reset
}

// A mark is a run of bytes that arrive together, or the end of the stream.
type mark struct {
	size     int
	sent, at time.Duration // at is never while the network holds the bytes back
	held     bool          // taken by the peer's kernel: arrives without retransmission
	fin      bool
}

func newHalf(n *Net, there, back *link, rng *rand.Rand, now time.Duration) *half {
	return &half{
		n: n, link: there, back: back, rng: rng, active: now, stalled: never, deadline: never,
		reading: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
}

// kick makes the Read in progress look again, or the next one.
func (h *half) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// push sends bytes, or the end of the stream if fin is set.
func (h *half) push(b []byte, fin bool) error {
	now := h.n.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.finished && fin:
		return nil
	case h.finished:
		return syscall.EPIPE
	case h.gaveUpLocked(now):
		return syscall.ETIMEDOUT
	}
	h.finished = fin
	h.active = now
	h.compactLocked()
	h.buf = append(h.buf, b...)
	h.sendLocked(mark{size: len(b), sent: now, fin: fin})
	h.kick()
	return nil
}

// compactLocked moves what is unread to the front once half of a large buffer has been read.
func (h *half) compactLocked() {
	if h.off < 64<<10 || h.off < len(h.buf)/2 {
		return
	}
	h.buf = h.buf[:copy(h.buf, h.buf[h.off:])]
	h.off = 0
	h.marks = h.marks[:copy(h.marks, h.marks[h.first:])]
	h.first = 0
}

// sendLocked gives a new mark its arrival and appends it.
func (h *half) sendLocked(m mark) {
	there, back := h.link.state.Load(), h.back.state.Load()
	switch there.Mode {
	case ModeUp:
		h.arriveLocked(&m, h.link.transmit(&there.Shape, m.sent, m.size), &there.Shape)
		if h.readerGone {
			h.refuseLocked(m.at, &back.Shape)
		}
	case ModeHang:
		m.at, m.held = never, true
	default:
		m.at = never
	}
	if there.Mode == ModeBlackhole || back.Mode == ModeBlackhole {
		h.stallLocked(m.sent)
	}
	if tail := len(h.marks) - 1; tail >= h.first && !m.fin && h.marks[tail].at == m.at && h.marks[tail].sent == m.sent {
		h.marks[tail].size += m.size
		return
	}
	h.marks = append(h.marks, m)
}

// arriveLocked sets when a mark that leaves at an instant arrives: after those before it.
func (h *half) arriveLocked(m *mark, leaves time.Duration, s *Shape) {
	m.at = hop(leaves+s.delay(h.rng, MinRTO), m.sent)
	if m.at < h.last {
		m.at = align(h.last, m.at) // behind what left before, and not together with another chain of events
	}
	m.held = false
	h.last = m.at
}

// refuseLocked sends a reset back to the writer, for bytes that reach a gone reader at an instant.
func (h *half) refuseLocked(at time.Duration, back *Shape) {
	if back.Mode == ModeUp {
		h.writer.resetAt(hop(at+roundUp(back.Latency), at))
	}
}

// stallLocked notes that bytes sent at an instant are not acknowledged.
func (h *half) stallLocked(sent time.Duration) {
	if h.stalled == never {
		h.stalled = sent
		h.writer.in.kick() // its Read must learn when to give up
	}
}

func (h *half) gaveUpLocked(now time.Duration) bool {
	return h.stalled != never && now >= h.stalled+DataGiveUp
}

// givesUp returns when the writer stops retransmitting.
func (h *half) givesUp() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stalled == never {
		return never
	}
	return h.stalled + DataGiveUp
}

// relink brings the half in line with the shapes its links have now. It reports whether the writer's
// kernel had given up by then.
func (h *half) relink(now time.Duration) (gaveUp bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	there, back := h.link.state.Load(), h.back.state.Load()
	if there.Mode == ModeRefuse || back.Mode == ModeRefuse || there.Mode == ModeReset || back.Mode == ModeReset {
		h.writer.resetAt(hop(now+roundUp(back.Latency), h.active))
	}
	black := there.Mode == ModeBlackhole || back.Mode == ModeBlackhole
	if black {
		if m := h.inFlightLocked(now); m != nil {
			h.stallLocked(m.sent)
		}
	}
	defer h.kick()
	doomed := h.doomedLocked(now)
	switch {
	case h.gaveUpLocked(now):
		h.forgetLocked()
		return true
	case doomed:
	case there.Mode == ModeUp:
		h.releaseLocked(now, &there.Shape, &back.Shape)
	default:
		h.holdLocked(now, there.Mode == ModeHang)
	}
	if !black && !doomed {
		h.stalled = never
	}
	return false
}

// doomedLocked reports whether the writer has sent its last retransmission: no acknowledgement can come any more.
func (h *half) doomedLocked(now time.Duration) bool {
	return h.stalled != never && retransmission(h.stalled, now, MinRTO) >= h.stalled+DataGiveUp
}

// inFlightLocked returns the first mark that has not arrived, or nil.
func (h *half) inFlightLocked(now time.Duration) *mark {
	for i := h.first; i < len(h.marks); i++ {
		if h.marks[i].at > now {
			return &h.marks[i]
		}
	}
	return nil
}

// holdLocked takes what is in flight off the wire.
func (h *half) holdLocked(now time.Duration, held bool) {
	h.last = min(h.last, now)
	for i := h.first; i < len(h.marks); i++ {
		if m := &h.marks[i]; m.at > now && m.at != never {
			m.at, m.held = never, held
		}
	}
}

// releaseLocked sends off what was held back: at once what the peer's kernel has, at the writer's next
// retransmission what was lost.
func (h *half) releaseLocked(now time.Duration, there, back *Shape) {
	for i := h.first; i < len(h.marks); i++ {
		m := &h.marks[i]
		if m.at == never {
			leaves := now
			if !m.held {
				leaves = retransmission(m.sent, now, MinRTO)
			}
			h.arriveLocked(m, leaves, there)
		}
		if h.readerGone {
			h.refuseLocked(h.nextArrival(m, now, there), back)
		}
	}
}

// nextArrival returns when a mark that nobody acknowledged arrives next.
func (h *half) nextArrival(m *mark, now time.Duration, there *Shape) time.Duration {
	if m.at > now {
		return m.at
	}
	return retransmission(m.sent, now, MinRTO) + roundUp(there.Latency)
}

// forgetLocked drops what the writer's kernel gave up on; the peer is told nothing.
func (h *half) forgetLocked() {
	h.finished = true
	h.marks = h.marks[:h.first]
	h.buf = h.buf[:h.off]
}

// read implements Conn.Read on the bytes that have arrived.
func (h *half) read(b []byte) (int, error) {
	h.reading <- struct{}{}
	defer func() { <-h.reading }()
	for {
		now := h.n.now()
		n, until, err := h.poll(b, now)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		h.sleep(until, now)
	}
}

// sleep waits for a kick or an instant.
func (h *half) sleep(until, now time.Duration) {
	if until == never {
		<-h.wake
		return
	}
	if h.timer == nil {
		h.timer = time.NewTimer(until - now)
	} else {
		h.timer.Reset(until - now)
	}
	select {
	case <-h.wake:
		h.timer.Stop()
	case <-h.timer.C:
	}
}

// poll copies what has arrived into b. If there is nothing, it returns the error that ends the stream, or
// else the instant at which to look again.
func (h *half) poll(b []byte, now time.Duration) (n int, until time.Duration, err error) {
	reset, gaveUp := h.reader.resetDue(), h.reader.out.givesUp()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return 0, 0, h.err
	}
	if now >= h.deadline {
		return 0, 0, os.ErrDeadlineExceeded
	}
	n, next := h.takeLocked(b, now)
	switch {
	case n > 0:
		return n, 0, nil
	case next.fin && next.at <= now:
		return 0, 0, io.EOF
	case now >= gaveUp:
		return 0, 0, syscall.ETIMEDOUT
	case now >= reset:
		return 0, 0, syscall.ECONNRESET
	}
	return 0, min(next.at, h.deadline, reset, gaveUp), nil
}

// takeLocked moves arrived bytes into b and returns the mark at which it stopped.
func (h *half) takeLocked(b []byte, now time.Duration) (n int, next mark) {
	for ; h.first < len(h.marks); h.first++ {
		m := &h.marks[h.first]
		if m.fin || m.at > now {
			return n, *m
		}
		c := copy(b[n:], h.buf[h.off:h.off+m.size])
		n += c
		h.off += c
		if m.size -= c; m.size > 0 {
			return n, *m
		}
	}
	h.buf, h.off = reuse(h.buf), 0
	h.marks, h.first = h.marks[:0], 0
	return n, mark{at: never}
}

// reuse returns an empty buffer, with the memory of b unless that is much.
func reuse(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}

// end makes every Read fail with err, and says whether bytes that still arrive are answered with a reset.
func (h *half) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.readerGone = true
	h.kick()
}

// setDeadline sets the reader's deadline.
func (h *half) setDeadline(at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = at
	h.kick()
}
