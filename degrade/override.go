package degrade

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/audit"
)

// A Scope says where an override holds.
type Scope uint8

const (
	ScopeInstance Scope = iota // this process
	ScopeRegion                // every process in Override.Region
	ScopeFleet                 // every process that shares Config.Overrides
)

var scopeNames = [...]string{"instance", "region", "fleet"}

// String returns the name in lower case.
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope(%d)", uint8(s))
}

// MarshalText writes "instance", "region" or "fleet".
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *Scope) UnmarshalText(text []byte) error {
	i := slices.Index(scopeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("degrade: %.40q is not a scope: want instance, region or fleet", text)
	}
	*s = Scope(i)
	return nil
}

// An Override is a person's word on a feature or a dependency. It holds until its own end, on the local clock,
// whether or not Config.Overrides can be reached; then control is automatic again, and the way back is taken in steps.
type Override struct {
	// Feature is whose Level is set; [All] = every feature, each within its FeatureConfig.Never and AtLeast.
	// The feature is at least as bad as Level; with AtMost, at most as bad.
	Feature string `json:"feature,omitempty"`
	Level   Level  `json:"level"`

	// AtMost keeps the feature better than its needs allow; it demands Unsafe. It takes effect at once.
	AtMost bool `json:"at_most,omitempty"`

	// Dependency, in place of Feature, is whose State is set. StateDown also selects the stub of a stubbed dependency at
	// home. StateOK demands Unsafe.
	Dependency string `json:"dependency,omitempty"`
	State      State  `json:"state,omitempty"`

	// Unsafe says that the caller knows that the override can make things better than they are.
	Unsafe bool `json:"unsafe,omitempty"`

	// Scope is where it holds. Region is the Region of ScopeRegion; "" = Config.Region.
	Scope  Scope  `json:"scope"`
	Region string `json:"region,omitempty"`

	// TTL is how long it holds, at most Config.MaxTTL. UntilCleared, in its place, makes it hold until Clear.
	TTL          time.Duration `json:"-"`
	UntilCleared bool          `json:"until_cleared,omitempty"`

	// Maintenance says that it was announced: refusals name its end as the time to come back. It needs a TTL and a level of
	// ReadOnly or Offline.
	Maintenance bool `json:"maintenance,omitempty"`

	// Reason and By are required. Ticket is a reference in another system.
	Reason string `json:"reason"`
	By     string `json:"by"`
	Ticket string `json:"ticket,omitempty"`

	// The following are set by the Controller.
	ID       string     `json:"id"`
	Set      time.Time  `json:"set"`
	Until    *time.Time `json:"until,omitempty"` // nil = until cleared
	Instance string     `json:"instance,omitempty"`
}

// A Request says who asks for a change of an override, and why. Both are required.
type Request struct{ Reason, By string }

// ErrOverride matches what [Controller.Override], Extend and Clear refuse; other errors are the store's.
var ErrOverride = errors.New("degrade: override refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOverride, fmt.Sprintf(format, args...))
}

// Override sets an override and returns its id. Levels of this process have followed when it returns; others follow
// within Config.RefreshEvery. A refusal wraps [ErrOverride] and says why. If Config.Overrides cannot be reached nothing is
// applied: ScopeInstance works without it. Every call is audited.
func (c *Controller) Override(ctx context.Context, o Override) (id string, err error) {
	now := time.Now()
	o.ID, o.Set, o.Until, o.Instance = newID(), now.UTC().Round(0), nil, c.cfg.Instance
	from := c.subjectState(&o)
	err = c.checkOverride(&o)
	if err == nil {
		if !o.UntilCleared {
			o.Until = new(o.Set.Add(o.TTL))
		}
		err = c.edit(ctx, o.Scope, func(all []Override) ([]Override, error) {
			if i := slices.IndexFunc(all, func(other Override) bool { return other.ID == o.ID }); i >= 0 {
				return all, nil // an earlier attempt got there and its reply was lost
			}
			return append(all, o), nil
		})
	}
	c.auditOverride("set", &o, Request{o.Reason, o.By}, from, err)
	if err != nil {
		return "", err
	}
	return o.ID, nil
}

