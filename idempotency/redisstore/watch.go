package redisstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
)

// watchers share one subscription connection, which lives while somebody waits.
type watchers struct {
	subscriber Subscriber

	mu     sync.Mutex // guards the following; never held during I/O
	feed   *feed
	topics map[string]*topic
}

// A feed is the subscription connection. go-redis dials under a lock that its receiving side also takes: whoever
// opens the feed subscribes alone, and everything else comes after.
type feed struct {
	*redis.PubSub
	opened chan struct{} // closed when the first subscription was sent, or failed
}

// A topic is a channel somebody waits on.
type topic struct {
	ready   chan struct{} // closed when Redis has confirmed the subscription
	waiting map[chan struct{}]struct{}
}

var errNoSubscriber = errors.New("redisstore: no Subscriber")

// confirmWithin bounds the wait for Redis to confirm a subscription; without it waiting callers poll.
const confirmWithin = time.Second

// Watch implements idempotency.Watcher.
func (s *Store) Watch(ctx context.Context, key idempotency.Key) (ended <-chan struct{}, stop func(), err error) {
	if s.watchers.subscriber == nil {
		return nil, nil, errNoSubscriber
	}
	return s.watchers.watch(ctx, s.names(key).record)
}

func (w *watchers) watch(ctx context.Context, channel string) (<-chan struct{}, func(), error) {
	ended := make(chan struct{}, 1)
	t, f, opens, isNew := w.join(channel, ended)
	stop := sync.OnceFunc(func() { w.leave(channel, ended) })
	var err error
	switch {
	case opens:
		err = f.Subscribe(ctx, channel)
		go w.pump(f) // also after an error: others wait beside this one, and the pump connects again until the last has left
		close(f.opened)
	case isNew:
		select {
		case <-f.opened:
			err = f.Subscribe(ctx, channel)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	timer := time.NewTimer(confirmWithin)
	defer timer.Stop()
	select {
	case <-t.ready:
		return ended, stop, nil
	case <-timer.C:
		stop()
		return nil, nil, errors.New("redisstore: subscription not confirmed")
	case <-ctx.Done():
		stop()
		return nil, nil, context.Cause(ctx)
	}
}

// join adds a waiter. opens says that the caller must open the feed, isNew that it must subscribe to the channel.
func (w *watchers) join(channel string, ended chan struct{}) (t *topic, f *feed, opens, isNew bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.feed == nil {
		w.feed = &feed{PubSub: w.subscriber.Subscribe(context.Background()), opened: make(chan struct{})} // no I/O yet
		w.topics, opens = map[string]*topic{}, true
	}
	t = w.topics[channel]
	if t == nil {
		t = &topic{ready: make(chan struct{}), waiting: map[chan struct{}]struct{}{}}
		w.topics[channel] = t
		isNew = true
	}
	t.waiting[ended] = struct{}{}
	return t, w.feed, opens, isNew
}

// leave removes a waiter, and closes the feed after the last. A subscription that crosses with one
// of the same channel may get lost; that waiter polls.
func (w *watchers) leave(channel string, ended chan struct{}) {
	w.mu.Lock()
	f, unsubscribe, last := w.feed, false, false
	if t := w.topics[channel]; t != nil {
		delete(t.waiting, ended)
		if unsubscribe = len(t.waiting) == 0; unsubscribe {
			delete(w.topics, channel)
		}
	}
	if last = len(w.topics) == 0; last {
		w.feed = nil
	}
	w.mu.Unlock()
	switch {
	case f == nil:
	case last:
		_ = f.Close() // it was only read
	case unsubscribe:
		ctx, cancel := context.WithTimeout(context.Background(), confirmWithin)
		defer cancel()
		_ = f.Unsubscribe(ctx, channel) // a channel too many is harmless
	}
}

// pump hands messages to waiters until the feed is closed.
func (w *watchers) pump(f *feed) {
	for message := range f.ChannelWithSubscriptions() {
		switch m := message.(type) {
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				w.confirm(f, m.Channel)
			}
		case *redis.Message:
			w.wake(f, m.Channel)
		}
	}
}

func (w *watchers) confirm(f *feed, channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.topics[channel]
	if t == nil || w.feed != f {
		return
	}
	select {
	case <-t.ready: // confirmed before; this is a reconnection, which may have missed an end
		t.wake()
	default:
		close(t.ready)
	}
}

func (w *watchers) wake(f *feed, channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.topics[channel]; t != nil && w.feed == f {
		t.wake()
	}
}

func (t *topic) wake() {
	for ended := range t.waiting {
		select {
		case ended <- struct{}{}:
		default:
		}
	}
}
