//go:build unix

package chromium

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A wire carries DevTools messages: calls, their answers, and events.
type wire struct {
	in      io.ReadCloser
	out     io.WriteCloser
	reading sync.WaitGroup
	writing sync.Mutex // one message after the other

	mu      sync.Mutex // guards all below
	last    int
	waiting map[int]chan message
	hear    map[string]func(method string, params json.RawMessage) // by session
	err     error                                                  // why there are no more answers
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
		Data    string `json:"data"`
	} `json:"error,omitempty"`
}

func newWire(in io.ReadCloser, out io.WriteCloser) *wire {
	w := &wire{in: in, out: out, waiting: map[int]chan message{}, hear: map[string]func(string, json.RawMessage){}}
	w.reading.Go(w.read)
	return w
}

// read hands messages to those who wait for them.
func (w *wire) read() {
	r := bufio.NewReaderSize(w.in, 1<<16)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			w.fail(err)
			return
		}
		var m message
		if err := json.Unmarshal(line[:len(line)-1], &m); err != nil {
			w.fail(err)
			return
		}
		w.mu.Lock()
		answer, hear := w.waiting[m.ID], w.hear[m.Session]
		delete(w.waiting, m.ID)
		w.mu.Unlock()
		switch {
		case m.ID != 0 && answer != nil:
			answer <- m // has room for the one answer
		case m.ID == 0 && hear != nil:
			hear(m.Method, m.Params)
		}
	}
}

func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = fmt.Errorf("the browser hung up: %w", err)
	for _, c := range w.waiting {
		close(c)
	}
	clear(w.waiting)
}

// listen has a function called for every event of a session, one at a time; it must not call.
func (w *wire) listen(session string, f func(method string, params json.RawMessage)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hear[session] = f
}

// call runs a method and decodes its result into result, unless that is nil.
func (w *wire) call(ctx context.Context, session, method string, params, result any) error {
	m := message{Session: session, Method: method}
	if params != nil {
		data, err := json.Marshal(params)
		if err != nil {
			return err
		}
		m.Params = data
	}
	answer := make(chan message, 1)
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return w.err
	}
	w.last++
	m.ID = w.last
	w.waiting[m.ID] = answer
	w.mu.Unlock()
	if err := w.send(m); err != nil {
		return err
	}
	select {
	case got, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", method, w.reason())
		case got.Error != nil:
			return fmt.Errorf("%s: %s %s", method, got.Error.Message, got.Error.Data)
		case result == nil:
			return nil
		}
		return json.Unmarshal(got.Result, result)
	case <-ctx.Done():
		w.mu.Lock()
		delete(w.waiting, m.ID)
		w.mu.Unlock()
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

func (w *wire) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *wire) send(m message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	_, err = w.out.Write(append(data, 0))
	return err
}

// stop closes the pipe to the browser, which ends it.
func (w *wire) stop() { _ = w.out.Close() }

// wait closes the pipe from the browser, after its end, and waits for the reader.
func (w *wire) wait() {
	_ = w.in.Close()
	w.reading.Wait()
}

var errNoElement = errors.New("no such element")