// Extend gives the override with this id a new end, ttl from now. See [Controller.Override] for errors.
func (c *Controller) Extend(ctx context.Context, id string, ttl time.Duration, by Request) error {
	return c.alter(ctx, "extend", id, by, func(o *Override) error {
		if ttl <= 0 || ttl > c.cfg.MaxTTL {
			return refused("a TTL of %v is not between 0 and Config.MaxTTL %v", ttl, c.cfg.MaxTTL)
		}
		o.Until, o.UntilCleared = new(time.Now().UTC().Round(0).Add(ttl)), false
		return nil
	}, nil)
}

// Clear ends the override with this id now. Control is automatic again: levels get better in steps, as ever. See
// [Controller.Override] for errors.
func (c *Controller) Clear(ctx context.Context, id string, by Request) error {
	return c.alter(ctx, "clear", id, by, nil, func(all []Override, i int) []Override { return slices.Delete(all, i, i+1) })
}

// Overrides returns the overrides in force, the oldest first.
func (c *Controller) Overrides() []Override {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allOverridesLocked()
}

func (c *Controller) allOverridesLocked() []Override {
	all := slices.Concat(c.local, c.shared)
	slices.SortStableFunc(all, func(a, b Override) int { return a.Set.Compare(b.Set) })
	return all
}

// alter changes or removes one override.
func (c *Controller) alter(ctx context.Context, action, id string, by Request, change func(*Override) error, remove func([]Override, int) []Override) error {
	o, known := c.findOverride(id)
	from := "in force"
	var err error
	switch {
	case !known:
		o, from = Override{ID: id}, "unknown"
		err = refused("there is no override %.40q in force", id)
	default:
		err = checkWho(by.Reason, by.By)
	}
	if err == nil {
		err = c.edit(ctx, o.Scope, func(all []Override) ([]Override, error) {
			i := slices.IndexFunc(all, func(other Override) bool { return other.ID == id })
			if i < 0 {
				return nil, refused("override %q is no longer in force", id)
			}
			if remove != nil {
				return remove(all, i), nil
			}
			err := change(&all[i])
			o = all[i]
			return all, err
		})
	}
	c.auditOverride(action, &o, by, from, err)
	return err
}

func (c *Controller) findOverride(id string) (Override, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range [][]Override{c.local, c.shared} {
		for _, o := range list {
			if o.ID == id {
				return o, true
			}
		}
	}
	return Override{}, false
}

func newID() string {
	var id [8]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

const maxText = 500

func checkWho(reason, by string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return refused("no reason given")
	case strings.TrimSpace(by) == "":
		return refused("nobody named: By is empty")
	case len(reason) > maxText || len(by) > maxText:
		return refused("reason or By is longer than %d bytes", maxText)
	}
	return nil
}

func (c *Controller) checkOverride(o *Override) error {
	if err := checkWho(o.Reason, o.By); err != nil {
		return err
	}
	if err := c.checkSpan(o); err != nil {
		return err
	}
	switch {
	case (o.Feature == "") == (o.Dependency == ""):
		return refused("name either a feature (%q for all) or a dependency", All)
	case len(o.Ticket) > maxText || len(o.Region) > maxText:
		return refused("ticket or Region is longer than %d bytes", maxText)
	case o.Dependency != "":
		return c.checkDependencyOverride(o)
	}
	return c.checkFeatureOverride(o)
}

// checkSpan checks where and how long o is to hold.
func (c *Controller) checkSpan(o *Override) error {
	switch {
	case o.UntilCleared && o.TTL != 0:
		return refused("both a TTL and UntilCleared")
	case !o.UntilCleared && o.TTL <= 0:
		return refused("no TTL given; UntilCleared says that it has no end")
	case o.TTL > c.cfg.MaxTTL:
		return refused("a TTL of %v is above Config.MaxTTL %v", o.TTL, c.cfg.MaxTTL)
	case o.Scope > ScopeFleet:
		return refused("%v is not a scope", o.Scope)
	case o.Scope != ScopeInstance && c.cfg.Overrides == nil:
		return refused("scope %v needs Config.Overrides", o.Scope)
	}
	if o.Scope != ScopeRegion {
		if o.Region != "" {
			return refused("a Region with scope %v", o.Scope)
		}
		return nil
	}
	if o.Region == "" {
		o.Region = c.cfg.Region
	}
	if o.Region == "" {
		return refused("scope region without a Region")
	}
	return nil
}

