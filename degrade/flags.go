package degrade

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// A Provider loads flags. It is asked by Run, never by a request: losing it changes nothing but the age of the flags.
// Package flags has providers for files and the environment; redisflags and openfeatureflags are others.
type Provider interface {
	// Load returns the present flags. features are the names of all registered features, sorted; a backend that has to
	// ask for each needs them, others ignore them. An error leaves the last good set in force. One call at a time.
	Load(ctx context.Context, features []string) (FlagSet, error)
}

// A Watcher is a [Provider] or [Store] that can tell when to load again before Config.RefreshEvery has passed.
type Watcher interface {
	// Watch calls changed, which does not block, whenever there may be something new, until ctx is done. After an error it is called again.
	Watch(ctx context.Context, changed func()) error
}

// A FlagSet is what a flag backend says: for each feature, the level it shall at least have. Features that are not named
// are not affected; names this service does not know are ignored and shown on the status page. It is used whole or not at all.
type FlagSet struct {
	// Version identifies the set for people; it is shown and not interpreted.
	Version string `json:"version,omitempty"`

	// Levels by feature; [All] for every feature.
	Levels map[string]Level `json:"levels"`

	// Confirm lets the set pass Config.BlastShare.
	Confirm bool `json:"confirm,omitempty"`
}

// maxFlags bounds what is parsed.
const maxFlags = 1 << 20

// ParseFlags reads a FlagSet from JSON, such as
//
//	{"version": "7", "levels": {"checkout": "read-only", "*": "limited"}}
//
// It is strict: unknown fields, repeated names, a missing levels object, unknown levels, malformed names and
// anything after the object are errors.
func ParseFlags(data []byte) (FlagSet, error) {
	if len(data) > maxFlags {
		return FlagSet{}, fmt.Errorf("degrade: flags: %d bytes are above the limit of %d", len(data), maxFlags)
	}
	if err := checkUnique(data); err != nil {
		return FlagSet{}, fmt.Errorf("degrade: flags: %w", err)
	}
	var set FlagSet
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&set); err != nil {
		return FlagSet{}, fmt.Errorf("degrade: flags: %w", err)
	}
	return set, set.check()
}

// check is done on every set, wherever it comes from.
func (s *FlagSet) check() error {
	if s.Levels == nil {
		return fmt.Errorf("degrade: flags: no levels: the set is not whole; want {} for none")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Levels)) {
		if name != All {
			if err := checkName("flag", name); err != nil {
				return fmt.Errorf("degrade: flags: %w", err)
			}
		}
		if s.Levels[name] > Offline {
			return fmt.Errorf("degrade: flags: %q is at %v, which is not a level", name, s.Levels[name])
		}
	}
	return nil
}

// checkUnique refuses repeated names in objects, of which encoding/json would use the last, names that differ from a
// field's only in case, and data after the value.
func checkUnique(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	type object struct {
		seen map[string]bool // nil in an array
		name bool            // a name is next
	}
	var open []object
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if token == nil {
			return fmt.Errorf("null stands for nothing here")
		}
		if delim, ok := token.(json.Delim); ok {
			switch delim {
			case '{':
				open = append(open, object{map[string]bool{}, true})
				continue
			case '[':
				open = append(open, object{})
				continue
			}
			open = open[:len(open)-1]
		} else if n := len(open); n > 0 && open[n-1].seen != nil && open[n-1].name {
			name := token.(string)
			if open[n-1].seen[name] {
				return fmt.Errorf("%.70q is there twice", name)
			}
			if n == 1 && !slices.Contains([]string{"version", "levels", "confirm"}, name) {
				return fmt.Errorf("unknown field %.70q", name)
			}
			open[n-1].seen[name], open[n-1].name = true, false
			continue
		}
		if len(open) == 0 {
			if decoder.More() {
				return fmt.Errorf("something follows the set")
			}
			return nil
		}
		open[len(open)-1].name = true
	}
}

// equal reports whether s and other say the same.
func (s *FlagSet) equal(other *FlagSet) bool {
	return s.Version == other.Version && s.Confirm == other.Confirm && maps.Equal(s.Levels, other.Levels)
}

// level is what s says of a feature; "" for all alone.
func (s *FlagSet) level(feature string) Level { return max(s.Levels[All], s.Levels[feature]) }
