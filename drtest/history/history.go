package history

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Outcome is how an operation ended for its caller.
type Outcome uint8

// The outcomes. A call that timed out, or whose connection broke, may have had its effect: it is unknown,
// never failed.
const (
	OutcomeOK Outcome = iota
	OutcomeFailed
	OutcomeUnknown
)

// String returns the name of the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case OutcomeOK:
		return "ok"
	case OutcomeFailed:
		return "failed"
	}
	return "unknown"
}

// An Op is one operation of a load.
type Op struct {
	Class       string        // what it does, as "POST /orders"
	Load        string        // the load it belongs to
	Client, Seq int           // which client, and its how-manieth arrival
	Start, End  time.Duration // Start is when it was due, whether or not the client was late
	Outcome     Outcome
	Degraded    bool          // the caller was served something less
	Region      string        // whose server answered last; "" if none or not known
	Attempts    int           // requests sent for it
	Weight      float64       // how many operations it stands for in a thinned load
	Age         time.Duration // how old what the caller was given was, by its own word
	Err         string
}

// An Ack is a promise made to a caller: what it names must survive.
type Ack struct {
	Key, Class string
	At         time.Duration
}

// An Effect is something that happened in the world and must not happen twice, as a charge.
type Effect struct {
	Kind, Key string
	At        time.Duration
}

// A Write is a write that a store of a replication group committed.
type Write struct {
	Group, Store, Key string
	Epoch             uint64 // of the writer; 0 if it gave none
	At                time.Duration
}

// A Read is what a store of a replication group answered that is not the group's writer.
type Read struct {
	Group, Store, Key string
	Seen              time.Duration // commit instant of the value that was read; -1 = there was none
	At                time.Duration
}

// A Call is one call of a shared object, for checks of its consistency. Input and Output must not change.
type Call struct {
	Object, Key   string
	Client        int
	Input, Output any
	Start, End    time.Duration
	Known         bool // false: it may have happened, then or later, or not at all
}

// A Fault is one stay of an injected fault.
type Fault struct {
	Event    int // index in the scenario
	Text     string
	Kind     string
	Target   string
	From, To time.Duration
	Ended    bool // false: it lasted to the end, To is the end
}

// The kinds of marks the simulation makes. Others are free.
const (
	MarkDetected = "detected" // somebody noticed the fault
	MarkDecided  = "decided"  // somebody decided to move
	MarkSwitched = "switched" // traffic or writes go elsewhere
	MarkPromoted = "promoted" // a store became writable
	MarkEpoch    = "epoch"    // a followed process may write under a new epoch
	MarkDeposed  = "deposed"  // a followed process may no longer write
	MarkProcess  = "process"  // a process started, died or ended
	MarkLoad     = "load"     // a load started or ended
	MarkScenario = "scenario" // an event of a scenario never happened, or all were ended
	MarkBreaker  = "breaker"  // a circuit breaker changed; Name is the breaker, Text begins with its new state
)

// A Mark is a moment worth a line in a timeline.
type Mark struct {
	Kind, Name, Text string
	At               time.Duration
}

// A Term is a time in which a followed process said that it may write under an epoch.
type Term struct {
	Name     string // "region/instance", or the name of a Region
	Epoch    uint64
	From, To time.Duration
}

// A Sample is one reading of a gauge.
type Sample struct {
	At    time.Duration
	Value float64
}

// A History is everything that was recorded. It is safe for concurrent use while it is recorded; the slices
// its methods return must not be changed and are complete after [History.Finish].
type History struct {
	mu       sync.Mutex // guards all below; never held while waiting
	hash     hash.Hash
	fixed    string // the digest of a snapshot
	scratch  []byte
	trace    func(line []byte)
	last     instant
	ties     int
	firstTie string

	ops     []Op
	acks    []Ack
	effects []Effect
	writes  []Write
	faults  []Fault
	marks   []Mark
	terms   map[string]int // name → index of the open term
	closed  []Term
	samples map[string][]Sample
	calls   []Call
	calling map[int]Call // under way
	begun   int          // calls
	reads   []Read
	looked  map[string]int             // group → reads of its stores in all
	deleted map[groupKey]time.Duration // when it was last deleted
	sent    map[string]*series         // requests by host
	content map[string]content         // what stores held at the end
	alive   map[string]map[string]bool // group → keys in the store that is its writer at the end
	groups  map[string]string          // store → group
	gone    Cursor                     // how many records were forgotten
	end     time.Duration
	done    bool // Finish was called
}