func (c *Controller) checkDependencyOverride(o *Override) error {
	c.mu.Lock()
	known := slices.ContainsFunc(c.dependencies, func(d *Dependency) bool { return d.name == o.Dependency })
	c.mu.Unlock()
	switch {
	case !known:
		return refused("there is no dependency %.70q", o.Dependency)
	case o.State == StateUnknown || o.State > StateDown:
		return refused("a dependency is overridden to ok, impaired or down, not to %v", o.State)
	case o.State == StateOK && !o.Unsafe:
		return refused("calling dependency %q ok whatever it reports demands Unsafe", o.Dependency)
	case o.Level != Normal || o.AtMost || o.Maintenance:
		return refused("Level, AtMost and Maintenance are for features")
	}
	return nil
}

func (c *Controller) checkFeatureOverride(o *Override) error {
	best, worst := Normal, Offline
	if o.Feature != All {
		f := c.lookup(o.Feature)
		if f == nil {
			return refused("there is no feature %.70q", o.Feature)
		}
		best, worst = f.cfg.AtLeast, f.worst()
	}
	switch {
	case o.State != StateUnknown:
		return refused("State is for dependencies")
	case o.Level > Offline:
		return refused("%v is not a level", o.Level)
	case o.AtMost && !o.Unsafe:
		return refused("keeping %q better than its needs allow demands Unsafe", o.Feature)
	case o.Level > worst:
		return refused("feature %q is never %v (FeatureConfig.Never)", o.Feature, o.Level)
	case o.Level < best:
		return refused("feature %q is at least %v (FeatureConfig.AtLeast)", o.Feature, best)
	case !o.AtMost && o.Level == best, o.AtMost && o.Level == worst:
		return refused("it would change nothing: feature %q is always at this level, or worse or better by right", o.Feature)
	case o.Maintenance && (o.Level < ReadOnly || o.AtMost || o.UntilCleared):
		return refused("maintenance means read-only or offline, with an announced end")
	}
	return nil
}

// lookup returns the feature with this name, or nil.
func (c *Controller) lookup(name string) *Feature {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.features {
		if f.name == name {
			return f
		}
	}
	return nil
}

// holds reports whether o is meant for this process.
func (c *Controller) holds(o *Override) bool {
	return o.Scope != ScopeRegion || o.Region == c.cfg.Region
}

// eachOverrideLocked visits the overrides that hold here.
func (c *Controller) eachOverrideLocked(visit func(*Override)) {
	for _, list := range [][]Override{c.local, c.shared} {
		for i := range list {
			if c.holds(&list[i]) {
				visit(&list[i])
			}
		}
	}
}

// overridesLocked worsens r by what people say of f. Of two causes of one level a person's is the one named.
func (c *Controller) overridesLocked(f *Feature, r *reason) {
	c.eachOverrideLocked(func(o *Override) {
		if o.AtMost || (o.Feature != All && (f == nil || o.Feature != f.name)) || o.Level < r.level || o.Level == Normal {
			return
		}
		*r = reason{level: o.Level, cause: CauseOverride, detail: o.Reason + " (" + o.By + ")"}
		if o.Maintenance {
			r.cause = CauseMaintenance
		}
		r.until = o.end()
	})
}

// end is zero if nobody knows.
func (o *Override) end() time.Time {
	if o.Until == nil {
		return time.Time{}
	}
	return *o.Until
}

// reliefLocked applies overrides to the better.
func (c *Controller) reliefLocked(f *Feature, s *standing) {
	c.eachOverrideLocked(func(o *Override) {
		level := max(o.Level, f.cfg.AtLeast)
		if !o.AtMost || (o.Feature != All && o.Feature != f.name) || level >= s.level {
			return
		}
		s.level, s.cause, s.detail, s.until = level, CauseOverride, "at most "+o.Level.String()+": "+o.Reason+" ("+o.By+")", o.end()
	})
}

// forcedLocked is the worst state people say d has; StateUnknown = they say nothing.
func (c *Controller) forcedLocked(d *Dependency) State {
	forced := StateUnknown
	c.eachOverrideLocked(func(o *Override) {
		if o.Dependency == d.name {
			forced = max(forced, o.State)
		}
	})
	return forced
}

