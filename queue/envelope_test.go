package queue

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func fullEnvelope() Envelope {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)
	return Envelope{
		ID: "0192-1", Name: "billing.charge.v1", Source: "or\"ders\u0001", Time: at, Data: []byte(`{"a":"\"}]","b":[1,{"c":null}]}`),
		NotBefore: at.Add(time.Hour), Expires: at.Add(2 * time.Hour), Group: `g"\`, Tenant: "t", Region: "eu-west-1", Epoch: 1<<48 | 7, Forwards: 2,
		Attempt: 3, Repeatable: true, Ambiguous: true, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=b",
		Resume: at, Parked: at, Redriven: at, RerunBy: "ops: why", Claim: "k", ClaimSum: "s", Version: 1,
		Death: &Death{Reason: ReasonPanic, Class: "c", Error: "e\xff\uffff", Stack: "s", Attempts: 4, First: at, At: at, Region: "r"},
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	want := fullEnvelope()
	body := string(want.Append(nil))
	if !json.Valid([]byte(body)) || refuseCharacters(body) != "" {
		t.Fatalf("not JSON that SQS takes: %s", body)
	}
	want.Death.Error = "e\ufffd\uffff"
	var got Envelope
	if err := got.Decode(body); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	sealed := Envelope{ID: "a", Name: "b", Time: want.Time, Data: []byte{0, 1, 255}, KeyID: "k", Version: 1}
	if err := got.Decode(string(sealed.Append(nil))); err != nil || !reflect.DeepEqual(got, sealed) {
		t.Errorf("sealed: %+v, %v, want %+v", got, err, sealed)
	}
}

func TestEnvelopeIsACloudEvent(t *testing.T) {
	e := Envelope{ID: "a", Name: "b.v1", Source: "orders", Time: time.Unix(0, 0).UTC(), Data: []byte("1")}
	want := `{"specversion":"1.0","id":"a","source":"orders","type":"b.v1","time":"1970-01-01T00:00:00Z","hfversion":1,"datacontenttype":"application/json","data":1}`
	if got := string(e.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	e := Envelope{ID: "a", Name: "b.v1", Time: time.Unix(0, 0), Data: []byte("1")}
	good := string(e.Append(nil))
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "hello", "array": "[]", "no fields": "{}", "not UTF-8": strings.Replace(good, `"a"`, "\"\xff\"", 1),
		"no version": strings.Replace(good, `"hfversion":1,`, "", 1), "no time": strings.Replace(good, `"time":"1970-01-01T00:00:00Z",`, "", 1),
		"bad time": strings.Replace(good, "1970", "x", 1), "bad ID": strings.Replace(good, `"id":"a"`, `"id":"a b"`, 1),
		"negative attempt": strings.Replace(good, `"hfversion":1`, `"hfversion":1,"attempt":-1`, 1), "number as ID": strings.Replace(good, `"id":"a"`, `"id":1`, 1),
		"escape at the end": `{"data":{"\`, "cut": good[:len(good)-3], "CloudEvents 2": strings.Replace(good, `"1.0"`, `"2.0"`, 1), "bad name": strings.Replace(good, "b.v1", "b/v1", 1),
	} {
		if err := new(Envelope).Decode(body); !errors.Is(err, ErrEnvelope) {
			t.Errorf("%s: %v, want ErrEnvelope", name, err)
		}
	}
	if err := new(Envelope).Decode(strings.Replace(good, `"id"`, `"later":{"x":[1]},"id"`, 1)); err != nil {
		t.Errorf("unknown member: %v, want it ignored", err)
	}
}

// FuzzEnvelope: decoding never panics, the fast and the slow reader agree, and what was read is written and read as the same.
func FuzzEnvelope(f *testing.F) {
	e := fullEnvelope()
	f.Add(string(e.Append(nil)))
	f.Add(`{"id":"a","type":"b","time":"2026-01-01T00:00:00Z","hfversion":1,"data":"x","specversion":"1.0"}`)
	f.Add(`{"id":"a","id":"b"}`)
	f.Add("{}")
	f.Fuzz(func(t *testing.T, body string) {
		var got Envelope
		if got.Decode(body) != nil {
			return
		}
		if json.Valid([]byte(body)) {
			var slow Envelope
			if err := slow.unmarshal(body); err != nil || !reflect.DeepEqual(slow, got) {
				t.Errorf("fast %+v\nslow %+v, %v", got, slow, err)
			}
		}
		if got.KeyID == "" && len(got.Data) > 0 && !json.Valid(got.Data) {
			return // the handler's decoder refuses it
		}
		again := string(got.Append(nil))
		if problem := refuseCharacters(again); problem != "" {
			t.Errorf("written as %q: %s", again, problem)
		}
		var second Envelope
		if err := second.Decode(again); err != nil {
			t.Errorf("written as %q: %v", again, err)
		}
	})
}

// TestTimesAreRFC3339: every day of four eras, and times at the edges, read as the standard library writes them.
func TestTimesAreRFC3339(t *testing.T) {
	check := func(at time.Time) {
		t.Helper()
		if got, want := string(appendRFC3339(nil, at)), at.UTC().Format(time.RFC3339Nano); got != want {
			t.Fatalf("appendRFC3339 = %q, want %q", got, want)
		}
	}
	for d := range 4 * 146097 {
		check(time.Unix(int64(d)*86400+int64(d)*7919%86400, int64(d)*123456789%1e9))
	}
	edge := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, at := range []time.Time{
		{},
		time.Unix(-1, 0), time.Unix(0, 0), time.Unix(0, 1), time.Unix(0, 1e8), time.Unix(0, 999999999), edge, edge.Add(time.Second - 1),
		edge.Add(time.Second), time.Date(2024, 2, 29, 23, 0, 0, 120, time.FixedZone("", -7200)),
	} {
		check(at)
	}
}
