package degrade

import (
	"slices"
	"time"
)

// A Status is what a Controller knows, for people and for the status page. It is a copy.
type Status struct {
	Name          string             `json:"name"`
	Instance      string             `json:"instance,omitempty"`
	Region        string             `json:"region,omitempty"`
	At            time.Time          `json:"at"`
	Level         Level              `json:"level"` // what flags and overrides ask of every feature
	Features      []FeatureStatus    `json:"features"`
	Dependencies  []DependencyStatus `json:"dependencies"`
	Overrides     []Override         `json:"overrides"`
	Flags         FlagStatus         `json:"flags"`
	OverrideError string             `json:"override_error,omitempty"` // why shared overrides could not be loaded
	Notes         []string           `json:"notes,omitempty"`
	Audit         AuditStatus        `json:"audit"`
	Recent        []Event            `json:"recent"` // the last 50, the newest last
}

// A FeatureStatus is one feature's.
type FeatureStatus struct {
	Name    string     `json:"name"`
	Level   Level      `json:"level"`
	Cause   Cause      `json:"cause,omitempty"`
	Detail  string     `json:"detail,omitempty"`
	Since   time.Time  `json:"since"`
	Until   *time.Time `json:"until,omitempty"`  // when the cause ends, if that is known
	Proven  *time.Time `json:"proven,omitempty"` // when the fallback worked last
	Relapse int        `json:"relapses,omitempty"`
}

// A DependencyStatus is one dependency's.
type DependencyStatus struct {
	Name     string     `json:"name"`
	State    State      `json:"state"` // what features see
	Reported State      `json:"reported"`
	Unproven bool       `json:"unproven,omitempty"` // it counts as OK because nothing was ever reported
	Stub     bool       `json:"stub,omitempty"`     // a stub answers for it
	Home     string     `json:"home,omitempty"`
	Detail   string     `json:"detail,omitempty"`
	Since    time.Time  `json:"since"`
	Heard    *time.Time `json:"heard,omitempty"` // the last report
}

// A FlagStatus tells of the flags in force.
type FlagStatus struct {
	Version string     `json:"version,omitempty"`
	Source  string     `json:"source"` // "none", "provider" or "last known good"
	Fetched *time.Time `json:"fetched,omitempty"`
	Error   string     `json:"error,omitempty"`   // why the last load changed nothing
	Unknown []string   `json:"unknown,omitempty"` // names that are no feature here
}

// An AuditStatus is the end of the audit chain: keep it elsewhere to notice a log that was cut.
type AuditStatus struct {
	Sequence uint64 `json:"seq"`
	Hash     string `json:"hash,omitempty"`
	Failed   int64  `json:"failed,omitempty"` // records that could not be written
}

// Status returns the state of everything. Details name people and dependencies: it is for operators, not for the public.
func (c *Controller) Status() Status {
	head := c.audit.Head()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Name: c.cfg.Name, Instance: c.cfg.Instance, Region: c.cfg.Region, At: time.Now().UTC(), Level: c.rootLocked().level,
		Features: []FeatureStatus{}, Dependencies: []DependencyStatus{}, Overrides: append([]Override{}, c.allOverridesLocked()...),
		Flags: c.flagStatusLocked(), OverrideError: c.sharedErr, Recent: append([]Event{}, c.recent...),
		Audit: AuditStatus{head.Sequence, head.Hash, c.unaudited.Load()},
	}
	for _, f := range c.features {
		s.Features = append(s.Features, f.statusLocked())
	}
	for _, d := range c.dependencies {
		s.Dependencies = append(s.Dependencies, d.statusLocked())
	}
	if c.bootNote != "" {
		s.Notes = append(s.Notes, c.bootNote)
	}
	if c.run == nil {
		s.Notes = append(s.Notes, "Run is not running: nothing is polled, nothing gets better, nothing ends")
	}
	return s
}

func (f *Feature) statusLocked() FeatureStatus {
	now := f.now.Load()
	s := FeatureStatus{Name: f.name, Level: now.level, Cause: now.cause, Detail: now.detail, Since: now.since.UTC(), Relapse: f.flaps}
	if !now.until.IsZero() {
		s.Until = new(now.until.UTC())
	}
	if at := f.stats.proven.Load(); at != 0 {
		s.Proven = new(f.c.started.Add(time.Duration(at)).UTC())
	}
	return s
}

func (d *Dependency) statusLocked() DependencyStatus {
	s := DependencyStatus{
		Name: d.name, State: d.settled, Reported: d.raw, Stub: d.stubbing.Load(), Home: d.cfg.Home, Detail: d.detail, Since: d.since.UTC(),
	}
	if last := d.lastReport(); !last.IsZero() {
		s.Heard = new(last.UTC())
	} else {
		s.Unproven = true
	}
	return s
}

func (c *Controller) flagStatusLocked() FlagStatus {
	s := FlagStatus{Version: c.flags.set.Version, Source: c.flags.source, Error: c.flags.err}
	if !c.flags.known {
		s.Source = "none"
		return s
	}
	s.Fetched = new(c.flags.fetched.UTC())
	for name := range c.flags.set.Levels {
		if name != All && !slices.ContainsFunc(c.features, func(f *Feature) bool { return f.name == name }) {
			s.Unknown = append(s.Unknown, name)
		}
	}
	slices.Sort(s.Unknown)
	return s
}
