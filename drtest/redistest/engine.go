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

	mu    sync.Mutex // guards clock
	clock time.Time
}

func newEngine(now time.Time) *engine {
	e := &engine{Miniredis: miniredis.NewMiniRedis(), clock: now}
	e.Seed(1) // random commands come out alike on a replica
	e.SetTime(now)
	e.ClockTTL(true)
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
	if t.After(e.clock) {
		e.clock = t
		e.SetTime(t)
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
