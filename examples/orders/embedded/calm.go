package embedded

import (
	"fmt"
	"time"
)

// Unrest says why not all is as in good times, nil if it is: the writer is at home and no move is under way, the other database follows it, every feature of
// every process is at its best, and no key waits for its second copy.
func (f *Fleet) Unrest() (why []string) {
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	home, standby := f.Sites[East], f.Sites[West]
	if home.steady() == nil {
		say("the writer is not at home, or a move is under way")
		for _, s := range f.Sites {
			for _, svc := range s.Services() {
				st := svc.Controller.Status()
				say("%s sees writer %q in phase %v, refused %q, why %q, health %v", st.Instance, st.Writer, st.Phase, st.Refused, st.Why, st.Health)
			}
		}
	}
	if behind := standby.Store.Behind(); standby.primary.Load() || behind > f.Config.Lag+time.Second {
		say("the standby does not follow, or is %v behind", behind)
	}
	why = append(why, f.degraded()...)
	for _, s := range f.Sites {
		for _, svc := range s.Services() {
			if since := svc.Keys.UnprotectedSince(); !since.IsZero() {
				say("a process in %s has keys with one copy since %v", s.Name, since)
			}
		}
	}
	return why
}

// Waiting returns how many deferred calls wait in each place, dead letters not counted.
func (f *Fleet) Waiting() map[string]int {
	waiting := map[string]int{}
	count := func(place string, n int) {
		if n > 0 {
			waiting[place] = n
		}
	}
	for region, s := range f.Sites {
		for i, lane := range lanes {
			count(region+" "+lane, len(s.Queues[i].Messages()))
		}
		s.mu.Lock()
		for name, spool := range s.spools {
			count(name, spool.Stats().Messages)
		}
		s.mu.Unlock()
	}
	return waiting
}
