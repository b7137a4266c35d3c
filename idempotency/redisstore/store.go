package redisstore

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

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
	n := s.names(c.Key)
	reply, err := s.run(ctx, s.scripts.begin, n, c.Unsynced, who(&c.Owner, &c.Key.Fingerprint, c.Epoch), inMillis(c.Lease),
		inMillis(c.Retention), c.Fence.N, claimFlags(c))
	return answer(reply, err)
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
	return flags
}

// Complete implements idempotency.Store.
func (s *Store) Complete(ctx context.Context, c idempotency.Completion) (idempotency.Answer, error) {
	n := s.names(c.Key)
	reply, err := s.run(ctx, s.scripts.complete, n, c.Unsynced, who(&c.Owner, &c.Key.Fingerprint, c.Fence.Epoch),
		c.Fence.N, inMillis(c.Retention), c.Result)
	return answer(reply, err)
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
	n := s.names(r.Key)
	hold := ""
	if r.Hold {
		hold = "h"
	}
	return status(s.run(ctx, s.scripts.release, n, r.Unsynced, who(&r.Owner, &r.Key.Fingerprint, r.Fence.Epoch), r.Fence.N,
		hold, inMillis(r.Retention)))
}

// run runs a script on n's record. With unsynced it also gets, as a second key and a last argument, where to
// note that the peer has missed the write.
func (s *Store) run(ctx context.Context, script *redis.Script, n names, unsynced bool, args ...any) ([]any, error) {
	keys := []string{n.record}
	if unsynced {
		keys = append(keys, n.missed())
		args = append(args, n.ident())
	}
	return s.send(ctx, script, keys, args...)
}

// who is how a record begins with its owner: owner, fingerprint and epoch, in one argument.
func who(owner *idempotency.Owner, print *idempotency.Sum, epoch uint64) string {
	b := make([]byte, 0, 64)
	b = append(append(b, owner[:]...), print[:]...)
	return string(append(b, epochText(epoch)...))
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
	n := names{tag: len(s.prefix) + len("{00}")}
	b := append(make([]byte, 0, n.tag+len(k.Scope)+len(k.Op)+len(k.ID)+2), s.prefix...)
	b = append(b, "{00}"...)
	b = append(append(b, escaper.Replace(k.Scope)...), '|')
	b = append(append(b, escaper.Replace(k.Op)...), '|')
	b = append(b, k.ID...)
	hex.Encode(b[n.tag-3:], []byte{byte(fnv32(b[n.tag:]) % buckets)})
	n.record = string(b)
	return n
}

// bucket returns where a bucket's missed writes are noted.
func (s *Store) bucket(i uint32) string { return fmt.Sprintf("%s{%02x}%s", s.prefix, i, missedName) }

// fnv32 is FNV-1a, part of the format.
func fnv32(s []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range s {
		h = (h ^ uint32(c)) * 16777619
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

// epochText compares as a string as the epoch does as a number, which Lua's doubles cannot hold.
func epochText(epoch uint64) string {
	if epoch == 0 {
		return "0000000000000000"
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, epoch))
}

// send runs script and returns its reply, a list. Errors that Redis gives about the key itself say so.
func (s *Store) send(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]any, error) {
	reply, err := script.Run(ctx, s.client, keys, args...).Slice()
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

func status(reply []any, err error) (idempotency.Status, error) {
	a, err := answer(reply, err)
	return a.Status, err
}

// answer reads a reply: a status, and where it helps the record and the server's time.
func answer(reply []any, err error) (a idempotency.Answer, _ error) {
	if err != nil {
		return a, err
	}
	status, ok := at(reply, 0).(int64)
	if !ok || status <= 0 {
		return a, fmt.Errorf("redisstore: %w", idempotency.ErrCorrupt)
	}
	a.Status = idempotency.Status(status)
	if len(reply) == 1 {
		return a, nil
	}
	text, ok := at(reply, 1).(string)
	now, ok2 := at(reply, 2).(int64)
	if a.Record, err = parseRecord(text, now); err != nil || !ok || !ok2 {
		return idempotency.Answer{}, fmt.Errorf("redisstore: %w: %w", idempotency.ErrCorrupt, err)
	}
	return a, nil
}

func at(reply []any, i int) any {
	if i < len(reply) {
		return reply[i]
	}
	return nil
}
