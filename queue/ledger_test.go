package queue_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/queue"
)

// A runaway is a call that moves between two places while it is looked for: the first moves of its life all go to the place that has just been read.
type runaway struct {
	at    string
	moves int
	asked func()
}

// A place is where it may be.
type place struct {
	name string
	call *runaway
}

// Calls implements queue.Holding.
func (p place) Calls(context.Context) ([]string, error) {
	c := p.call
	if c.asked != nil {
		c.asked()
	}
	switch {
	case c.at == p.name:
		return []string{"call"}, nil
	case c.at != "" && c.moves > 0:
		c.at = p.name
		c.moves--
	}
	return nil, nil
}

func (r *runaway) holdings() map[string]queue.Holding {
	return map[string]queue.Holding{"spool": place{"spool", r}, "queue": place{"queue", r}, "dead": place{"dead", r}}
}

func TestLedgerFindsWhatMoves(t *testing.T) {
	for _, moves := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(moves, " moves"), func(t *testing.T) {
			for range 50 { // holdings are asked in any order
				l := queue.NewLedger()
				l.Accept("call")
				r := l.Check(t.Context(), (&runaway{at: "spool", moves: moves}).holdings())
				if len(r.Lost) > 0 || r.Accepted != 1 {
					t.Fatalf("Lost = %v of %d, want none", r.Lost, r.Accepted)
				}
			}
		})
	}
	t.Run("what is nowhere is lost", func(t *testing.T) {
		l := queue.NewLedger()
		l.Accept("call")
		r := l.Check(t.Context(), (&runaway{}).holdings())
		if !slices.Equal(r.Lost, []string{"call"}) {
			t.Errorf("Lost = %v, want the call", r.Lost)
		}
	})
	t.Run("what is accepted meanwhile is not looked for", func(t *testing.T) {
		l := queue.NewLedger()
		l.Accept("call")
		r := l.Check(t.Context(), (&runaway{at: "queue", asked: func() { l.Accept("later") }}).holdings())
		if len(r.Lost) > 0 {
			t.Errorf("Lost = %v, want none", r.Lost)
		}
	})
}
