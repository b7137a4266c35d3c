package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
)

// Config configures a [Store]. The zero value is ready to use.
type Config struct {
	// Prefix begins every key and channel. Empty means "holdfast:idempotency:". It holds no braces.
	Prefix string

	// Subscriber wakes callers that wait for another process. Nil means the client, if it can subscribe;
	// without one, waiting callers poll.
	Subscriber Subscriber
}

// A Subscriber subscribes to channels. *redis.Client and *redis.ClusterClient are Subscribers.
type Subscriber interface {
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// Store is an idempotency.Store, Watcher and Replica. It is safe for concurrent use, owns no goroutine
// but while somebody waits, and does not close its client.
type Store struct {
	client   redis.Scripter
	prefix   string
	scripts  scripts
	old      atomic.Bool // the server is older than version 7
	watchers watchers
}

var (
	_ idempotency.Replica = (*Store)(nil)
	_ idempotency.Watcher = (*Store)(nil)
)

// New returns a store on client. It makes no connection.
func New(client redis.Scripter, c Config) (*Store, error) {
	if client == nil {
		return nil, errors.New("redisstore: New: the client is nil")
	}
	if c.Prefix == "" {
		c.Prefix = "holdfast:idempotency:"
	}
	if strings.ContainsAny(c.Prefix, "{}") {
		return nil, fmt.Errorf("redisstore: Config.Prefix: %q has braces, which choose the cluster slot", c.Prefix)
	}
	if c.Subscriber == nil {
		c.Subscriber, _ = client.(Subscriber)
	}
	return &Store{client: client, prefix: c.Prefix, scripts: newScripts(), watchers: watchers{subscriber: c.Subscriber}}, nil
}

// Begin implements idempotency.Store.
func (s *Store) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	n, lease, kept := s.names(c.Key), inMillis(c.Lease), inMillis(c.Retention)
	h := idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: idempotency.Fence{Epoch: c.Epoch}}
	claim := appendFirst(make([]byte, 0, headLength), idempotency.StateInFlight, &h, lease, kept)
	simple := !c.Existing && !c.Unsynced && c.Fence.N == 0
	if simple && !s.old.Load() {
		reply, err := s.first(ctx, n, c.Noted, claim, kept, claimFlags(c))
		if expires, ok := reply.(int64); ok {
			return granted(c, expires, kept)
		}
		switch {
		case err != nil && strings.Contains(err.Error(), "syntax error"):
			s.old.Store(true) // before version 7 SET takes NX or GET, not both
		case !errors.Is(err, idempotency.ErrStoreFull): // a full server refuses every SET, and may have the result
			return answer(reply, err)
		}
	}
	return answer(s.run(ctx, s.scripts.begin, n, c.Unsynced || c.Noted, claim, kept, claimFlags(c), c.Fence.N))
}

// first claims a key in the way that is cheap if there is no record.
func (s *Store) first(ctx context.Context, n names, noted bool, claim []byte, kept int64, flags string) (any, error) {
	if noted {
		return s.run(ctx, s.scripts.first, n, true, claim, kept, flags, "0")
	}
	return s.run(ctx, s.scripts.first, n, false, claim, kept, flags)
}

// granted is the answer to a first claim.
func granted(c idempotency.Claim, expires, kept int64) (a idempotency.Answer, err error) {
	a.Record = idempotency.Record{
		State: idempotency.StateInFlight, Attempt: 1, Owner: c.Owner, Fingerprint: c.Key.Fingerprint, Lease: c.Lease, Retention: c.Retention,
	}
	if a.Record.Fence, err = fenceAt(c.Epoch, expires, kept); err != nil {
		return idempotency.Answer{}, fmt.Errorf("redisstore: %w: %w", idempotency.ErrCorrupt, err)
	}
	a.Status = idempotency.StatusGranted
	return a, nil
}

func claimFlags(c idempotency.Claim) string {
	flags := ""
	if c.TakeAbandoned {
		flags += "a"
	}
	if c.TakeHeld {
		flags += "h"
	}
	if c.Existing {
		flags += "e"
	}
	if c.Wait {
		flags += "w"
	}
	if c.Unsynced {
		flags += "u"
	}
	if c.Noted {
		flags += "m"
	}
	return flags
}

// Complete implements idempotency.Store.
func (s *Store) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	n, kept := s.names(c.Key), inMillis(c.Retention)
	b := make([]byte, 0, ownLength+headLength+len(c.Result))
	b = appendFirst(b, idempotency.StateInFlight, &c.Holder, 0, 0)[:ownLength]
	b = append(appendFirst(b, idempotency.StateDone, &c.Holder, 0, kept), c.Result...)
	own, done := b[:ownLength], b[ownLength:]
	if c.Unsynced {
		return answer(s.run(ctx, s.scripts.complete, n, true, own, done, kept, fenceText(c.Fence)))
	}
	return answer(s.run(ctx, s.scripts.complete, n, false, own, done, kept))
}

// Renew implements idempotency.Store.
func (s *Store) Renew(ctx context.Context, r idempotency.Renewal) (idempotency.Status, error) {
	n := s.names(r.Key)
	save := ""
	if r.Checkpoint != nil {
		save = "c"
	}
	return status(s.run(ctx, s.scripts.renew, n, r.Unsynced, r.Owner[:], inMillis(r.Lease), inMillis(r.Retention), save, r.Checkpoint))
}

