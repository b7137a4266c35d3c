package idempotencyhttp

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
)

// Heads are stored as encoding/json writes them, whoever reads them.
func FuzzHead(f *testing.F) {
	f.Add(201, "Content-Type", "application/json", "Link", `</a>; rel="next"`, "")
	f.Add(200, "X", "a<b", "Y", "a>b", "a&b")
	f.Add(200, "X-\u00e9", "a&b\\\n", "A", "\xff", "the response was streamed")
	f.Fuzz(func(t *testing.T, status int, name, value, other, more, gone string) {
		h := http.Header{name: {value, more}, other: {more}, "Date": nil, "Empty": {}}
		fs := take(h, nil)
		want, err := json.Marshal(head{status, h, gone})
		if err != nil {
			t.Skip(err)
		}
		if got := appendHead(nil, status, fs, gone); string(got) != string(want) {
			t.Errorf("head %s, want %s", got, want)
		}
		if want, err = json.Marshal(head{Status: status, Gone: gone}); err != nil {
			t.Fatal(err)
		}
		if got := appendHead(nil, status, nil, gone); string(got) != string(want) {
			t.Errorf("head without fields %s, want %s", got, want)
		}
	})
}

// What was taken of a header stays as it was, and is all that the other header has afterwards.
func TestFieldsAreACopy(t *testing.T) {
	h := http.Header{"One": {"1"}, "Two": {"1", "2"}, "None": nil}
	for i := range 12 {
		h[string(rune('a'+i))] = []string{"x"}
	}
	want := h.Clone()
	fs := take(h, make([]field, 3))
	h["One"][0], h["Two"][1] = "changed", "changed"
	h.Add("One", "more")
	h.Del("a")
	got := http.Header{"Other": {"goes"}, "One": {"old"}}
	fs.copyTo(got)
	if len(got) != len(want) {
		t.Errorf("%d fields, want %d", len(got), len(want))
	}
	for name, values := range want {
		if !slices.Equal(got[name], values) {
			t.Errorf("%s is %q, want %q", name, got[name], values)
		}
	}
}
