package queue

import (
	"regexp"
	"sync"
	"testing"
	"time"
)

func TestIDsAreVersion7InOrderAndDistinct(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			at := time.UnixMilli(1_700_000_000_000)
			last := ""
			for range 1000 {
				at = at.Add(time.Microsecond) // four steps of the fraction
				id := newID(at)
				mu.Lock()
				if !form.MatchString(id) || seen[id] || id <= last {
					t.Errorf("newID = %q after %q, seen %v", id, last, seen[id])
				}
				seen[id] = true
				mu.Unlock()
				last = id
			}
		})
	}
	wg.Wait()
	if got, want := newID(time.UnixMilli(0x0192f5a00000).Add(999_999))[:18], "0192f5a0-0000-7fff"; got != want {
		t.Errorf("newID begins with %q, want %q", got, want)
	}
}
