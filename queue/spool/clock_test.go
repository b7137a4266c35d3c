package spool

import (
	"math"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/queue"
)

// written is a disk with a segment of messages appended at the given times, as processes with other clocks leave it.
func written(t *testing.T, at ...int64) *faultFS {
	t.Helper()
	disk := newFaultFS(1)
	f, err := disk.Create(filepath.Join("/s", segmentName(1)))
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range at {
		o := message(string(rune('a' + i)))
		_, err = f.Write(appendRecord(nil, uint64(i+1), kindMessage, func(b []byte) []byte { return appendMessage(b, &o, time.Unix(0, at)) }))
		if err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

func openAged(t *testing.T, disk *faultFS, maxAge time.Duration) *Spool {
	t.Helper()
	c := config()
	c.MaxAge = maxAge
	s, err := open(disk, "/s", c, noUnlock)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestClockSetBack: the messages of a process whose clock was ahead are not too old, and become it in time.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Now().AddDate(1, 0, 0).UnixNano()
		s := openAged(t, written(t, ahead, ahead+1, math.MaxInt64), time.Hour)
		if oldest := s.Stats().Oldest; oldest.After(time.Now()) {
			t.Errorf("Stats.Oldest = %v, in the future", oldest)
		}
		time.Sleep(59 * time.Minute)
		got := takeAll(t, s)
		if !slices.Equal(ids(got), []string{"a", "b", "c"}) {
			t.Fatalf("took %v after 59 minutes, want all in order", ids(got))
		}
		for _, x := range got {
			if age := time.Since(x.Appended); age != 59*time.Minute {
				t.Errorf("%s is %v old, want 59m: since the restart", x.Message.CallID, age)
			}
			if err := s.Settle(x, queue.SpoolAgain, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if got := takeAll(t, s); len(got) > 0 || len(s.aside) != 3 {
			t.Errorf("took %v after 61 minutes, %v put aside, want three aside", ids(got), s.aside)
		}
	})
}

// TestClockIsMonotonic: ages are differences to the opening, and no step of the wall clock is in a difference of monotonic
// readings. (In a bubble, and after Round(0), times have none.)
func TestClockIsMonotonic(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Config{})
	defer s.Close()
	if err := s.Append(t.Context(), message("a")); err != nil {
		t.Fatal(err)
	}
	if oldest := s.Stats().Oldest; s.opened == s.opened.Round(0) || oldest == oldest.Round(0) {
		t.Errorf("opened at %v, oldest from %v: want monotonic readings", s.opened, oldest)
	}
}

// TestClockSetForward: a message is as old as the time that passed while the spool was open, plus, of an earlier process, what
// the wall clock had at the restart; no date overflows.
func TestClockSetForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := openAged(t, written(t, start.Add(-30*time.Minute).UnixNano(), math.MinInt64), time.Hour)
		if err := s.Append(t.Context(), message("new")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Minute)
		got := takeAll(t, s)
		if !slices.Equal(ids(got), []string{"a", "new"}) || !slices.Equal(s.aside, []string{"b"}) {
			t.Fatalf("took %v, aside %v, want a and new, and b of no date aside", ids(got), s.aside)
		}
		for _, x := range got {
			if err := s.Settle(x, queue.SpoolAgain, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if got := ids(takeAll(t, s)); !slices.Equal(got, []string{"new"}) {
			t.Errorf("took %v after 31 minutes, want new", got)
		}
	})
}
