package simnet

import (
	"testing"
	"time"
)

func TestRetransmission(t *testing.T) {
	for _, tt := range []struct{ sent, now, rto, want time.Duration }{
		{0, 0, time.Second, time.Second},
		{0, time.Second, time.Second, time.Second},
		{0, time.Second + 1, time.Second, 3 * time.Second},
		{5, 5 + 126*time.Second, time.Second, 5 + 127*time.Second},
		{0, time.Hour, MinRTO, 204600*time.Millisecond + 29*MaxRTO},
	} {
		if got := retransmission(tt.sent, tt.now, tt.rto); got != tt.want {
			t.Errorf("retransmission(%v, %v, %v) = %v, want %v", tt.sent, tt.now, tt.rto, got, tt.want)
		}
	}
}

// The give-up times are sums of the schedule the table states.
func TestGiveUpTimesFollowFromTheRetries(t *testing.T) {
	sum := func(rto time.Duration, retries int) (d time.Duration) {
		for range retries + 1 {
			d += rto
			rto = min(2*rto, MaxRTO)
		}
		return d
	}
	if got := sum(InitialRTO, 6); got != SYNGiveUp {
		t.Errorf("six SYN retries take %v, SYNGiveUp = %v", got, SYNGiveUp)
	}
	if got := sum(MinRTO, 15); got != DataGiveUp {
		t.Errorf("fifteen data retries take %v, DataGiveUp = %v", got, DataGiveUp)
	}
}

func TestAlign(t *testing.T) {
	for _, tt := range []struct{ t, ref, want time.Duration }{
		{0, 0, 0},
		{1, 0, Grain},
		{0, 7, 7},
		{8, 7, Grain + 7},
		{7, Grain + 7, 7},
		{3*Grain + 1, 5*Grain + 2, 3*Grain + 2},
	} {
		if got := align(tt.t, tt.ref); got != tt.want {
			t.Errorf("align(%d, %d) = %d, want %d", tt.t, tt.ref, got, tt.want)
		}
	}
}

func TestShapeValidate(t *testing.T) {
	for _, s := range []Shape{{Mode: 9}, {Latency: -1}, {Jitter: -1}, {Dist: 9}, {BytesPerSecond: -1}} {
		if s.Validate() == nil {
			t.Errorf("Validate accepts %+v", s)
		}
	}
	if err := (Shape{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestModeText(t *testing.T) {
	for m := ModeUp; m <= ModeHang; m++ {
		text, err := m.MarshalText()
		var back Mode
		if err != nil || back.UnmarshalText(text) != nil || back != m {
			t.Errorf("%v does not survive its text %q: %v", m, text, err)
		}
	}
	var m Mode
	if m.UnmarshalText([]byte("down")) == nil {
		t.Error("UnmarshalText accepts an unknown mode")
	}
	if _, err := Mode(77).MarshalText(); err == nil {
		t.Error("MarshalText accepts an unknown mode")
	}
}

func FuzzDNSAnswer(f *testing.F) {
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01h\x00\x00\x01\x00\x01"))
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff"))
	n := New(Config{})
	if _, err := n.Listen("z", "h:1"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		if len(query) < 12 {
			return
		}
		if out := n.answer("z", query); len(out) < 12 || out[2]&0x80 == 0 {
			t.Errorf("answer(%x) = %x, not a response", query, out)
		}
	})
}

// An answer never arrives in the nanosecond of a timer that was set with its request.
func TestHopLeavesTheNanosecond(t *testing.T) {
	for sent := range 3 * Lane {
		at := sent
		for i := range 10 {
			next := hop(at+Grain, at)
			if next <= at || next/Lane%(Grain/Lane) == 0 && sent >= Lane {
				t.Fatalf("hop %d from %d = %d", i, at, next)
			}
			if k := (next - sent) % Grain; k == 0 && i%int(Lane) != int(Lane)-1 {
				t.Errorf("after %d hops from %d: the same nanosecond", i+1, sent)
			}
			if got, want := next%Grain/Lane, sent/Lane; got != want {
				t.Errorf("hop from %d leaves lane %d for %d", at, want, got)
			}
			at = next
		}
	}
}
