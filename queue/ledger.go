package queue

import (
	"context"
	"slices"
	"sync"
)

// A Ledger is the account of calls that tests and drills close: every accepted call must be done, dead, dropped, expired,
// in a queue or in a spool. Give the same Ledger to every client and worker, then call [Ledger.Check]. It keeps every call ID
// forever: it is not for production, where the counters tell the same approximately. A nil *Ledger records nothing.
type Ledger struct {
	mu    sync.Mutex // guards calls
	calls map[string]*ledgerCall
}

type ledgerCall struct {
	accepted, dropped, expired bool
	known                      bool   // done, says the idempotency store: by whom is not in this ledger
	dead                       Reason // "" while it is not
	runs, done                 int
	rules                      []Rule
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{calls: map[string]*ledgerCall{}} }

// A Rule is a known way for a call to have its effect twice.
type Rule string

const (
	RuleSendUnknown   Rule = "send of unknown outcome repeated" // one ID, two copies
	RuleLeaseLost     Rule = "lease lost while running"
	RuleDeleteFailed  Rule = "delete not confirmed"
	RuleFailed        Rule = "an earlier run failed" // it may have had part of its effect
	RuleStopped       Rule = "an earlier run was stopped by a drain or time-out"
	RuleCrashed       Rule = "its worker crashed" // recorded by tests that kill workers, with Ledger.Explain
	RuleResentNotGone Rule = "copy sent, original not deleted"
)

// A Holding can list the call IDs it holds: a [*Memory], a spool, an sqsqueue.
type Holding interface {
	Calls(ctx context.Context) ([]string, error)
}

// A LedgerReport is the result of [Ledger.Check]. Sets are sorted.
type LedgerReport struct {
	Accepted, Done, Dead, Dropped, Expired, Held int
	HeldBy                                       map[string]int
	Unverified                                   []string // holdings that did not answer: they hold an unknown number, not zero

	// Lost are accepted calls that are nowhere. With Unverified holdings they may be there.
	Lost []string

	// Repeated are calls whose handler completed more than once, with the rules that explain it.
	Repeated map[string][]Rule

	// Unexplained are those of Repeated without a rule.
	Unexplained []string
}

// Balanced reports that no call is lost and every repetition is explained.
func (r *LedgerReport) Balanced() bool { return len(r.Lost) == 0 && len(r.Unexplained) == 0 }

// looks is how often [Ledger.Check] looks for a call. One that is sent on is in both places for a moment, but a look that reads the place it comes to
// before and the one it leaves after sees it in neither. It is sent on twice at most, from a spool to a queue and from there to
// the dead-letter queue, so that the third look finds what exists.
const looks = 3

// Check closes the account against what the named holdings hold now: calls that were accepted before. Clients and workers may run: a
// call that is in no holding is looked for twice more before it is Lost, since it may have been on its way. Only what moves calls
// back, as [Redrive] does, must be at rest.
func (l *Ledger) Check(ctx context.Context, holdings map[string]Holding) LedgerReport {
	due := l.accepted()
	r := l.look(ctx, holdings, due)
	for n := 1; n < looks && len(holdings) > 0 && len(r.Lost) > 0; n++ {
		missed := map[string]bool{}
		for _, id := range r.Lost {
			missed[id] = true
		}
		r = l.look(ctx, holdings, missed)
	}
	return r
}

// accepted returns the calls that must be somewhere from now on.
func (l *Ledger) accepted() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]bool{}
	for id, c := range l.calls {
		if c.accepted {
			all[id] = true
		}
	}
	return all
}

// look closes the account once. Of the calls in due those that are nowhere are lost.
func (l *Ledger) look(ctx context.Context, holdings map[string]Holding, due map[string]bool) LedgerReport {
	r := LedgerReport{HeldBy: map[string]int{}, Repeated: map[string][]Rule{}}
	held := map[string]bool{}
	for name, h := range holdings {
		ids, err := h.Calls(ctx)
		if err != nil {
			r.Unverified = append(r.Unverified, name)
			continue
		}
		r.HeldBy[name] = len(ids)
		for _, id := range ids {
			held[id] = true
		}
	}
	r.Held = len(held)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, c := range l.calls {
		r.add(id, c, held[id] || !due[id])
	}
	slices.Sort(r.Unverified)
	slices.Sort(r.Lost)
	slices.Sort(r.Unexplained)
	return r
}

// add counts a call. found says that it need not be looked for.
func (r *LedgerReport) add(id string, c *ledgerCall, found bool) {
	count(&r.Accepted, c.accepted)
	count(&r.Done, c.done > 0 || c.known)
	count(&r.Dead, c.dead != "")
	count(&r.Dropped, c.dropped)
	count(&r.Expired, c.expired)
	if c.accepted && !found && c.done == 0 && !c.known && c.dead == "" && !c.dropped && !c.expired {
		r.Lost = append(r.Lost, id)
	}
	if c.done > 1 {
		r.Repeated[id] = c.rules
		if len(c.rules) == 0 {
			r.Unexplained = append(r.Unexplained, id)
		}
	}
}

func count(n *int, yes bool) {
	if yes {
		*n++
	}
}

// Accept records a call as accepted. Clients do it themselves; drills do it for calls of other programs.
func (l *Ledger) Accept(id string) { l.edit(id, func(c *ledgerCall) { c.accepted = true }) }

// Explain records that a call may have its effect twice for the given reason. Workers and clients do it themselves; tests
// that crash workers add [RuleCrashed].
func (l *Ledger) Explain(id string, rule Rule) {
	l.edit(id, func(c *ledgerCall) {
		if !slices.Contains(c.rules, rule) {
			c.rules = append(c.rules, rule)
		}
	})
}

func (l *Ledger) ran(id string)     { l.edit(id, func(c *ledgerCall) { c.runs++ }) }
func (l *Ledger) done(id string)    { l.edit(id, func(c *ledgerCall) { c.done++ }) }
func (l *Ledger) known(id string)   { l.edit(id, func(c *ledgerCall) { c.known = true }) }
func (l *Ledger) dropped(id string) { l.edit(id, func(c *ledgerCall) { c.dropped = true }) }
func (l *Ledger) expired(id string) { l.edit(id, func(c *ledgerCall) { c.expired = true }) }

func (l *Ledger) dead(id string, why Reason) { l.edit(id, func(c *ledgerCall) { c.dead = why }) }

func (l *Ledger) edit(id string, f func(*ledgerCall)) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[id]
	if c == nil {
		c = &ledgerCall{}
		l.calls[id] = c
	}
	f(c)
}

// Dead returns the calls that are dead, and why.
func (l *Ledger) Dead() map[string]Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]Reason{}
	for id, c := range l.calls {
		if c.dead != "" {
			all[id] = c.dead
		}
	}
	return all
}

// Rules returns the known reasons for which the call may have had its effect twice.
func (l *Ledger) Rules(id string) []Rule {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.calls[id]; c != nil {
		return slices.Clone(c.rules)
	}
	return nil
}

// Runs returns how often the call's handler was started.
func (l *Ledger) Runs(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.calls[id]; c != nil {
		return c.runs
	}
	return 0
}