// rootLocked is what is asked of every feature.
func (c *Controller) rootLocked() reason {
	var r reason
	c.flagsLocked(nil, &r)
	c.overridesLocked(nil, &r)
	c.eachOverrideLocked(func(o *Override) {
		if o.AtMost && o.Feature == All {
			r.level = min(r.level, o.Level)
		}
	})
	return r
}

// expireLocked drops overrides whose end has come and announces those whose end is near.
func (c *Controller) expireLocked(now time.Time, due *due) {
	for _, list := range []*[]Override{&c.local, &c.shared} {
		*list = slices.DeleteFunc(slices.Clone(*list), func(o Override) bool {
			if o.Until == nil {
				return false
			}
			if o.ended(now) {
				delete(c.warned, o.ID)
				c.eventLocked(o.event(EventOverrideExpired, now))
				return true
			}
			due.by(*o.Until)
			c.announceLocked(&o, now, due)
			return false
		})
	}
}

func (c *Controller) announceLocked(o *Override, now time.Time, due *due) {
	near := o.Until.Add(-o.Until.Sub(o.Set) / 10)
	switch {
	case c.warned[o.ID]:
	case now.Before(near):
		due.by(near)
	default:
		c.warned[o.ID] = true
		c.eventLocked(o.event(EventOverrideExpiring, now))
	}
}

func (o *Override) event(kind EventKind, now time.Time) Event {
	name, to := o.target()
	e := Event{Kind: kind, At: now, Name: name, To: to, Cause: CauseOverride, Detail: o.Reason, ID: o.ID, By: o.By, subject: o.subject()}
	if kind == EventOverrideExpired || kind == EventOverrideCleared {
		e.From, e.To = to, "automatic"
	}
	return e
}

// target is what o is about, and what it asks of it.
func (o *Override) target() (name, to string) {
	if o.Dependency != "" {
		return o.Dependency, o.State.String()
	}
	if o.AtMost {
		return o.Feature, "at most " + o.Level.String()
	}
	return o.Feature, o.Level.String()
}

// subjectState is how the subject of o is now, for the audit record.
func (c *Controller) subjectState(o *Override) string {
	if o.Feature == All {
		return c.Level().String()
	}
	if f := c.lookup(o.Feature); f != nil {
		return f.Level().String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.dependencies {
		if d.name == o.Dependency {
			return d.settled.String()
		}
	}
	return "unknown"
}

// auditOverride writes down what was asked of o and, if err, that it was not done.
func (c *Controller) auditOverride(action string, o *Override, by Request, from string, err error) {
	_, to := o.target()
	if action == "clear" {
		from, to = to, "automatic"
	}
	record := audit.Record{
		At: time.Now(), Action: "degrade.override." + action, Subject: o.subject(), Who: by.By, Why: by.Reason, From: from, To: to,
		ID: o.ID, Ticket: o.Ticket, Instance: c.cfg.Instance, Region: c.cfg.Region, Until: o.Until,
	}
	if err != nil {
		record.Refused = err.Error()
	}
	c.append(record)
	c.save() // also after a refusal: it has its place in the chain
}

func (o *Override) subject() string {
	scope := o.Scope.String()
	if o.Scope == ScopeRegion {
		scope += " " + o.Region
	}
	switch {
	case o.Dependency != "":
		return "dependency " + o.Dependency + " on " + scope
	case o.Feature != "":
		return "feature " + o.Feature + " on " + scope
	}
	return "override " + o.ID
}

// auditExpiry runs on the goroutine that tells events.
func (c *Controller) auditExpiry(e Event) {
	c.append(audit.Record{
		At: e.At, Action: "degrade.override.expire", Subject: e.subject, Who: "expiry", Why: e.Detail, From: e.From, To: e.To,
		ID: e.ID, Instance: c.cfg.Instance, Region: c.cfg.Region,
	})
	c.save()
}

func (c *Controller) append(record audit.Record) {
	if err := c.audit.Append(record); err != nil {
		c.unaudited.Add(1)
		c.log.Error("degrade: audit record not written", slog.String("name", c.cfg.Name), slog.Any("error", err))
	}
}
