package idempotency_test

import (
	"context"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/idempotency"
)

func TestJSONIsCanonical(t *testing.T) {
	same := [][]any{
		{map[string]any{"a": 1, "b": 2}, json.RawMessage(`{ "b":2.0, "a":1 }`), struct {
			B int `json:"b"`
			A int `json:"a"`
		}{2, 1}},
		{json.RawMessage(`"\u0041\/\u20ac"`), "A/€"},
		{json.RawMessage(`1e3`), 1000, 1000.0},
		{json.RawMessage(`-0`), 0},
		{json.RawMessage(`9007199254740993`), int64(9007199254740993)},
		{json.RawMessage(`1e21`), json.RawMessage(`1000000000000000000000`)},
		{nil, json.RawMessage(`null`)},
	}
	var sums []idempotency.Sum
	for _, values := range same {
		sum := idempotency.JSON(values[0])
		for _, v := range values[1:] {
			if idempotency.JSON(v) != sum {
				t.Errorf("JSON(%s) differs from JSON(%v)", v, values[0])
			}
		}
		sums = append(sums, sum)
	}
	for _, other := range []any{json.RawMessage(`9007199254740992`), json.RawMessage(`9007199254740994`), json.RawMessage(`[]`), json.RawMessage(`{}`), "a", json.RawMessage(`{"a":1,"b":"2"}`), true, 1000.0000001} {
		if slices.Contains(sums, idempotency.JSON(other)) {
			t.Errorf("JSON(%s) equals another value's", other)
		}
	}
}

func TestJSONRefusesWhatIsNotCanonical(t *testing.T) {
	for _, v := range []any{make(chan int), math.NaN(), json.RawMessage(`{"a":1,"a":2}`), json.RawMessage(`{"a":1,"\u0061":1}`), json.RawMessage(`{`), json.RawMessage(`1e999`), json.RawMessage("\"\xff\"")} {
		if err := (idempotency.Key{ID: "a", Fingerprint: idempotency.JSON(v)}).Validate(); err == nil {
			t.Errorf("JSON(%v) gives a valid fingerprint", v)
		}
	}
}

func TestNewID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := idempotency.NewID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("NewID = %q, want a new UUIDv7", id)
		}
		seen[id] = true
	}
	synctest.Test(t, func(t *testing.T) {
		a := idempotency.NewID()
		time.Sleep(time.Millisecond)
		if b := idempotency.NewID(); a >= b {
			t.Errorf("%q does not sort before %q", a, b)
		}
	})
}

func TestChildID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	g := newGuard(t, newMemory(t, idempotency.MemoryConfig{}), idempotency.Config{})
	child := func(k idempotency.Key, op string) (id string) {
		_ = g.Do(t.Context(), k, func(ctx context.Context) error { id = idempotency.ChildID(ctx, op); return errShop })
		return id
	}
	first := child(key("a"), "charge")
	if again := child(key("a"), "charge"); first != again || !form.MatchString(first) {
		t.Errorf("ChildID = %q, then %q, want one UUIDv8", first, again)
	}
	if want := "38f2ae3e-4875-8e65-b056-8d66dd5ed113"; first != want {
		t.Errorf("ChildID = %q, want %q: it must not change between releases", first, want)
	}
	seen := map[string]bool{first: true}
	for _, k := range []idempotency.Key{{ID: "a", Op: "charg"}, {ID: "ea", Op: "charg"}, {ID: "a", Scope: "charge"}, {ID: "b", Op: "charge"}} {
		for _, op := range []string{"charge", "refund", ""} {
			if id := child(k, op); seen[id] {
				t.Errorf("ChildID of %+v and %q is not its own", k, op)
			} else {
				seen[id] = true
			}
		}
	}
	if a, b := idempotency.ChildID(t.Context(), "charge"), idempotency.ChildID(t.Context(), "charge"); a == b {
		t.Errorf("outside a guarded function ChildID gives %q twice", a)
	}
}

func TestFence(t *testing.T) {
	fences := []idempotency.Fence{{}, {N: 1}, {N: 1<<53 - 1}, {Epoch: 1}, {Epoch: 1, N: 5}, {Epoch: math.MaxUint64, N: 9}}
	for i, a := range fences {
		parsed, err := idempotency.ParseFence(a.String())
		if err != nil || parsed != a {
			t.Errorf("ParseFence(%q) = %v, %v", a, parsed, err)
		}
		for j, b := range fences {
			if got, want := a.Compare(b), min(1, max(-1, i-j)); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", a, b, got, want)
			}
			if (a.String() < b.String()) != (i < j) {
				t.Errorf("%q and %q do not sort as the fences do", a, b)
			}
		}
	}
	for _, bad := range []string{"", "0", "00000000000000000000000000000g", "0000000000000000ffffffffffffff"} {
		if f, err := idempotency.ParseFence(bad); err == nil {
			t.Errorf("ParseFence(%q) = %v, want an error", bad, f)
		}
	}
}
