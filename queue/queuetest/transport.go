package queuetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/queue"
)

// Kit configures [TestTransport].
type Kit struct {
	// Open returns an empty queue and its dead-letter queue, new for every test. fifo asks for FIFO queues.
	Open func(t *testing.T, fifo bool) (main, dead queue.Transport)

	// Bubble runs each test, (synctest.Test) for one that lives on virtual time. Nil runs it as it is.
	Bubble func(t *testing.T, test func(*testing.T))

	// Deviations names the tests that the server behind the transport is known to fail, with the reason. They are
	// skipped by name.
	Deviations map[string]string
}

// TestTransport checks that a transport keeps the rules of [queue.Transport]. Leases and delays of the tests are of one or
// two seconds, in real time outside a bubble.
func TestTransport(t *testing.T, kit Kit) {
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		t.Run(name, func(t *testing.T) {
			if reason := kit.Deviations[name]; reason != "" {
				t.Skip("known deviation: " + reason)
			}
			fifo := strings.HasPrefix(name, "FIFO")
			run := func(t *testing.T) {
				main, dead := kit.Open(t, fifo)
				rules[name](&bench{T: t, main: main, dead: dead})
			}
			if kit.Bubble != nil {
				kit.Bubble(t, run)
				return
			}
			t.Parallel()
			run(t)
		})
	}
}

// rules are the tests by name. Names that begin with FIFO get FIFO queues.
var rules = map[string]func(*bench){
	"what is sent is received whole":           testWhole,
	"messages of a batch have results each":    testBatchResults,
	"many messages in one call":                testManyMessages,
	"a leased message is hidden":               testHidden,
	"a lease that ends gives the message back": testLeaseEnds,
	"extending keeps the lease":                testExtend,
	"releasing at once":                        testReleaseNow,
	"releasing for later":                      testReleaseLater,
	"deleted is gone":                          testDelete,
	"deleting twice is no error":               testDeleteTwice,
	"a stale receipt does not delete":          testStaleDelete,
	"a poll waits for its time":                testPollWaits,
	"a poll wakes on a send":                   testPollWakes,
	"a cancelled poll returns":                 testPollCancelled,
	"a delayed message waits":                  testDelay,
	"receives are counted":                     testReceives,
	"dead letters carry their reasons":         testDead,
	"counts by state":                          testStats,
	"too large is refused":                     testTooLarge,
	"bad characters are refused":               testBadCharacters,
	"a group needs FIFO":                       testGroupOnStandard,
	"a cancelled send is not run or unknown":   testCancelledSend,
	"FIFO needs a group":                       testFIFONeedsGroup,
	"FIFO delays no message":                   testFIFODelay,
	"FIFO keeps the order of a group":          testFIFOOrder,
	"FIFO locks a group":                       testFIFOLock,
	"FIFO gives back in order":                 testFIFORelease,
	"FIFO removes duplicates":                  testFIFODuplicates,
}

type bench struct {
	*testing.T
	main, dead queue.Transport
	n          int
}

func (b *bench) ctx() context.Context { return b.Context() }

// out makes a message with an envelope for a body.
func (b *bench) out(group string) queue.Outgoing {
	b.n++
	e := queue.Envelope{ID: fmt.Sprintf("call-%d", b.n), Name: "kit.call.v1", Source: "kit", Time: time.Now().UTC(), Group: group, Data: []byte(`{"text":"grüße <&> \u0001"}`)}
	return queue.Outgoing{CallID: e.ID, Body: string(e.Append(nil)), Group: group}
}

func (b *bench) send(out ...queue.Outgoing) {
	b.Helper()
	for i, r := range b.main.Send(b.ctx(), out) {
		if r.Err != nil {
			b.Fatalf("Send: message %d: %v", i, r.Err)
		}
	}
}

// receive polls until n messages came, or for up to 5 s.
func (b *bench) receive(t queue.Transport, n int, lease time.Duration) []*queue.Message {
	b.Helper()
	var all []*queue.Message
	for began := time.Now(); len(all) < n && time.Since(began) < 5*time.Second; {
		got, err := t.Receive(b.ctx(), queue.ReceiveRequest{Max: min(10, n-len(all)), Wait: time.Second, Lease: lease})
		if err != nil {
			b.Fatalf("Receive: %v", err)
		}
		all = append(all, got...)
	}
	if len(all) != n {
		b.Fatalf("received %d messages, want %d", len(all), n)
	}
	return all
}

