package embedded

import (
	"io"
	"sync"
)

// A copyOnce passes each entry of an audit log on once, whoever writes it first: every Region has a copy of its own, and a process
// that was away catches up.
type copyOnce struct {
	mu   sync.Mutex // guards all below
	to   io.Writer
	seen map[string]bool
}

// onceTo returns a writer of entries to w, nil for nil.
func onceTo(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return &copyOnce{to: w, seen: map[string]bool{}}
}

// Write takes one entry. One that could not be written is not seen: its writer tries again.
func (c *copyOnce) Write(entry []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[string(entry)] {
		return len(entry), nil
	}
	n, err := c.to.Write(entry)
	if err == nil {
		c.seen[string(entry)] = true
	}
	return n, err
}
