package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// A record is a hash with these fields; times are microseconds of the server's clock.
//
//	s state: i in flight, h held, d done      o owner, 16 bytes; zeros for nobody
//	f fingerprint, 32 bytes                   e epoch, 16 hex digits
//	n fence, decimal                          a attempt
//	l lease ends      b attempt began         x record expires
//	p prior state     c checkpoint            r result
//	w 1 when somebody waits
var (
	//go:embed lua/record.lua
	recordLua string
	//go:embed lua/begin.lua
	beginLua string
	//go:embed lua/complete.lua
	completeLua string
	//go:embed lua/renew.lua
	renewLua string
	//go:embed lua/release.lua
	releaseLua string
	//go:embed lua/load.lua
	loadLua string
	//go:embed lua/put.lua
	putLua string
	//go:embed lua/discard.lua
	discardLua string
	//go:embed lua/unsynced.lua
	unsyncedLua string
	//go:embed lua/synced.lua
	syncedLua string
)

type scripts struct {
	begin, complete, renew, release, load, put, discard, unsynced, synced *redis.Script
}

func newScripts() scripts {
	return scripts{
		begin:    redis.NewScript(recordLua + beginLua),
		complete: redis.NewScript(recordLua + completeLua),
		renew:    redis.NewScript(recordLua + renewLua),
		release:  redis.NewScript(recordLua + releaseLua),
		load:     redis.NewScript(recordLua + loadLua),
		put:      redis.NewScript(recordLua + putLua),
		discard:  redis.NewScript(recordLua + discardLua),
		unsynced: redis.NewScript(unsyncedLua),
		synced:   redis.NewScript(syncedLua),
	}
}