type instant struct {
	at     time.Duration
	source string
	n, m   int
	own    bool // an act of the simulation itself
	seen   bool
}

// same reports whether two instants are of one source.
func (a instant) same(b instant) bool { return a.source == b.source && a.n == b.n && a.m == b.m }

// New returns an empty History.
func New() *History {
	return &History{hash: sha256.New(), terms: map[string]int{}, samples: map[string][]Sample{}, sent: map[string]*series{}, content: map[string]content{}, alive: map[string]map[string]bool{}, groups: map[string]string{}, looked: map[string]int{}, deleted: map[groupKey]time.Duration{}, calling: map[int]Call{}}
}

// noteLocked adds a record to the hash.
func (h *History) noteLocked(kind string, at time.Duration, fields ...string) {
	b := append(h.scratch[:0], kind...)
	b = strconv.AppendInt(append(b, '|'), int64(at), 10)
	for _, f := range fields {
		b = append(append(b, '|'), f...)
	}
	b = append(b, '\n')
	h.scratch = b
	_, _ = h.hash.Write(b) // never fails
	if h.trace != nil {
		h.trace(b)
	}
}

// Trace hands every later record to f as well, as the line that goes into the hash, with its line feed; requests, which
// do not go into the hash, have lines too. f is called under a lock, must not wait and must not keep the line.
func (h *History) Trace(f func(line []byte)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trace = f
}

// Occur notes that a source of the simulation acts at an instant, and reports false if another source of the
// simulation did so in the same nanosecond, which its lanes rule out. A source is a name and two numbers,
// as a load, a client and an arrival.
func (h *History) Occur(at time.Duration, source string, n, m int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.occurLocked(instant{at, source, n, m, true, true})
}

// occurLocked counts ties; it returns false for one between two acts of the simulation.
func (h *History) occurLocked(now instant) bool {
	was := h.last
	h.last = now
	if !was.seen || was.at != now.at || was.same(now) {
		return true
	}
	h.ties++
	if h.firstTie == "" {
		h.firstTie = fmt.Sprintf("%s %d/%d and %s %d/%d at %v", was.source, was.n, was.m, now.source, now.n, now.m, now.at)
	}
	return !was.own || !now.own
}

// AddOp records the end of an operation.
func (h *History) AddOp(op Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return
	}
	h.occurLocked(instant{op.End, op.Load, op.Client, op.Seq, false, true})
	h.noteLocked("op", op.End, op.Class, op.Load, strconv.Itoa(op.Client), strconv.Itoa(op.Seq),
		strconv.FormatInt(int64(op.Start), 10), op.Outcome.String(), op.Region)
	h.ops = append(h.ops, op)
}

// AddAck records that a caller was told that key is safe.
func (h *History) AddAck(a Ack) { record(h, &h.acks, a, "ack", a.At, a.Key) }

// AddEffect records an effect.
func (h *History) AddEffect(e Effect) { record(h, &h.effects, e, "effect", e.At, e.Kind, e.Key) }

// AddWrite records a committed write.
func (h *History) AddWrite(w Write) { record(h, &h.writes, w, "write", w.At, w.Store, w.Key) }

// AddCall records a call.
func (h *History) AddCall(c Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addCallLocked(c)
}

func (h *History) addCallLocked(c Call) {
	if !h.done {
		h.noteLocked("call", c.End, c.Object, c.Key, fmt.Sprint(c.Input), fmt.Sprint(c.Output))
		h.calls = append(h.calls, c)
	}
}

// BeginCall records that a call begins, and returns what records its end: with what is known of it then, or with nil if it did nothing. A
// call that has not ended when the history does may have happened, and is among the calls as such.
func (h *History) BeginCall(c Call) (end func(last *Call)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.begun
	h.begun++
	if !h.done {
		h.calling[n] = c
	}
	return func(last *Call) {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.calling, n)
		if last != nil {
			h.addCallLocked(*last)
		}
	}
}

// Calls returns the calls in the order in which they ended.
func (h *History) Calls() []Call { return read(h, &h.calls) }

// AddMark records a moment.
func (h *History) AddMark(m Mark) { record(h, &h.marks, m, "mark", m.At, m.Kind, m.Name, m.Text) }

// record adds a record to its list and to the hash.
func record[T any](h *History, list *[]T, x T, kind string, at time.Duration, fields ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return
	}
	h.noteLocked(kind, at, fields...)
	*list = append(*list, x)
}

