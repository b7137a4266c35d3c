package idempotency

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte{})
	f.Add(nothing)
	f.Add(envelope{kind: kindValue | sealedFlag, codec: "json", tag: "int", body: []byte("7")}.encode())
	f.Add(marker("why"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEnvelope(data)
		if err != nil {
			return
		}
		again, err := parseEnvelope(e.encode())
		if err != nil || again.kind != e.kind || again.codec != e.codec || again.tag != e.tag || !bytes.Equal(again.body, e.body) {
			t.Errorf("parse(encode(%+v)) = %+v, %v", e, again, err)
		}
	})
}

func TestEveryDamagedByteOfAnEnvelopeIsSeen(t *testing.T) {
	whole := envelope{kind: kindValue, codec: "json", tag: "orders.Receipt", body: []byte(`{"amount":3}`)}.encode()
	for i := range whole {
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			if _, err := parseEnvelope(damaged); err == nil {
				t.Errorf("bit %d of byte %d flipped: no error", bit, i)
			}
		}
		if _, err := parseEnvelope(whole[:i]); err == nil {
			t.Errorf("cut to %d bytes: no error", i)
		}
	}
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[1.50,"\u00e9",null]}`, `1e-7`, `-0.0`, `"\ud83d\ude00"`, `{"\ud83d\ude00":1,"\ufb33":2}`, `123456789012345678901`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := canonicalJSON(json.RawMessage(data))
		if err != nil {
			return
		}
		again, err := canonicalJSON(json.RawMessage(text))
		if err != nil || !bytes.Equal(text, again) {
			t.Errorf("canonical(%q) = %q, and of that %q, %v: not a fixed point", data, text, again, err)
		}
		var a, b any
		if json.Unmarshal(data, &a) != nil || json.Unmarshal(text, &b) != nil {
			t.Errorf("canonical(%q) = %q is not JSON", data, text)
		}
	})
}

// The examples of RFC 8785: the whole document of 3.2.2, the sort order of 3.2.3 and numbers of appendix B.
func TestCanonicalJSONOfTheRFC(t *testing.T) {
	for in, want := range map[string]string{
		`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`:                                        `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`: "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		`5e-324`: `5e-324`, `-1.7976931348623157e308`: `-1.7976931348623157e+308`, `9007199254740992`: `9007199254740992`,
		`295147905179352830000`: `295147905179352830000`, `9.999999999999997e22`: `9.999999999999997e+22`, `1e23`: `1e+23`, `0.000001`: `0.000001`,
	} {
		got, err := canonicalJSON(json.RawMessage(in))
		if err != nil || string(got) != want {
			t.Errorf("canonical(%s) = %s, %v, want %s", in, got, err, want)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add("", "charge", "a")
	f.Add("tenant", "POST /orders", "0191-ä")
	f.Fuzz(func(t *testing.T, scope, op, id string) {
		k := Key{Scope: scope, Op: op, ID: id}
		err := k.Validate()
		if (err == nil) != k.ok() {
			t.Errorf("Validate(%+v) = %v, ok %t", k, err, k.ok())
		}
		if err == nil {
			for _, s := range []string{scope, op, id} {
				for _, r := range s {
					if r < 0x20 || r > 0x7e {
						t.Errorf("%+v is valid", k)
					}
				}
			}
		}
		at, ok := mintedAt(id)
		if ok && (at.Before(time.UnixMilli(0)) || at.After(time.UnixMilli(1<<48))) {
			t.Errorf("mintedAt(%q) = %v", id, at)
		}
	})
}
