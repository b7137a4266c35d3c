package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A Filter picks dead letters. Zero fields match all; every other one must match.
type Filter struct {
	Calls   []string // call names
	Reasons []Reason
	IDs     []string  // call IDs
	Since   time.Time // dead at or after
	Until   time.Time // dead before
}

// RedriveConfig configures [Redrive].
type RedriveConfig struct {
	// By and Reason say who redrives and why, for the audit record. Required.
	By, Reason string

	// DryRun lists what would be redriven and changes nothing; it counts as a receive of each letter.
	DryRun bool

	// PerSecond is the most letters sent in a second. Zero means 50.
	PerSecond int

	// Limit ends after that many letters. Zero means all.
	Limit int

	// AcceptRerun also redrives calls dead as too_old or unknown_outcome, whose effect may be there already: their age
	// counts from now. A guard that holds an unknown outcome still says so until it is reconciled. By and
	// Reason go into the call.
	AcceptRerun bool

	// Audit receives one JSON line per letter and one at the end. Required unless DryRun.
	Audit io.Writer

	// ServerSide lets the queue service move everything by itself (SQS: StartMessageMoveTask), without a filter, a
	// record per letter or AcceptRerun. from must be a [Mover].
	ServerSide bool
}

// A Mover can move all its messages to another queue by itself.
type Mover interface {
	Move(ctx context.Context, to Transport, perSecond int) (task string, err error)
}

// A RedriveReport says what [Redrive] did.
type RedriveReport struct {
	Seen, Redriven, Skipped, Refused, Failed int
	CallIDs                                  []string // redriven, or matched in a dry run
	Task                                     string   // of a ServerSide move
}

// redriveLease is how long letters are held that are not redriven, so that a pass sees each once.
const redriveLease = 10 * time.Minute

// Redrive sends dead letters of from to another queue, in any Region, with their attempts reset, and deletes them there. A
// crash in between leaves a letter in both queues, under one call ID. Letters that do not match are given back at the
// end. It returns when from has no more, at the Limit, or when ctx ends.
//
// A permanent failure and exhausted attempts are forgotten by the workers' Once and run again. Calls dead as too_old or
// unknown_outcome are refused without AcceptRerun.
func Redrive(ctx context.Context, from, to Transport, filter Filter, config RedriveConfig) (RedriveReport, error) {
	if err := config.check(filter); err != nil {
		return RedriveReport{}, err
	}
	if config.ServerSide {
		return redriveServerSide(ctx, from, to, config)
	}
	r := redriver{from: from, to: to, filter: filter, config: config, seen: map[string]bool{}, pace: time.Second / time.Duration(config.PerSecond)}
	err := r.run(ctx)
	err = errors.Join(err, r.giveBack(ctx))
	return r.report, errors.Join(err, r.audit(auditRecord{Event: "redrive", Redriven: r.report.Redriven, Skipped: r.report.Skipped, Refused: r.report.Refused, Failed: r.report.Failed}))
}

func (c *RedriveConfig) check(f Filter) error {
	setDefault(&c.PerSecond, 50)
	switch {
	case c.By == "" || c.Reason == "":
		return errors.New("queue: RedriveConfig: By and Reason are required")
	case c.Audit == nil && !c.DryRun:
		return errors.New("queue: RedriveConfig.Audit is required")
	case c.PerSecond < 0 || c.Limit < 0:
		return errors.New("queue: RedriveConfig: negative PerSecond or Limit")
	case c.ServerSide && (!f.zero() || c.DryRun || c.AcceptRerun || c.Limit > 0):
		return errors.New("queue: RedriveConfig.ServerSide moves everything: no filter, Limit, DryRun or AcceptRerun")
	}
	return nil
}

func (f *Filter) zero() bool {
	return len(f.Calls) == 0 && len(f.Reasons) == 0 && len(f.IDs) == 0 && f.Since.IsZero() && f.Until.IsZero()
}

func redriveServerSide(ctx context.Context, from, to Transport, config RedriveConfig) (RedriveReport, error) {
	m, ok := from.(Mover)
	if !ok {
		return RedriveReport{}, fmt.Errorf("queue: Redrive: %T cannot move by itself", from)
	}
	task, err := m.Move(ctx, to, config.PerSecond)
	r := redriver{config: config}
	record := auditRecord{Event: "move started", Task: task}
	if err != nil {
		record.Error = err.Error()
	}
	return RedriveReport{Task: task}, errors.Join(err, r.audit(record))
}

type redriver struct {
	from, to Transport
	filter   Filter
	config   RedriveConfig
	report   RedriveReport
	seen     map[string]bool
	held     []*Message
	pace     time.Duration
}

// run reads from until two polls bring nothing new.
func (r *redriver) run(ctx context.Context) error {
	for empty := 0; empty < 2 && !r.full(); {
		got, err := r.from.Receive(ctx, ReceiveRequest{Max: max(1, r.from.Limits().Batch), Wait: time.Second, Lease: redriveLease})
		if err != nil {
			return fmt.Errorf("queue: redrive: %w", err)
		}
		empty++
		for i, m := range got {
			if r.full() {
				r.held = append(r.held, got[i:]...)
				break
			}
			if r.seen[m.ID] { // its lease ended while others were sent; of those some may not have been seen yet
				r.held = append(r.held, m)
				continue
			}
			empty = 0
			r.seen[m.ID] = true
			if err := r.letter(ctx, m); err != nil {
				r.held = append(r.held, got[i:]...)
				return err
			}
		}
	}
	return nil
}

