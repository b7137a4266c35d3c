package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/failover"
)

// Config says how the drill goes. The zero value of a field is the default of the command, for the short settings of a minute's drill.
type Config struct {
	Rate     float64       // orders a second; 0 = 200
	Clients  int           // among whom they are spread; 0 = 100
	Before   time.Duration // of peace; 0 = 3 s
	Outage   time.Duration // 0 = 10 s
	After    time.Duration // of peace at the end; 0 = 2 s
	Give     time.Duration // to open, to move, to validate a move, to rebuild and to move back, each at most; 0 = 1 min
	Settle   time.Duration // deferred calls, at the end; 0 = 20 s
	RTO, RPO time.Duration // promised; 0 = 15 s, and 60 s
	Pause    time.Duration // of orders in the planned move home, promised; 0 = RTO
	Approve  bool          // a person approves the move
	Progress func(Event)   // told of each step; nil = nobody
}

func (c Config) withDefaults() Config {
	if c.Rate == 0 {
		c.Rate = 200
	}
	if c.Clients == 0 {
		c.Clients = 100
	}
	for d, byDefault := range map[*time.Duration]time.Duration{
		&c.Before: 3 * time.Second, &c.Outage: 10 * time.Second, &c.After: 2 * time.Second,
		&c.Give: time.Minute, &c.Settle: 20 * time.Second, &c.RTO: 15 * time.Second, &c.RPO: time.Minute,
	} {
		if *d == 0 {
			*d = byDefault
		}
	}
	if c.Pause == 0 {
		c.Pause = c.RTO
	}
	return c
}

func (c Config) validate() error {
	for _, field := range []struct {
		name  string
		value time.Duration
	}{{"Before", c.Before}, {"Outage", c.Outage}, {"After", c.After}, {"Give", c.Give}, {"Settle", c.Settle}, {"RTO", c.RTO}, {"RPO", c.RPO}, {"Pause", c.Pause}} {
		if field.value < 0 {
			return fmt.Errorf("drill: Config.%s: %v is negative", field.name, field.value)
		}
	}
	if !(c.Rate >= 0) || math.IsInf(c.Rate, 1) || c.Clients < 0 {
		return fmt.Errorf("drill: Config.Rate %v or Clients %d is negative or no number", c.Rate, c.Clients)
	}
	return nil
}

// The people of the drill. What they do needs two.
const (
	operator = "ann"
	second   = "bob"
)

// pollEvery is how often the drill looks at the controllers.
const pollEvery = 100 * time.Millisecond

// A script is one drill under way.
type script struct {
	System
	cfg      Config
	users    *users
	events   []Event
	lost     map[string]loss // orders that only a lost Region had
	moves    []failover.Transition
	mishaps  map[string]int // of a soak, by name; nil in a drill
	lostAt   time.Duration  // on the World's clock
	approved bool           // a move is, and the writer is not there yet
	found    time.Duration  // when the standby wrote
	away     time.Duration  // until when the standby was to write: the way back was asked for
	home     time.Duration  // when the home Region wrote again
}

// Run runs the drill to its end. It returns an error if the drill could not be played; what the system did wrong is in the Result.
// If ctx ends, the faults end with it and the drill is not played to its end.
func Run(ctx context.Context, s System, cfg Config) (*Result, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	d := newScript(s, cfg)
	if err := d.play(ctx); err != nil {
		return nil, err
	}
	return d.result(ctx)
}

func newScript(s System, cfg Config) *script {
	return &script{System: s, cfg: cfg.withDefaults(), users: newUsers(s.Users), lost: map[string]loss{}}
}

// play is the drill, step by step.
func (d *script) play(ctx context.Context) error {
	if err := d.await(ctx, "a writer", func() bool { return d.writer() == d.Home }); err != nil {
		return err
	}
	d.tell("%s writes, %s stands by", d.Home, d.Standby)
	load := d.users.load(d.World, d.cfg.Clients, d.cfg.Rate, 24*time.Hour)
	defer end(ctx, load)
	d.tell("load: %.0f orders/s and as many reads, open, Poisson", d.cfg.Rate)
	if err := sleep(ctx, d.cfg.Before); err != nil {
		return err
	}
	undo, err := d.Lose()
	if err != nil {
		return fmt.Errorf("drill: the loss of %s: %w", d.Home, err)
	}
	defer undo()
	lostAt := time.Now()
	d.lostAt = d.World.Elapsed()
	d.tell("%s is gone", d.Home)
	if err := d.moveAway(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, d.cfg.Outage-time.Since(lostAt)); err != nil {
		return err
	}
	undo()
	d.tell("%s is back", d.Home)
	if err := d.moveBack(ctx); err != nil {
		return err
	}
	return sleep(ctx, d.cfg.After)
}

// end stops the load, and waits for those who are under way unless the drill was interrupted.
func end(ctx context.Context, load []*drtest.Traffic) {
	var under sync.WaitGroup
	for _, l := range load {
		under.Go(l.Stop)
	}
	if ctx.Err() == nil {
		under.Wait()
	}
}