func (b *bench) one(lease time.Duration) *queue.Message { return b.receive(b.main, 1, lease)[0] }

func (b *bench) none() {
	b.Helper()
	got, err := b.main.Receive(b.ctx(), queue.ReceiveRequest{Max: 10, Lease: time.Minute})
	if err != nil || len(got) > 0 {
		b.Fatalf("Receive = %d messages, %v, want none", len(got), err)
	}
}

func (b *bench) ok(errs []error) {
	b.Helper()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) refused(o queue.Outgoing, what string) {
	b.Helper()
	err := b.main.Send(b.ctx(), []queue.Outgoing{o})[0].Err
	e, ok := errors.AsType[*queue.SendError](err)
	if !ok || !e.NotRun() || !e.Permanent() {
		b.Errorf("Send of %s = %v, want a *queue.SendError that is permanent and not run", what, err)
	}
}

func testWhole(b *bench) {
	o := b.out("")
	b.send(o)
	m := b.one(time.Minute)
	if m.Body != o.Body || m.ID == "" || m.Receipt == "" || m.Region != b.main.Limits().Region {
		b.Errorf("received %+v, want the body %q", m, o.Body)
	}
	if d := time.Until(m.LeaseUntil); d < 50*time.Second || d > time.Minute {
		b.Errorf("lease ends in %v, want about a minute", d)
	}
	if time.Since(m.Sent) > time.Minute || m.FirstReceived.IsZero() {
		b.Errorf("sent %v, first received %v: not set", m.Sent, m.FirstReceived)
	}
}

func testBatchResults(b *bench) {
	good, bad := b.out(""), b.out("")
	bad.Body = "\x00"
	r := b.main.Send(b.ctx(), []queue.Outgoing{good, bad, b.out("")})
	if len(r) != 3 || r[0].Err != nil || r[1].Err == nil || r[2].Err != nil || r[0].MessageID == "" {
		b.Errorf("results %+v, want only the second to fail", r)
	}
	b.receive(b.main, 2, time.Minute)
}

func testManyMessages(b *bench) {
	var out []queue.Outgoing
	for range 25 {
		out = append(out, b.out(""))
	}
	b.send(out...)
	got := b.receive(b.main, 25, time.Minute)
	b.ok(b.main.Extend(b.ctx(), got, time.Minute))
	b.ok(b.main.Delete(b.ctx(), got))
	b.none()
}

func testHidden(b *bench) {
	b.send(b.out(""))
	b.one(time.Minute)
	b.none()
}

func testLeaseEnds(b *bench) {
	b.send(b.out(""))
	first := b.one(time.Second)
	second := b.one(time.Minute)
	if second.ID != first.ID {
		b.Errorf("received %s, want %s again", second.ID, first.ID)
	}
}

func testExtend(b *bench) {
	b.send(b.out(""))
	m := b.one(time.Second)
	b.ok(b.main.Extend(b.ctx(), []*queue.Message{m}, time.Minute))
	got, err := b.main.Receive(b.ctx(), queue.ReceiveRequest{Max: 1, Wait: 2 * time.Second, Lease: time.Minute})
	if err != nil || len(got) > 0 {
		b.Errorf("Receive = %d messages, %v after the first lease would have ended, want none", len(got), err)
	}
}

func testReleaseNow(b *bench) {
	b.send(b.out(""))
	m := b.one(time.Minute)
	b.ok(b.main.Release(b.ctx(), []queue.Release{{Message: m}}))
	if again := b.one(time.Minute); again.ID != m.ID || again.Receives != 2 {
		b.Errorf("received %s with %d receives, want %s with 2", again.ID, again.Receives, m.ID)
	}
}

func testReleaseLater(b *bench) {
	b.send(b.out(""))
	m := b.one(time.Minute)
	began := time.Now()
	b.ok(b.main.Release(b.ctx(), []queue.Release{{Message: m, After: 2 * time.Second}}))
	b.none()
	b.one(time.Minute)
	if took := time.Since(began); took < 1500*time.Millisecond {
		b.Errorf("came back after %v, want 2s", took)
	}
}

