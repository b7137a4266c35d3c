package redistest

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// An engine is a miniredis that no socket belongs to, with the clock that it is given.
type engine struct {
	*miniredis.Miniredis
	lab *lab // runs scripts

	mu    sync.Mutex // guards the following
	clock time.Time
	aged  time.Time                // up to where TTLs have been counted
	every time.Duration            // how often they are; 0 = whenever the clock moves
	steps int                      // how often they were
	ttls  map[string]time.Duration // as they were left, while every is not 0
	exact map[string]time.Time     // until when the TTLs of single keys have been counted, of those later than aged
}

func newEngine(now time.Time) *engine {
	e := &engine{Miniredis: miniredis.NewMiniRedis(), clock: now, aged: now}
	e.Seed(1) // random commands come out alike on a replica
	e.SetTime(now)
	c, err := e.Dial() // the only way to start it without a listener
	if err != nil {
		panic(fmt.Sprintf("redistest: miniredis: %v", err))
	}
	_ = c.Close()
	e.lab = newLab(e)
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
		e.ageLocked(passed)
	}
}

// Miniredis counts TTLs by going through all keys, which is too slow to do for every command when there are many. Then they are counted in
// steps of a hundredth of the shortest, at most a minute: a key that nobody asks for lives up to a step too long, never too short. Those of a
// command are counted first, or the instant at which a key expires, PEXPIRETIME, would move on with the clock.
const (
	exactKeys = 200
	maxStep   = time.Minute
)

// ageLocked lets TTLs run down by what has passed. Those counted or set since the last step get what they are ahead added first.
func (e *engine) ageLocked(passed time.Duration) {
	db := e.DB(0)
	if e.every > 0 {
		for _, key := range db.Keys() {
			ttl := db.TTL(key)
			until, exact := e.exact[key]
			switch {
			case ttl <= 0:
			case exact:
				db.SetTTL(key, ttl+passed-e.clock.Sub(until))
			case ttl != e.ttls[key]:
				db.SetTTL(key, ttl+passed)
			}
		}
	}
	clear(e.exact)
	e.FastForward(passed)
	if e.steps++; e.every == 0 && e.steps%64 != 0 {
		return
	}
	e.every, e.ttls = 0, nil
	keys := db.Keys()
	if len(keys) <= exactKeys {
		return
	}
	shortest := 100 * maxStep
	e.ttls, e.exact = make(map[string]time.Duration, len(keys)), map[string]time.Time{}
	for _, key := range keys {
		if ttl := db.TTL(key); ttl > 0 {
			e.ttls[key] = ttl
			shortest = min(shortest, ttl)
		}
	}
	e.every = max(shortest/100, 1)
}

// count lets the TTLs run down of the keys that a command writes or asks for the time of, as if all were counted for every command. It counts as a
// change of the key: in a transaction, where the client would see it in what it watches, nothing is counted.
func (e *engine) count(name string, args []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.every == 0 || !e.clock.After(e.aged) {
		return
	}
	db := e.DB(0)
	for _, key := range e.keysOf(name, args) {
		until, ok := e.exact[key]
		if !ok {
			until = e.aged
		}
		e.exact[key] = e.clock // also of a key that the command makes
		behind, ttl := e.clock.Sub(until), db.TTL(key)
		switch {
		case behind == 0 || ttl <= 0:
		case ttl <= behind:
			db.Del(key)
		default:
			db.SetTTL(key, ttl-behind)
		}
	}
}

// keysOf returns the keys of a command that heeds TTLs; what is not a key among them does no harm.
func (e *engine) keysOf(name string, args []string) []string {
	switch name {
	case "EVAL", "EVALSHA":
		if len(args) > 3 {
			if n, err := strconv.Atoi(args[2]); err == nil && n >= 0 && n <= len(args)-3 {
				return args[3 : 3+n]
			}
		}
		return nil
	case "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME":
		return args[1:]
	}
	if e.writes(name) {
		return args[1:]
	}
	return nil
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
