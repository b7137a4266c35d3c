package redisstore

import (
	"strings"
	"testing"
)

func FuzzRecord(f *testing.F) {
	f.Add("hf2d00"+strings.Repeat("x", 48)+"0000000000000001"+strings.Repeat("0", 15)+"1"+"00000001"+strings.Repeat("0", 35)+"result", int64(1))
	f.Add("", int64(0))
	f.Fuzz(func(t *testing.T, text string, now int64) {
		r, err := parseRecord(text, now)
		if err == nil && len(r.Checkpoint)+len(r.Result) > len(text)-headLength {
			t.Errorf("parseRecord(%q) = %+v", text, r)
		}
	})
}

func FuzzIdent(f *testing.F) {
	f.Add("a|b|c")
	f.Add("a%7C|%25|c|d")
	f.Fuzz(func(t *testing.T, ident string) {
		k, ok := parseIdent(ident)
		if !ok {
			return
		}
		s := &Store{}
		again, ok := parseIdent(s.names(k).ident())
		if !ok || again != k {
			t.Errorf("parseIdent(names(%+v)) = %+v, %t", k, again, ok)
		}
	})
}
