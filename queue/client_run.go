package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/telemetry"
)

// drainWindow is how many batches of the spool may be in flight once all goes well.
const drainWindow = 8

// lastDrain is how long Run goes on sending the spool after its context ended.
const lastDrain = 10 * time.Second

// Run sends what is in the spool until ctx ends: oldest first, one batch at first, up to eight at a time while all
// goes well, with pauses of 1 s to 30 s while nothing does. After ctx it waits for the sends in flight, tries once
// more to empty the spool for up to 10 s, and returns nil. If the spool's volume is not declared durable
// and messages are left on it, the error says how many. Run owns its goroutines: one waits
// to send for callers who come alone and may leave, one asks for the epoch. Call it once. Stop what defers first.
func (c *Client) Run(ctx context.Context) error {
	if c.running.Swap(true) {
		return errors.New("queue: Client.Run called twice")
	}
	c.sender.keepCarrier(true)
	watched := c.watchEpoch(ctx)
	if c.config.Spool == nil {
		<-ctx.Done()
	} else {
		d := drainer{c: c, window: 1}
		d.run(ctx)
	}
	watched()
	c.sender.keepCarrier(false)
	c.sender.rest()
	if c.config.Spool == nil {
		return nil
	}
	return c.lastDrain()
}

// lastDrain empties the spool while that works.
func (c *Client) lastDrain() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastDrain)
	defer cancel()
	for ctx.Err() == nil && c.config.Spool.Stats().Messages > 0 {
		batch, err := c.config.Spool.Take(ctx, c.limits.Batch)
		if err != nil || c.replay(ctx, batch) > 0 {
			break
		}
	}
	left := c.config.Spool.Stats().Messages
	if left == 0 || c.config.SpoolDurable {
		return nil
	}
	return fmt.Errorf("queue: client %q stopped with %d calls in a spool that is not declared durable", c.config.Name, left)
}

// A drainer sends the spool's messages with slow start.
type drainer struct {
	c *Client

	mu       sync.Mutex // guards the following
	window   int        // batches allowed in flight
	inFlight int
	fails    int
	resume   time.Time
	changed  chan struct{} // closed when a batch ends
}

func (d *drainer) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for d.wait(ctx) {
		batch, err := d.c.config.Spool.Take(ctx, max(1, d.c.limits.Batch))
		if err != nil {
			return
		}
		d.mu.Lock()
		d.inFlight++
		d.mu.Unlock()
		wg.Go(func() { d.finish(len(batch), d.c.replay(ctx, batch)) })
	}
}

// wait blocks until the window has room and the pause is over.
func (d *drainer) wait(ctx context.Context) bool {
	for ctx.Err() == nil {
		d.mu.Lock()
		pause := time.Until(d.resume)
		room := d.inFlight < d.window
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed := d.changed
		d.mu.Unlock()
		switch {
		case room && pause <= 0:
			return true
		case room:
			sleep(ctx, pause)
		default:
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
	return false
}

// finish adapts the window: one more after a success, back to one after a failure.
func (d *drainer) finish(sent, failed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
	if failed == 0 {
		d.window, d.fails = min(d.window+1, drainWindow), 0
		return
	}
	d.window = 1
	d.fails = min(d.fails+1, 6)
	pause := min(downMax, time.Second<<(d.fails-1))
	d.resume = time.Now().Add(pause/2 + rand.N(pause))
	if d.fails == 1 {
		d.c.logger().Warn("queue: spool is not drained", slog.String("client", d.c.config.Name), slog.Int("failed", failed), slog.Int("of", sent))
	}
}

// replay sends a batch of the spool and returns how many messages stay in it.
func (c *Client) replay(ctx context.Context, batch []Spooled) (failed int) {
	if c.health.failing.Load() && !c.spend() {
		for _, s := range batch {
			c.settle(s, SpoolAgain, nil)
		}
		return len(batch)
	}
	out := make([]Outgoing, len(batch))
	for i := range batch {
		out[i] = batch[i].Message
	}
	// The send has its own deadline: what was begun when ctx ends is finished, not guessed.
	send, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.SendTimeout*time.Duration(c.regions))
	began := time.Now()
	results := c.transport.Send(send, out)
	cancel()
	c.telemetry.sent(len(out), time.Since(began), results)
	for i, r := range results {
		switch {
		case r.Err == nil:
			if r.Copies {
				c.config.Ledger.Explain(batch[i].Message.CallID, RuleSendUnknown)
			}
			c.settle(batch[i], SpoolSent, nil)
		case outcome.Permanent(r.Err):
			c.settle(batch[i], SpoolRefused, r.Err)
		default:
			failed++
			c.explainReplay(batch[i], r.Err)
			c.settle(batch[i], SpoolAgain, nil)
		}
	}
	c.health.note(len(batch), failed)
	return failed
}

func (c *Client) explainReplay(s Spooled, err error) {
	if outcome.Of(err) == outcome.Unknown {
		c.config.Ledger.Explain(s.Message.CallID, RuleSendUnknown)
	}
}

// settle tells the spool. If that fails for a sent message it will be sent again: same ID, never lost.
func (c *Client) settle(s Spooled, v SpoolVerdict, why error) {
	if v == SpoolRefused {
		c.logger().Error("queue: no queue takes this call; it is in the spool's quarantine", slog.String("client", c.config.Name),
			slog.String("call_id", s.Message.CallID), slog.Any("error", why))
	}
	if err := c.config.Spool.Settle(s, v, why); err != nil {
		c.config.Ledger.Explain(s.Message.CallID, RuleResentNotGone)
		c.logger().Error("queue: spool does not forget a call", slog.String("client", c.config.Name), slog.Any("error", err))
	}
}

func (c *Client) logger() *slog.Logger { return telemetry.Logger(c.config.Logger) }

// sleep waits for d or ctx and reports whether d passed.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
