package redisflags

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/degrade"
)

// Config configures [Flags]. The zero value is ready to use.
type Config struct {
	// Key is the prefix of all keys; "" = "holdfast:degrade". One for each service and environment.
	Key string
}

// Flags is a degrade.Provider, degrade.Store and degrade.Watcher on Redis. All methods are safe for concurrent use.
type Flags struct {
	client                                   redis.UniversalClient
	flags, version, overrides, announcements string

	mu   sync.Mutex // guards the following
	seen string     // version of set
	set  degrade.FlagSet
}

// ErrNothing is returned by Load while nothing is published, or nothing any more. Publish an empty set to say "no flags".
var ErrNothing = errors.New("redisflags: nothing is published")

// New returns Flags on client. The client must have ContextTimeoutEnabled, or a frozen Redis would hold degrade's
// Run beyond its context; where New can see that it has not, that is an error.
func New(client redis.UniversalClient, cfg Config) (*Flags, error) {
	if client == nil {
		return nil, errors.New("redisflags: New: a nil client")
	}
	if !obeysContext(client) {
		return nil, errors.New("redisflags: New: the client's ContextTimeoutEnabled is not set")
	}
	key := cfg.Key
	if key == "" {
		key = "holdfast:degrade"
	}
	key = "{" + key + "}:"
	return &Flags{client: client, flags: key + "flags", version: key + "version", overrides: key + "overrides", announcements: key + "changed"}, nil
}

func obeysContext(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return true
}

// Load implements degrade.Provider.
func (f *Flags) Load(ctx context.Context, _ []string) (degrade.FlagSet, error) {
	version, err := f.client.Get(ctx, f.version).Result()
	if errors.Is(err, redis.Nil) {
		return degrade.FlagSet{}, ErrNothing
	}
	if err != nil {
		return degrade.FlagSet{}, fmt.Errorf("redisflags: version: %w", err)
	}
	if set, ok := f.cached(version); ok {
		return set, nil
	}
	set, version, err := f.load(ctx)
	if err != nil {
		return degrade.FlagSet{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.set = version, set
	return set, nil
}

func (f *Flags) cached(version string) (degrade.FlagSet, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set, version == f.seen
}

// load reads flags and version together: they may have changed since the version was read alone.
func (f *Flags) load(ctx context.Context) (degrade.FlagSet, string, error) {
	values, err := f.client.MGet(ctx, f.version, f.flags).Result()
	if err != nil {
		return degrade.FlagSet{}, "", fmt.Errorf("redisflags: flags: %w", err)
	}
	version, _ := values[0].(string)
	body, ok := values[1].(string)
	switch {
	case version == "" && !ok:
		return degrade.FlagSet{}, "", ErrNothing
	case hash([]byte(body)) != version:
		return degrade.FlagSet{}, "", fmt.Errorf("redisflags: flags are not those of version %.64q: the set is not whole", version)
	}
	set, err := degrade.ParseFlags([]byte(body))
	if err != nil {
		return degrade.FlagSet{}, "", fmt.Errorf("redisflags: %w", err)
	}
	return set, version, nil
}

// hash is the version of a set: that of its bytes, so that no other set has it, even after Redis lost its data.
func hash(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}

// Publish replaces the flags of the fleet. A set that degrade would refuse to parse is refused here; degrade.Config.BlastShare is
// checked by every instance for itself. The last to publish wins.
func (f *Flags) Publish(ctx context.Context, set degrade.FlagSet) error {
	body, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("redisflags: %w", err)
	}
	if _, err := degrade.ParseFlags(body); err != nil {
		return fmt.Errorf("redisflags: not published: %w", err)
	}
	_, err = f.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, f.flags, body, 0)
		p.Set(ctx, f.version, hash(body), 0)
		p.Publish(ctx, f.announcements, "flags")
		return nil
	})
	if err != nil {
		return fmt.Errorf("redisflags: publish: %w", err)
	}
	return nil
}

// confirmTimeout is how long a server may take to confirm a subscription.
const confirmTimeout = 5 * time.Second

// Watch implements degrade.Watcher: it announces what is published and swapped, by anybody.
func (f *Flags) Watch(ctx context.Context, changed func()) error {
	subscription := f.client.Subscribe(ctx, f.announcements)
	defer subscription.Close()
	defer context.AfterFunc(ctx, func() { subscription.Close() })() // a read does not look at ctx
	if _, err := subscription.ReceiveTimeout(ctx, confirmTimeout); err != nil {
		return fmt.Errorf("redisflags: watch: %w", err)
	}
	changed() // what was announced before the subscription
	messages := subscription.Channel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-messages:
			if !ok {
				return errors.New("redisflags: watch: the subscription was closed")
			}
			changed()
		}
	}
}

// LoadOverrides implements degrade.Store.
func (f *Flags) LoadOverrides(ctx context.Context) (degrade.OverrideSet, error) {
	values, err := f.client.HMGet(ctx, f.overrides, "revision", "set").Result()
	if err != nil {
		return degrade.OverrideSet{}, fmt.Errorf("redisflags: overrides: %w", err)
	}
	revision, hasRevision := values[0].(string)
	body, hasBody := values[1].(string)
	if !hasRevision && !hasBody {
		return degrade.OverrideSet{}, nil
	}
	var set degrade.OverrideSet
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		return degrade.OverrideSet{}, fmt.Errorf("redisflags: overrides: %w", err)
	}
	if strconv.FormatUint(set.Revision, 10) != revision {
		return degrade.OverrideSet{}, fmt.Errorf("redisflags: overrides are of revision %d and marked %.24q: the set is not whole", set.Revision, revision)
	}
	return set, nil
}

// swap compares revisions as text: a Lua number would round large ones.
var swap = redis.NewScript(`
local revision = redis.call('HGET', KEYS[1], 'revision')
if (revision or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'set', ARGV[3])
redis.call('PUBLISH', ARGV[4], 'overrides')
return 1`)

// SwapOverrides implements degrade.Store.
func (f *Flags) SwapOverrides(ctx context.Context, old uint64, next degrade.OverrideSet) error {
	body, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("redisflags: %w", err)
	}
	swapped, err := swap.Run(ctx, f.client, []string{f.overrides},
		strconv.FormatUint(old, 10), strconv.FormatUint(next.Revision, 10), body, f.announcements).Int()
	switch {
	case err != nil:
		return fmt.Errorf("redisflags: swap of overrides: %w", err)
	case swapped == 0:
		return fmt.Errorf("redisflags: %w", degrade.ErrConflict)
	}
	return nil
}
