package sqsqueue

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-go/holdfast/queue"
)

// An ObjectStore keeps large payloads: a bucket of the queue's Region. Methods are called concurrently.
type ObjectStore interface {
	// Put stores body under a key that is never used twice.
	Put(ctx context.Context, key string, body []byte) error

	// Get returns what Put stored. An error matching [ErrNoObject] says that it is gone for good.
	Get(ctx context.Context, key string) ([]byte, error)

	// Delete removes an object. What it misses is left to a life-cycle rule of the bucket.
	Delete(ctx context.Context, key string) error
}

// ErrNoObject is what an [ObjectStore] returns for a key it does not have.
var ErrNoObject = errors.New("sqsqueue: no such object")

// Claims configures the claim check: a message over Over bytes carries a pointer, its payload is an object with a SHA-256
// in the pointer. Spools keep whole payloads, so what is sent to another Region is stored there. The message is
// deleted first and the object then; a crash in between leaves an object, which a life-cycle rule longer than the
// retention of queue and dead-letter queue together removes. A payload that is gone or damaged is dead-lettered as claim_missing.
type Claims struct {
	// Store keeps the objects. Nil means no claim check: messages over 1 MiB are refused.
	Store ObjectStore

	// Over is the size above which a message is claimed. Zero means 256 KiB: batches stay full, and SQS bills by
	// 64 KiB. 1 KiB to 512 KiB.
	Over int

	// Max is the largest message. Zero means 16 MiB.
	Max int

	// Prefix is put before the keys, "<call ID>/<random>".
	Prefix string
}

const (
	defaultOver = 256 << 10
	defaultMax  = 16 << 20
)

// claim returns the body to send: o's, or a pointer to it.
func (q *Queue) claim(ctx context.Context, o *queue.Outgoing) (string, error) {
	c := &q.config.Claims
	if c.Store == nil || len(o.Body) <= c.Over {
		return o.Body, nil
	}
	var e queue.Envelope
	if err := e.Decode(o.Body); err != nil {
		return "", &queue.SendError{Name: q.config.Name, Region: q.config.Region, Invalid: true, Err: fmt.Errorf("too large to send and no envelope to claim: %w", err)}
	}
	e.Data, e.Claim, e.ClaimSum = nil, c.Prefix+objectName(o.CallID), sum(o.Body)
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	if err := c.Store.Put(ctx, e.Claim, []byte(o.Body)); err != nil {
		return "", &queue.SendError{Name: q.config.Name, Region: q.config.Region, Err: fmt.Errorf("claim: %w", err)}
	}
	return string(e.Append(nil)), nil
}

// objectName is new for every copy: deleting one copy's object must not take another's payload.
func objectName(callID string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ReplaceAll(callID, "/", "_") + "/" + hex.EncodeToString(b[:])
}

func sum(body string) string {
	h := sha256.Sum256([]byte(body))
	return hex.EncodeToString(h[:])
}

// setClaim finds pointers among received messages.
func (q *Queue) setClaim(m *queue.Message) {
	if !strings.Contains(m.Body, `"claimsum":`) {
		return
	}
	var e queue.Envelope
	if e.Decode(m.Body) != nil || e.Claim == "" || e.ClaimSum == "" {
		return
	}
	m.Claim = e.Claim
	m.Fetch = func(ctx context.Context) (string, error) { return q.fetch(ctx, &e) }
}

func (q *Queue) fetch(ctx context.Context, e *queue.Envelope) (string, error) {
	store := q.config.Claims.Store
	if store == nil {
		return "", fmt.Errorf("sqsqueue %q: Region %q: payload of %s is claimed and no store is configured", q.config.Name, q.config.Region, e.ID)
	}
	b, err := store.Get(ctx, e.Claim)
	if errors.Is(err, ErrNoObject) {
		return "", &missingError{e.Claim, err}
	}
	if err != nil {
		return "", fmt.Errorf("sqsqueue %q: Region %q: claim: %w", q.config.Name, q.config.Region, err)
	}
	if sum(string(b)) != e.ClaimSum {
		return "", &missingError{e.Claim, errors.New("its checksum differs")}
	}
	return string(b), nil
}

// A missingError says that a payload is gone for good.
type missingError struct {
	key string
	err error
}

func (e *missingError) Error() string { return fmt.Sprintf("sqsqueue: payload %q: %v", e.key, e.err) }
func (e *missingError) Unwrap() error { return e.err }

// DeadReason tells the worker where the call belongs.
func (e *missingError) DeadReason() string { return string(queue.ReasonClaimMissing) }

// dropClaim deletes the object of a message that is gone. It tries once: the bucket's life-cycle rule is the net.
func (q *Queue) dropClaim(ctx context.Context, m *queue.Message) {
	if q.config.Claims.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	_ = q.config.Claims.Store.Delete(ctx, m.Claim)
}
