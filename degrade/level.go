package degrade

import "fmt"

// A Level says how much of a feature works. The order is severity: of several reasons the worst wins.
type Level uint8

const (
	Normal   Level = iota // everything
	Limited               // optional work is off, stale answers are allowed
	ReadOnly              // also no changes: a write is refused or done instead by other means
	Offline               // no primary call at all: the fallback, a stub, or a refusal
)

var levelNames = [...]string{"normal", "limited", "read-only", "offline"}

// String returns "normal", "limited", "read-only" or "offline".
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// ParseLevel is the inverse of [Level.String].
func ParseLevel(s string) (Level, error) {
	for i, name := range levelNames {
		if s == name {
			return Level(i), nil
		}
	}
	return Normal, fmt.Errorf("degrade: %.40q is not a level: want normal, limited, read-only or offline", s)
}

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) {
	if int(l) >= len(levelNames) {
		return nil, fmt.Errorf("degrade: %v is not a level", l)
	}
	return []byte(levelNames[l]), nil
}

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	parsed, err := ParseLevel(string(text))
	if err == nil {
		*l = parsed
	}
	return err
}

// A State is what is known of a dependency.
type State uint8

const (
	StateUnknown  State = iota // its source is silent or cannot tell
	StateOK                    // it serves
	StateImpaired              // it serves some calls: probes only, slow, lagging
	StateDown                  // it serves nothing
)

var stateNames = [...]string{"unknown", "ok", "impaired", "down"}

// String returns "unknown", "ok", "impaired" or "down".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) {
	if int(s) >= len(stateNames) {
		return nil, fmt.Errorf("degrade: %v is not a state", s)
	}
	return []byte(stateNames[s]), nil
}

// UnmarshalText reads a state's name.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if string(text) == name {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("degrade: %.40q is not a state: want unknown, ok, impaired or down", text)
}

// An Op is what a call wants to do.
type Op uint8

const (
	OpRead     Op = iota // refused at Offline
	OpWrite              // refused at ReadOnly and worse
	OpOptional           // work nobody misses at once, such as recommendations: refused at Limited and worse
)

var opNames = [...]string{"read", "write", "optional work"}

// String returns the name in lower case.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// refusedFrom is the level at which o is refused.
func (o Op) refusedFrom() Level {
	switch o {
	case OpRead:
		return Offline
	case OpWrite:
		return ReadOnly
	}
	return Limited
}

// A Source says where a value came from.
type Source uint8

const (
	SourcePrimary  Source = iota // the real call, or a copy of its answer that is still fresh
	SourceFallback               // the fallback
	SourceStale                  // a copy older than fresh, from [Stale]
	SourceStub                   // a stand-in, from [Stub]
)

var sourceNames = [...]string{"primary", "fallback", "stale", "stub"}

// String returns the name in lower case.
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("source(%d)", uint8(s))
}

// A Cause says why a feature is at its level.
type Cause string

const (
	CauseNone        Cause = ""            // Normal
	CauseDependency  Cause = "dependency"  // a need is not met
	CauseFlag        Cause = "flag"        // the flag backend says so
	CauseOverride    Cause = "override"    // a person says so
	CauseMaintenance Cause = "maintenance" // a person announced it, with an end
	CauseBoot        Cause = "boot"        // no flags were ever loaded; see Config.Boot
	CauseDesign      Cause = "design"      // FeatureConfig.AtLeast
	CauseRecovery    Cause = "recovery"    // the reason is gone; the way back is taken in steps
	CauseOverload    Cause = "overload"    // load was shed, or a fallback is at its limit
)
