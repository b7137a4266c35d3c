package rediscoord

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover"
)

// A FencedScript is a Lua script that Redis runs only at the newest write epoch it has learned: the check and the write are one step. It
// protects a Redis that has learned the epoch, from its first script at that epoch or from FenceOld. Redis
// itself may lose the learned epoch in a failover of its own. Safe for concurrent use.
type FencedScript struct{ script *redis.Script }

// NewFencedScript returns a script that runs body, in which KEYS and ARGV are those given to Run.
func NewFencedScript(body string) *FencedScript {
	return &FencedScript{redis.NewScript(fencePrelude + body)}
}

// fencePrelude compares epochs as text, since Lua's numbers are doubles, and hides its own key and argument from the body.
const fencePrelude = `
local fence, token = table.remove(KEYS), table.remove(ARGV)
local learned = redis.call('GET', fence) or ''
if learned > token then return redis.error_reply('STALEEPOCH ' .. learned) end
if learned < token then redis.call('SET', fence, token) end
`

// Run runs the script with the epoch of fence, which the key fenceKey holds. In a cluster all keys must be in one slot. An epoch
// below the learned one is a [*StaleEpochError]; nothing was done.
func (s *FencedScript) Run(ctx context.Context, c redis.Scripter, fence failover.Fence, fenceKey string, keys []string, args ...any) *redis.Cmd {
	all := append(append(make([]string, 0, len(keys)+1), keys...), fenceKey)
	values := append(append(make([]any, 0, len(args)+1), args...), fence.Token())
	cmd := s.script.Run(ctx, c, all, values...)
	if err := cmd.Err(); err != nil {
		if _, learned, stale := strings.Cut(err.Error(), "STALEEPOCH "); stale {
			cmd.SetErr(&StaleEpochError{Fence: fence, Learned: strings.TrimSpace(learned)})
		}
	}
	return cmd
}

// A StaleEpochError says that Redis has learned of a newer writer. Nothing was done.
type StaleEpochError struct {
	Fence   failover.Fence
	Learned string // 16 hexadecimal digits
}

// Error names both epochs.
func (e *StaleEpochError) Error() string {
	return fmt.Sprintf("rediscoord: write of epoch %s refused: Redis has learned %s", e.Fence.Token(), e.Learned)
}

// NotRun is true.
func (e *StaleEpochError) NotRun() bool { return true }

// OutcomeUnknown is false.
func (e *StaleEpochError) OutcomeUnknown() bool { return false }
