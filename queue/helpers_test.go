package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type charge struct {
	Order string `json:"order"`
	Cents int    `json:"cents"`
}

var (
	billing  = Define[charge]("billing.charge.v1")
	repeated = Define[charge]("billing.mail.v1", Repeatable())
	errPlain = errors.New("plain")
)

// marked is an error with the outcome methods.
type marked struct{ notRun, unknown, permanent bool }

func (m marked) Error() string        { return "marked" }
func (m marked) NotRun() bool         { return m.notRun }
func (m marked) OutcomeUnknown() bool { return m.unknown }
func (m marked) Permanent() bool      { return m.permanent }

var (
	notRun    = marked{notRun: true}
	unknown   = marked{unknown: true}
	permanent = marked{permanent: true}
)

// bubble runs f in a synctest bubble, twice: nothing may be left over from the first.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
	synctest.Test(t, f)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// station is a client and a worker on one transport.
type station struct {
	t      *testing.T
	ctx    context.Context
	memory *Memory
	client *Client
	ledger *Ledger
	mux    *Mux
	worker *Worker
	stop   context.CancelFunc
	done   chan error
}

func newStation(t *testing.T, config MemoryConfig) *station {
	m := must(NewMemory(config))
	s := &station{t: t, ctx: t.Context(), memory: m, ledger: NewLedger(), mux: NewMux()}
	s.client = must(NewClient(m, ClientConfig{Ledger: s.ledger}))
	return s
}

// run starts a worker; close ends it.
func (s *station) run(config WorkerConfig) { s.runOn(s.memory, config) }

func (s *station) runOn(tr Transport, config WorkerConfig) {
	config.Ledger = s.ledger
	s.worker = must(NewWorker(tr, s.mux, config))
	ctx, stop := context.WithCancel(s.ctx)
	s.stop, s.done = stop, make(chan error, 1)
	go func() { s.done <- s.worker.Run(ctx) }()
}

func (s *station) close() {
	s.t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("Run = %v", err)
	}
	s.balanced()
}

func (s *station) balanced() {
	s.t.Helper()
	r := s.ledger.Check(s.ctx, map[string]Holding{"queue": s.memory})
	if !r.Balanced() {
		s.t.Errorf("ledger: lost %v, unexplained %v", r.Lost, r.Unexplained)
	}
}

func (s *station) send(options ...Option) Receipt {
	s.t.Helper()
	r, err := billing.Defer(s.ctx, s.client, charge{"o-1", 42}, options...)
	if err != nil {
		s.t.Fatalf("Defer = %v", err)
	}
	return r
}

// letters returns the reasons in the dead-letter queue.
func (s *station) letters() (reasons []string) {
	s.t.Helper()
	got, err := s.memory.DeadLetters().Receive(s.ctx, ReceiveRequest{Max: 10, Lease: time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range got {
		reasons = append(reasons, m.Attributes[AttributeReason])
	}
	s.memory.DeadLetters().Release(s.ctx, releasesOf(got))
	return reasons
}

func releasesOf(messages []*Message) (all []Release) {
	for _, m := range messages {
		all = append(all, Release{Message: m})
	}
	return all
}

// A crowd is a handler whose calls take a second. It counts them, and how many run at a time at most.
type crowd struct{ most, now, runs atomic.Int64 }

func (c *crowd) run(context.Context, charge) error {
	now, most := c.now.Add(1), c.most.Load()
	for now > most && !c.most.CompareAndSwap(most, now) {
		most = c.most.Load()
	}
	time.Sleep(time.Second)
	c.now.Add(-1)
	c.runs.Add(1)
	return nil
}

// journal records when things happened, relative to its making.
type journal struct {
	mu    sync.Mutex
	began time.Time
	at    []time.Duration
	what  []string
}

func newJournal() *journal { return &journal{began: time.Now()} }

func (j *journal) add(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at = append(j.at, time.Since(j.began))
	j.what = append(j.what, what)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.what)
}

func (j *journal) times() []time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.at)
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.what)
}