func testDelete(b *bench) {
	b.send(b.out(""))
	m := b.one(time.Second)
	b.ok(b.main.Delete(b.ctx(), []*queue.Message{m}))
	got, err := b.main.Receive(b.ctx(), queue.ReceiveRequest{Max: 1, Wait: 2 * time.Second, Lease: time.Second})
	if err != nil || len(got) > 0 {
		b.Errorf("Receive = %d messages, %v after the delete, want none", len(got), err)
	}
}

func testDeleteTwice(b *bench) {
	b.send(b.out(""))
	m := b.one(time.Minute)
	b.ok(b.main.Delete(b.ctx(), []*queue.Message{m}))
	b.ok(b.main.Delete(b.ctx(), []*queue.Message{m}))
}

func testStaleDelete(b *bench) {
	b.send(b.out(""))
	stale := b.one(time.Second)
	fresh := b.one(time.Second)
	b.main.Delete(b.ctx(), []*queue.Message{stale}) // may fail or not
	if again := b.one(time.Minute); again.ID != fresh.ID {
		b.Errorf("received %s, want %s", again.ID, fresh.ID)
	}
}

func testPollWaits(b *bench) {
	began := time.Now()
	got, err := b.main.Receive(b.ctx(), queue.ReceiveRequest{Max: 1, Wait: time.Second, Lease: time.Minute})
	if took := time.Since(began); err != nil || len(got) > 0 || took < 900*time.Millisecond {
		b.Errorf("Receive = %d messages, %v after %v, want none after 1s", len(got), err, took)
	}
}

func testPollWakes(b *bench) {
	done := make(chan int, 1)
	go func() {
		got, _ := b.main.Receive(b.ctx(), queue.ReceiveRequest{Max: 1, Wait: 10 * time.Second, Lease: time.Minute})
		done <- len(got)
	}()
	began := time.Now()
	b.send(b.out(""))
	if n := <-done; n != 1 || time.Since(began) > 5*time.Second {
		b.Errorf("the open poll brought %d messages after %v, want 1 soon", n, time.Since(began))
	}
}

func testPollCancelled(b *bench) {
	ctx, cancel := context.WithTimeout(b.ctx(), time.Second)
	defer cancel()
	if _, err := b.main.Receive(ctx, queue.ReceiveRequest{Max: 1, Wait: 10 * time.Second, Lease: time.Second}); err == nil {
		b.Error("a poll whose context ended returned no error")
	}
}

func testDelay(b *bench) {
	o := b.out("")
	o.NotBefore = time.Now().Add(2 * time.Second)
	b.send(o)
	b.none()
	b.one(time.Minute)
	if early := time.Until(o.NotBefore); early > 0 {
		b.Errorf("received %v early", early)
	}
}

func testReceives(b *bench) {
	b.send(b.out(""))
	for want := 1; want <= 3; want++ {
		m := b.one(time.Minute)
		if m.Receives != want {
			b.Errorf("receive %d is counted as %d", want, m.Receives)
		}
		b.ok(b.main.Release(b.ctx(), []queue.Release{{Message: m}}))
	}
}

func testDead(b *bench) {
	b.send(b.out(""))
	m := b.one(time.Second)
	b.ok(b.main.Dead(b.ctx(), []queue.DeadLetter{{Message: m, Body: "raw", CallID: "call-1", Call: "kit.call.v1", Reason: queue.ReasonPermanent, Class: "*errors.errorString", Attempts: 3}}))
	got := b.receive(b.dead, 1, time.Minute)[0]
	want := map[string]string{queue.AttributeReason: "permanent", queue.AttributeClass: "*errors.errorString", queue.AttributeAttempts: "3", queue.AttributeCall: "kit.call.v1"}
	if m.Region != "" {
		want[queue.AttributeRegion] = m.Region
	}
	if got.Body != "raw" || !maps.Equal(got.Attributes, want) {
		b.Errorf("letter %q with %v, want %v", got.Body, got.Attributes, want)
	}
	left, err := b.main.Receive(b.ctx(), queue.ReceiveRequest{Max: 1, Wait: 2 * time.Second, Lease: time.Minute})
	if err != nil || len(left) > 0 {
		b.Errorf("the call is still in the queue: %d, %v", len(left), err)
	}
}