// Release implements idempotency.Store.
func (s *Store) Release(ctx context.Context, r idempotency.Release) (idempotency.Status, error) {
	n, kept := s.names(r.Key), inMillis(r.Retention)
	hold := ""
	if r.Hold {
		hold = "h"
	}
	lost := appendFirst(make([]byte, 0, headLength), idempotency.StateHeld, &r.Holder, 0, kept)
	return status(s.run(ctx, s.scripts.release, n, r.Unsynced, lost, kept, hold))
}

// run runs a script on n's record. With notes it also gets, as a second key and a last argument, where it is noted that
// the peer has missed a write.
func (s *Store) run(ctx context.Context, script *redis.Script, n names, notes bool, args ...any) (any, error) {
	if !notes {
		return s.send(ctx, script, []string{n.record}, args...)
	}
	return s.send(ctx, script, []string{n.record, n.missed()}, append(args, n.ident())...)
}

// who is how a record names its attempt: owner, fingerprint and epoch, in one argument.
func who(r *idempotency.Record) []byte {
	b := append(append(make([]byte, 0, 64), r.Owner[:]...), r.Fingerprint[:]...)
	return appendEpoch(b, r.Fence.Epoch)
}

// names are what a key is called in Redis.
type names struct {
	record string // also the channel that says when it ends
	tag    int    // length of the prefix and hash tag in front of scope|op|id
}

func (n names) ident() string { return n.record[n.tag:] }

// missed is the bucket's hash of writes that the peer has missed. It is no record's name: those have two bars.
func (n names) missed() string { return n.record[:n.tag] + missedName }

const missedName = "unsynced"

// buckets is how many hash tags there are. It is part of the format.
const buckets = 128

func (s *Store) names(k idempotency.Key) names {
	scope, op := escaper.Replace(k.Scope), escaper.Replace(k.Op)
	h := fnvOf(fnvOf(fnvOf(fnvOf(fnvOf(fnvStart, scope), "|"), op), "|"), k.ID) % buckets
	n := names{tag: len(s.prefix) + len("{00}")}
	const digits = "0123456789abcdef"
	var b strings.Builder
	b.Grow(n.tag + len(scope) + len(op) + len(k.ID) + 2)
	b.WriteString(s.prefix)
	b.Write([]byte{'{', digits[h>>4], digits[h&15], '}'})
	b.WriteString(scope)
	b.WriteByte('|')
	b.WriteString(op)
	b.WriteByte('|')
	b.WriteString(k.ID)
	n.record = b.String()
	return n
}

// bucket returns where a bucket's missed writes are noted.
func (s *Store) bucket(i uint32) string { return fmt.Sprintf("%s{%02x}%s", s.prefix, i, missedName) }

const fnvStart = 2166136261

// fnvOf goes on with h, an FNV-1a of 32 bits, over s. It is part of the format.
func fnvOf(h uint32, s string) uint32 {
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

var (
	escaper   = strings.NewReplacer("%", "%25", "|", "%7C")
	unescaper = strings.NewReplacer("%25", "%", "%7C", "|")
)

// parseIdent is the reverse of names.
func parseIdent(ident string) (idempotency.Key, bool) {
	scope, rest, ok1 := strings.Cut(ident, "|")
	op, id, ok2 := strings.Cut(rest, "|")
	return idempotency.Key{Scope: unescaper.Replace(scope), Op: unescaper.Replace(op), ID: id}, ok1 && ok2
}

// send runs script and returns its reply: a list, or a number. Errors that Redis gives about the key itself say so.
func (s *Store) send(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error) {
	reply, err := script.Run(ctx, s.client, keys, args...).Result()
	if err == nil {
		return reply, nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "WRONGTYPE"):
		return nil, fmt.Errorf("redisstore: %w: %w", idempotency.ErrCorrupt, err)
	case strings.Contains(text, "OOM command not allowed"): // Redis 6 wraps it when a script meets it
		return nil, fmt.Errorf("redisstore: %w: %w", idempotency.ErrStoreFull, err)
	}
	return nil, fmt.Errorf("redisstore: %w", err)
}

func status(reply any, err error) (idempotency.Status, error) {
	a, err := answer(reply, err)
	return a.Status, err
}

// answer reads a reply: a status alone or a list of the status and, where they help, the record, what is left of it in
// milliseconds, and the note that the peer has missed it.
func answer(reply any, err error) (a idempotency.Answer, _ error) {
	if err != nil {
		return a, err
	}
	list, isList := reply.([]any)
	if !isList {
		list = []any{reply}
	}
	status, ok := at(list, 0).(int64)
	if !ok || status <= 0 {
		return a, fmt.Errorf("redisstore: %w", idempotency.ErrCorrupt)
	}
	a.Status = idempotency.Status(status)
	if len(list) == 1 {
		return a, nil
	}
	text, ok := at(list, 1).(string)
	left, ok2 := at(list, 2).(int64)
	if a.Record, err = parseRecord(text, left); err != nil || !ok || !ok2 {
		return idempotency.Answer{}, fmt.Errorf("redisstore: %w: %w", idempotency.ErrCorrupt, err)
	}
	if note, ok := at(list, 3).(string); ok {
		if a.Missed, _, err = parseNote(note); err != nil {
			return idempotency.Answer{}, err
		}
	}
	return a, nil
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}
