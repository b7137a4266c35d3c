package redistest

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// An engine is a miniredis that no socket belongs to, with the clock that it is given.
type engine struct {
	*miniredis.Miniredis

	mu    sync.Mutex // guards the following
	clock time.Time
	aged  time.Time     // up to where TTLs have been counted
	every time.Duration // how often they are
	ages  int           // how often they were
}

// exactKeys is up to how many keys TTLs are exact. Miniredis counts those of all keys at a time, so that beyond it they are counted once in
// agePerKey for every key: 10,000 keys may expire 100 ms early.
const (
	exactKeys = 1000
	agePerKey = 10 * time.Microsecond
)

func newEngine(now time.Time) *engine {
	e := &engine{Miniredis: miniredis.NewMiniRedis(), clock: now, aged: now}
	e.Seed(1) // random commands come out alike on a replica
	e.SetTime(now)
	c, err := e.Dial() // the only way to start it without a listener
	if err != nil {
		panic(fmt.Sprintf("redistest: miniredis: %v", err))
	}
	_ = c.Close()
	return e
}

// at moves the clock. It stands still when time goes back: keys then live longer, as those of
// Redis do, which expire at an instant; miniredis would count the same seconds twice.
func (e *engine) at(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !t.After(e.clock) {
		return
	}
	e.clock = t
	e.SetTime(t)
	if passed := t.Sub(e.aged); passed >= e.every {
		e.aged = t
		e.FastForward(passed)
		e.paceLocked()
	}
}

// paceLocked looks now and then how many keys there are.
func (e *engine) paceLocked() {
	if e.ages++; e.every == 0 && e.ages%64 != 0 {
		return
	}
	e.every = 0
	if keys := len(e.Keys()); keys > exactKeys {
		e.every = time.Duration(keys) * agePerKey
	}
}

// deaf is a client that does not hear answers.
func deaf() *server.Peer { return server.NewPeer(bufio.NewWriter(io.Discard)) }

// writes reports whether a command may change data. Scripts may.
func (e *engine) writes(name string) bool {
	switch name {
	case "PING", "ECHO", "AUTH", "HELLO", "QUIT", "CLIENT", "INFO", "COMMAND", "CLUSTER", "WAIT", "TIME", "MEMORY", "OBJECT", "XINFO",
		"MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SELECT", "SCRIPT",
		"SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PUBLISH", "PUBSUB":
		return false
	}
	return e.Server().IsRegisteredCommand(name) && !e.Server().IsReadOnlyCommand(name)
}
