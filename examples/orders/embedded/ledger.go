package embedded

import (
	"context"
	"path/filepath"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/spool"
)

// Holdings are all places where deferred calls wait, for [queue.Ledger.Check]. Call it after [Fleet.Stop], when no process holds its spools; close
// gives them back.
func (f *Fleet) Holdings() (holdings map[string]queue.Holding, close func(), err error) {
	holdings = map[string]queue.Holding{}
	var open []*spool.Spool
	close = func() {
		for _, s := range open {
			_ = s.Close()
		}
	}
	for _, site := range f.Sites {
		for _, q := range append(site.Queues, site.Dead...) {
			holdings[site.Name+"/"+q.Name()] = held{q}
		}
	}
	dirs, err := filepath.Glob(filepath.Join(f.Config.Dir, "*", "spool-*"))
	for _, dir := range dirs {
		s, err := spool.Open(dir, spool.Config{})
		if err != nil {
			close()
			return nil, nil, err
		}
		open = append(open, s)
		holdings[dir] = s
	}
	return holdings, close, err
}

// held lists the calls in a queue, those that are leased or delayed too.
type held struct{ queue *sqstest.Queue }

func (h held) Calls(context.Context) (ids []string, err error) {
	for _, m := range h.queue.Messages() {
		var e queue.Envelope
		if e.Decode(m.Body) == nil { // else it is no call
			ids = append(ids, e.ID)
		}
	}
	return ids, nil
}
