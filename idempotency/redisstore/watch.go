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
	feed   *redis.PubSub
	topics map[string]*topic
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
	return s.watchers.watch(ctx, s.names(key).channel)
}

func (w *watchers) watch(ctx context.Context, channel string) (<-chan struct{}, func(), error) {
	ended := make(chan struct{}, 1)
	t, feed, isNew := w.join(channel, ended)
	stop := sync.OnceFunc(func() { w.leave(channel, ended) })
	if isNew {
		if err := feed.Subscribe(ctx, channel); err != nil {
			stop()
			return nil, nil, err
		}
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

// join adds a waiter, and opens the feed for the first.
func (w *watchers) join(channel string, ended chan struct{}) (t *topic, feed *redis.PubSub, isNew bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.feed == nil {
		w.feed, w.topics = w.subscriber.Subscribe(context.Background()), map[string]*topic{}
		go w.pump(w.feed)
	}
	t = w.topics[channel]
	if t == nil {
		t = &topic{ready: make(chan struct{}), waiting: map[chan struct{}]struct{}{}}
		w.topics[channel] = t
		isNew = true
	}
	t.waiting[ended] = struct{}{}
	return t, w.feed, isNew
}

// leave removes a waiter, and closes the feed after the last. A subscription that crosses with one
// of the same channel may get lost; that waiter polls.
func (w *watchers) leave(channel string, ended chan struct{}) {
	w.mu.Lock()
	feed, unsubscribe, last := w.feed, false, false
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
	case feed == nil:
	case last:
		_ = feed.Close() // it was only read
	case unsubscribe:
		ctx, cancel := context.WithTimeout(context.Background(), confirmWithin)
		defer cancel()
		_ = feed.Unsubscribe(ctx, channel) // a channel too many is harmless
	}
}

// pump hands messages to waiters until the feed is closed.
func (w *watchers) pump(feed *redis.PubSub) {
	for message := range feed.ChannelWithSubscriptions() {
		switch m := message.(type) {
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				w.confirm(feed, m.Channel)
			}
		case *redis.Message:
			w.wake(feed, m.Channel)
		}
	}
}

func (w *watchers) confirm(feed *redis.PubSub, channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.topics[channel]
	if t == nil || w.feed != feed {
		return
	}
	select {
	case <-t.ready: // confirmed before; this is a reconnection, which may have missed an end
		t.wake()
	default:
		close(t.ready)
	}
}

func (w *watchers) wake(feed *redis.PubSub, channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.topics[channel]; t != nil && w.feed == feed {
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
