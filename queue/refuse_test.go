package queue

import (
	"strings"
	"testing"
)

// TestRefusedCharacters finds every refused character at every place of a body.
func TestRefusedCharacters(t *testing.T) {
	for _, bad := range []string{"\x00", "\x08", "\x0b", "\x1f", "\xff", "\xc3", "\ufffe", "\uffff"} {
		for n := range 70 {
			for _, after := range []int{0, 1, 8, 40} {
				body := strings.Repeat("a", n) + bad + strings.Repeat("b", after)
				if RefuseMessage(Limits{MessageBytes: 1 << 20}, &Outgoing{Body: body}) == "" {
					t.Fatalf("%q is taken", body)
				}
			}
		}
	}
	for _, good := range []string{"\t", "\n", "\r", " ", "~", "\x7f", "é", "\ufffd", "\ud7ff", "\ue000", "😀"} {
		for n := range 70 {
			body := strings.Repeat("a", n) + good + strings.Repeat("b", n)
			if problem := RefuseMessage(Limits{MessageBytes: 1 << 20}, &Outgoing{Body: body}); problem != "" {
				t.Fatalf("%q: %s", body, problem)
			}
		}
	}
}

// TestCheckedIsThatBody: a body put in the place of a checked one is checked.
func TestCheckedIsThatBody(t *testing.T) {
	o := Outgoing{Body: "fine", checked: "fine"}
	o.checked = o.Body
	limits := Limits{MessageBytes: 1 << 20}
	if problem := RefuseMessage(limits, &o); problem != "" {
		t.Error(problem)
	}
	o.Body = strings.Clone("bad\x00")[:4]
	if RefuseMessage(limits, &o) == "" {
		t.Error("another body of the same length is taken for the checked one")
	}
}