func testStats(b *bench) {
	late := b.out("")
	late.NotBefore = time.Now().Add(time.Minute)
	b.send(b.out(""), b.out(""), late)
	b.one(time.Minute)
	d, err := b.main.Stats(b.ctx())
	if err != nil || d.Visible != 1 || d.InFlight != 1 || d.Delayed != 1 || d.Total() != 3 {
		b.Errorf("Stats = %+v, %v, want one of each", d, err)
	}
}

func testTooLarge(b *bench) {
	o := b.out("")
	o.Body = strings.Repeat("x", b.main.Limits().MessageBytes+1)
	b.refused(o, "a message over the limit")
	b.refused(queue.Outgoing{CallID: "empty"}, "an empty message")
}

func testBadCharacters(b *bench) {
	for _, bad := range []string{"\x00", "\x1f", "\xff", "\uffff", "a\ufffe"} {
		o := b.out("")
		o.Body = bad
		b.refused(o, fmt.Sprintf("%q", bad))
	}
}

func testGroupOnStandard(b *bench) { b.refused(b.out("g"), "a group on a standard queue") }

func testCancelledSend(b *bench) {
	ctx, cancel := context.WithCancel(b.ctx())
	cancel()
	err := b.main.Send(ctx, []queue.Outgoing{b.out("")})[0].Err
	e, ok := errors.AsType[*queue.SendError](err)
	if !ok || !e.NotRun() && !e.OutcomeUnknown() || e.Permanent() {
		b.Errorf("Send = %v, want a *queue.SendError that is not run or unknown", err)
	}
}

func testFIFONeedsGroup(b *bench) { b.refused(b.out(""), "a message without a group") }

func testFIFODelay(b *bench) {
	o := b.out("g")
	o.NotBefore = time.Now().Add(time.Minute)
	b.refused(o, "a delayed message")
}

// bodies returns the call IDs in the order of receipt.
func callIDs(messages []*queue.Message) (ids []string) {
	for _, m := range messages {
		var e queue.Envelope
		_ = e.Decode(m.Body)
		ids = append(ids, e.ID)
	}
	return ids
}

func testFIFOOrder(b *bench) {
	for range 12 {
		b.send(b.out("g"))
	}
	var got []string
	for len(got) < 12 {
		some, err := b.main.Receive(b.ctx(), queue.ReceiveRequest{Max: 10, Wait: 5 * time.Second, Lease: time.Minute})
		if err != nil || len(some) == 0 {
			b.Fatalf("Receive = %d, %v after %v", len(some), err, got)
		}
		got = append(got, callIDs(some)...)
		b.ok(b.main.Delete(b.ctx(), some))
	}
	for i, id := range got {
		if id != fmt.Sprintf("call-%d", i+1) {
			b.Fatalf("order %v", got)
		}
	}
}

func testFIFOLock(b *bench) {
	b.send(b.out("g"), b.out("g"), b.out("h"))
	first := b.receive(b.main, 1, time.Minute)[0]
	other := b.receive(b.main, 1, time.Minute)[0]
	if first.Group == other.Group {
		b.Errorf("both receives brought group %q", first.Group)
	}
	b.none()
	b.ok(b.main.Delete(b.ctx(), []*queue.Message{first, other}))
	b.one(time.Minute)
}

func testFIFORelease(b *bench) {
	b.send(b.out("g"), b.out("g"))
	m := b.one(time.Minute)
	b.ok(b.main.Release(b.ctx(), []queue.Release{{Message: m, After: time.Second}}))
	if again := b.one(time.Minute); again.ID != m.ID {
		b.Errorf("received %s first, want %s", again.ID, m.ID)
	}
}

func testFIFODuplicates(b *bench) {
	o := b.out("g")
	b.send(o)
	b.send(o)
	b.ok(b.main.Delete(b.ctx(), b.receive(b.main, 1, time.Minute)))
	b.send(o)
	b.none()
	o.DedupID = "another"
	b.send(o)
	b.one(time.Minute)
}
