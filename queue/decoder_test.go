package queue

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// FuzzUnmarshal: the decoder that is used again and again reads what json.Unmarshal reads and refuses what it refuses.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{``, ` `, `{}`, `null`, `1`, ` {"order":"a","cents":1} `, `{"order":"a"}x`, `{"order":"a"}{}`, `{"order":1}`, `{"cents":1`, `[1]`, `"x"`, "{\"order\":\"\xff\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for range 2 { // the second time with what the first left behind
			var got, want charge
			err, wantErr := unmarshal([]byte(s), &got), json.Unmarshal([]byte(s), &want)
			if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("unmarshal(%q) = %+v, %v, want %+v, %v", s, got, err, want, wantErr)
			}
		}
	})
}

func TestUnmarshalIsSharedSafely(t *testing.T) {
	long := strings.Repeat("x", decoderMax)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 200 {
				want := charge{Order: "o", Cents: g*1000 + n}
				if n%50 == 0 {
					want.Order = long
				}
				data, _ := json.Marshal(want)
				if n%7 == 0 { // spoils a decoder
					_ = unmarshal([]byte(`{"cents":`), new(charge))
				}
				var got charge
				if err := unmarshal(data, &got); err != nil || got != want {
					t.Errorf("unmarshal = %+v, %v, want %+v", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}
