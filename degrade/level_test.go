package degrade

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func contains(s, part string) bool { return part != "" && strings.Contains(s, part) }

func TestNamesSurviveTheirTextForm(t *testing.T) {
	for l := Normal; l <= Offline; l++ {
		text, err := json.Marshal(l)
		var back Level
		if err != nil || json.Unmarshal(text, &back) != nil || back != l {
			t.Errorf("%v became %s, then %v (%v)", l, text, back, err)
		}
	}
	for s := StateUnknown; s <= StateDown; s++ {
		text, err := json.Marshal(s)
		var back State
		if err != nil || json.Unmarshal(text, &back) != nil || back != s {
			t.Errorf("%v became %s, then %v (%v)", s, text, back, err)
		}
	}
	for s := ScopeInstance; s <= ScopeFleet; s++ {
		text, err := json.Marshal(s)
		var back Scope
		if err != nil || json.Unmarshal(text, &back) != nil || back != s {
			t.Errorf("%v became %s, then %v (%v)", s, text, back, err)
		}
	}
}

func TestWrongNamesAreRefusedAndPrinted(t *testing.T) {
	var l Level
	var s State
	var sc Scope
	for _, err := range []error{l.UnmarshalText([]byte("Normal")), s.UnmarshalText([]byte("up")), sc.UnmarshalText([]byte(""))} {
		if err == nil {
			t.Error("a wrong name was accepted")
		}
	}
	if _, err := Level(9).MarshalText(); err == nil {
		t.Error("level 9 has a text form")
	}
	if _, err := State(9).MarshalText(); err == nil {
		t.Error("state 9 has a text form")
	}
	for got, want := range map[string]string{
		Level(9).String(): "level(9)", State(9).String(): "state(9)", Op(9).String(): "op(9)", Source(9).String(): "source(9)", Scope(9).String(): "scope(9)",
		OpWrite.String(): "write", SourceStub.String(): "stub",
	} {
		if got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

func TestRefusedErrorSentences(t *testing.T) {
	e := &RefusedError{Name: "checkout", Op: OpWrite, Level: ReadOnly, Cause: CauseDependency, Wait: 31 * time.Second}
	if got, want := e.Error(), `degrade: feature "checkout": write refused at level read-only (dependency), try again in 31s`; got != want {
		t.Errorf("Error = %s, want %s", got, want)
	}
	e = &RefusedError{Name: "front", Op: OpRead, Cause: CauseOverload, Wait: time.Second}
	if got, want := e.Error(), `degrade: "front": read refused for overload, try again in 1s`; got != want {
		t.Errorf("Error = %s, want %s", got, want)
	}
}