func (r *redriver) full() bool {
	return r.config.Limit > 0 && len(r.report.CallIDs) >= r.config.Limit
}

// letter deals with one. Its errors end the redrive.
func (r *redriver) letter(ctx context.Context, m *Message) error {
	r.report.Seen++
	var e Envelope
	raw := e.Decode(m.Body) != nil
	d := deathOf(m, &e)
	id := callIDOf(m)
	if !r.filter.matches(&e, d, id) {
		r.report.Skipped++
		r.held = append(r.held, m)
		return nil
	}
	if !r.config.AcceptRerun && (d.Reason == ReasonTooOld || d.Reason == ReasonUnknownOutcome) {
		r.report.Refused++
		r.held = append(r.held, m)
		return r.audit(auditRecord{Event: "refused", CallID: id, Call: e.Name, Dead: d.Reason, Error: "needs AcceptRerun"})
	}
	r.report.CallIDs = append(r.report.CallIDs, id)
	if r.config.DryRun {
		r.held = append(r.held, m)
		return nil
	}
	err := r.send(ctx, m, e, id, raw)
	record := auditRecord{Event: "redriven", CallID: id, Call: e.Name, Dead: d.Reason}
	if err != nil {
		r.report.Failed++
		r.held = append(r.held, m)
		record.Event, record.Error = "failed", err.Error()
	} else {
		r.report.Redriven++
	}
	if err := r.audit(record); err != nil {
		return err
	}
	if !sleep(ctx, r.pace) {
		return context.Cause(ctx)
	}
	return nil
}

// send puts the call into to and deletes the letter.
func (r *redriver) send(ctx context.Context, m *Message, e Envelope, id string, raw bool) error {
	body := m.Body
	if m.Fetch != nil { // the payload may be kept in another Region than to's
		whole, err := m.Fetch(ctx)
		if err != nil {
			return err
		}
		if err := e.Decode(whole); err != nil {
			return err
		}
	}
	if !raw {
		e.Death, e.Attempt, e.Forwards = nil, 0, 0
		e.Resume, e.Parked = time.Time{}, time.Time{}
		e.Redriven = time.Now().UTC()
		if r.config.AcceptRerun {
			e.RerunBy = truncate(r.config.By+": "+r.config.Reason, 500)
		}
		body = string(e.Append(nil))
	}
	out := Outgoing{CallID: id, DedupID: copyID(id, m), Body: body, Group: m.Group, Tenant: m.Tenant, Expires: e.Expires}
	if result := r.to.Send(ctx, []Outgoing{out})[0]; result.Err != nil {
		return result.Err
	}
	return errorAt(r.from.Delete(ctx, []*Message{m}), 0)
}

// deathOf reads the death certificate, and for a body without one the attributes.
func deathOf(m *Message, e *Envelope) Death {
	if e.Death != nil {
		return *e.Death
	}
	return Death{Reason: Reason(m.Attributes[AttributeReason]), At: m.Sent}
}

func (f *Filter) matches(e *Envelope, d Death, id string) bool {
	return (len(f.Calls) == 0 || slices.Contains(f.Calls, e.Name)) &&
		(len(f.Reasons) == 0 || slices.Contains(f.Reasons, d.Reason)) &&
		(len(f.IDs) == 0 || slices.Contains(f.IDs, id)) &&
		(f.Since.IsZero() || !d.At.Before(f.Since)) &&
		(f.Until.IsZero() || d.At.Before(f.Until))
}

// giveBack returns what was held, also after ctx ended.
func (r *redriver) giveBack(ctx context.Context) error {
	releases := make([]Release, len(r.held))
	for i, m := range r.held {
		releases[i].Message = m
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	for batch := range chunks(releases, max(1, r.from.Limits().Batch)) {
		for _, err := range r.from.Release(ctx, batch) {
			if err != nil && !errors.Is(err, ErrLeaseLost) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// An auditRecord is one line of RedriveConfig.Audit.
type auditRecord struct {
	Time     time.Time `json:"time"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Event    string    `json:"event"`
	CallID   string    `json:"call_id,omitempty"`
	Call     string    `json:"call,omitempty"`
	Dead     Reason    `json:"dead,omitempty"`
	Task     string    `json:"task,omitempty"`
	Error    string    `json:"error,omitempty"`
	Redriven int       `json:"redriven,omitempty"`
	Skipped  int       `json:"skipped,omitempty"`
	Refused  int       `json:"refused,omitempty"`
	Failed   int       `json:"failed,omitempty"`
}

func (r *redriver) audit(record auditRecord) error {
	if r.config.Audit == nil || r.config.DryRun {
		return nil
	}
	record.Time, record.By, record.Reason = time.Now().UTC(), r.config.By, r.config.Reason
	line, err := json.Marshal(record)
	if err == nil {
		_, err = r.config.Audit.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("queue: redrive: audit: %w", err)
	}
	return nil
}