// moveAway waits until the standby writes. The group moves by itself, or after a person's word.
func (d *script) moveAway(ctx context.Context) error {
	var refused error
	err := d.await(ctx, d.Standby+" to write", func() bool {
		if d.cfg.Approve && d.writer() == "" {
			refused = d.ask(ctx, d.Standby, false)
		}
		return d.writer() == d.Standby
	})
	if err != nil {
		return errors.Join(err, refused, errors.New(d.refused(d.Standby)))
	}
	d.found = d.World.Elapsed()
	d.moved(ctx, d.Standby)
	return nil
}

// ask does what two people do: one asks for a move, the other approves it the next time. What a guard refuses, or the group takes back, is
// asked for again; another move, which the group may ask people for on a busy machine, is denied. A process of the standby hears them.
func (d *script) ask(ctx context.Context, to failover.Region, planned bool) error {
	c := d.Controllers(d.Standby)
	if len(c) == 0 {
		return fmt.Errorf("drill: no process runs in %s", d.Standby)
	}
	s := c[0].Status()
	switch {
	case s.Transition == nil:
		d.wentBack(s.Log)
		_, err := c[0].Failover(ctx, to, failover.Request{Reason: "drill: to " + to, By: operator, Planned: planned})
		return d.told(err, "%s asked for %s", operator, to)
	case s.Phase == failover.PhaseAwaitApproval && (s.Transition.To != to || s.Transition.Planned != planned):
		err := c[0].Deny(ctx, s.Transition.ID, second, "drill: not the move that it needs")
		return d.told(err, "%s denied another move to %s: %s", second, s.Transition.To, s.Transition.Reason)
	case s.Phase == failover.PhaseAwaitApproval:
		_, err := c[0].Approve(ctx, s.Transition.ID, second)
		d.approved = d.approved || err == nil
		return d.told(err, "%s approved", second)
	}
	return nil // under way
}

// wentBack tells why a move that both people wanted is not under way any more, as the audit log has it.
func (d *script) wentBack(log []json.RawMessage) {
	if !d.approved || len(log) == 0 {
		return
	}
	d.approved = false
	var last struct{ Why string }
	if json.Unmarshal(log[len(log)-1], &last) == nil {
		d.tell("it went back: %s", last.Why)
	}
}

// told tells of what was done without err.
func (d *script) told(err error, format string, args ...any) error {
	if err == nil {
		d.tell(format, args...)
	}
	return err
}

func (d *script) refused(r failover.Region) string {
	s := d.status(r)
	return fmt.Sprintf("phase %v, health %v, refused: %s", s.Phase, s.Health, s.Refused)
}

// moveBack rebuilds the lost Region's database and moves the writer back as planned work.
func (d *script) moveBack(ctx context.Context) error {
	var failed error
	var lost []string
	err := d.await(ctx, "the rebuild of "+d.Home, func() bool {
		lost, failed = d.Rebuild(ctx)
		return failed == nil
	})
	if err != nil {
		return errors.Join(err, failed)
	}
	for _, id := range lost {
		d.lost[id] = loss{d.lostAt, exposureOf(d.moves, d.Standby)}
	}
	d.tell("%s is a copy of %s again; %d orders were only there", d.Home, d.Standby, len(lost))
	d.away = d.World.Elapsed()
	err = d.await(ctx, d.Home+" to write again", func() bool {
		if d.writer() == d.Standby {
			failed = d.ask(ctx, d.Home, true)
		}
		return d.writer() == d.Home && d.status(d.Home).Transition == nil
	})
	if err != nil {
		return errors.Join(err, failed, errors.New(d.refused(d.Standby)))
	}
	d.home = d.World.Elapsed()
	d.moved(ctx, d.Home)
	return nil
}

// moved notes a finished move, and what its phases took.
func (d *script) moved(ctx context.Context, to failover.Region) {
	d.approved = false
	d.tell("%s writes", to)
	t := d.status(to).Last
	known := func() bool { t = d.status(to).Last; return t != nil && t.To == to }
	if !until(ctx, pollEvery, d.cfg.Give, known) {
		return
	}
	d.moves = append(d.moves, *t)
	phases := ""
	for _, p := range t.Took {
		phases += fmt.Sprintf(", %s %v", p.Phase, p.Took.Round(time.Millisecond))
	}
	d.tell("the move to %s is complete%s", to, phases)
	d.World.Mark(history.MarkSwitched, to, fmt.Sprintf("move %s, epoch %d", t.ID, t.Epoch+2))
}

func (d *script) await(ctx context.Context, what string, holds func() bool) error {
	if until(ctx, pollEvery, d.cfg.Give, holds) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("drill: waited %v for %s", d.cfg.Give, what)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// An Event is a step of the drill.
type Event struct {
	At   time.Duration `json:"at"` // since the World began
	Text string        `json:"text"`
}

func (d *script) tell(format string, args ...any) {
	e := Event{d.World.Elapsed(), fmt.Sprintf(format, args...)}
	d.events = append(d.events, e)
	d.World.Mark("drill", "drill", e.Text)
	if d.cfg.Progress != nil {
		d.cfg.Progress(e)
	}
}