// FaultStarts records the start of a fault and returns a number for [History.FaultEnds].
func (h *History) FaultStarts(f Fault) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return -1
	}
	h.noteLocked("fault", f.From, f.Text)
	h.faults = append(h.faults, f)
	return len(h.faults) - 1
}

// FaultEnds records the end of a fault.
func (h *History) FaultEnds(n int, at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return
	}
	h.noteLocked("heal", at, h.faults[n].Text)
	h.faults[n].To, h.faults[n].Ended = at, true
}

func (h *History) markLocked(m Mark) {
	h.noteLocked("mark", m.At, m.Kind, m.Name, m.Text)
	h.marks = append(h.marks, m)
}

// SetEpoch records at an instant that a followed process may write under an epoch since another, not later, one;
// 0 is none. It reports whether that is a change.
func (h *History) SetEpoch(name string, epoch uint64, at, since time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return false
	}
	if i, open := h.terms[name]; open {
		if h.closed[i].Epoch == epoch {
			return false
		}
		h.closed[i].To = max(since, h.closed[i].From)
		delete(h.terms, name)
	} else if epoch == 0 {
		return false
	}
	if epoch == 0 {
		h.markLocked(Mark{MarkDeposed, name, "may no longer write", at})
		return true
	}
	h.terms[name] = len(h.closed)
	h.closed = append(h.closed, Term{Name: name, Epoch: epoch, From: since})
	h.markLocked(Mark{MarkEpoch, name, fmt.Sprintf("may write under epoch %d", epoch), at})
	return true
}

// AddSample records a reading of a gauge.
func (h *History) AddSample(gauge string, s Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done {
		return
	}
	h.samples[gauge] = append(h.samples[gauge], s)
}

// AddStore records to which replication group a store belongs.
func (h *History) AddStore(store, group string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups[store] = group
}

// GroupOf returns the replication group of a store, or "".
func (h *History) GroupOf(store string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.groups[store]
}

// SetSurvivors records what the writer of a replication group holds at the end.
func (h *History) SetSurvivors(group string, keys map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive[group] = keys
}

// Finish records the end: open faults and terms last until then, and what comes later is dropped. It would only
// tell how the World was taken down.
func (h *History) Finish(at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end, h.done = at, true
	for i := range h.faults {
		if !h.faults[i].Ended {
			h.faults[i].To = at
		}
	}
	for _, i := range h.terms {
		h.closed[i].To = at
	}
	clear(h.terms)
	for _, n := range slices.Sorted(maps.Keys(h.calling)) {
		c := h.calling[n]
		c.Output, c.End, c.Known = nil, at, false
		h.calls = append(h.calls, c)
	}
	clear(h.calling)
}

// Hash returns a digest of every record so far, in order.
func (h *History) Hash() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.digestLocked()
}

func (h *History) digestLocked() string {
	if h.fixed != "" {
		return h.fixed
	}
	return hex.EncodeToString(h.hash.Sum(nil)[:16])
}

// Ties returns how many records fell into the same nanosecond as one of another source, and the first pair.
func (h *History) Ties() (n int, first string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ties, h.firstTie
}

// Ops returns the operations in the order in which they ended.
func (h *History) Ops() []Op { return read(h, &h.ops) }

// Acks returns what callers were promised, in order.
func (h *History) Acks() []Ack { return read(h, &h.acks) }

// Effects returns the effects in order.
func (h *History) Effects() []Effect { return read(h, &h.effects) }

// Writes returns the committed writes of all stores in order.
func (h *History) Writes() []Write { return read(h, &h.writes) }

// Faults returns the faults in the order in which they started.
func (h *History) Faults() []Fault { return read(h, &h.faults) }

// Marks returns the marks in order.
func (h *History) Marks() []Mark { return read(h, &h.marks) }

// Terms returns the terms of followed processes in the order in which they started.
func (h *History) Terms() []Term { return read(h, &h.closed) }

// Samples returns the readings of a gauge in order, nil if there is none of the name.
func (h *History) Samples(gauge string) []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.samples[gauge]
}

// Gauges returns the names of the gauges, in order.
func (h *History) Gauges() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.samples))
}

// Survived reports whether the writer of a replication group holds a key at the end; known is false if
// there is no such group.
func (h *History) Survived(group, key string) (survived, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys, known := h.alive[group]
	return keys[key], known
}

// End returns when the World ended.
func (h *History) End() time.Duration { return read(h, &h.end) }

// read returns a field under the lock.
func read[T any](h *History, field *T) T {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *field
}
