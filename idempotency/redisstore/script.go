package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// A record is a string: a head of 129 bytes, the checkpoint, the result. It expires with its key, and its times are milliseconds before
// that instant, so that a record needs no clock to be written; numbers are decimal with leading zeros; positions count from 1, as Lua does.
//
//	1 "hf2"                        4 state: i in flight, h held, d done, x deleted   5 prior: 0 none, i died, h held
//	6 1 if somebody waits          7 owner, 16 bytes; zeros for nobody                23 fingerprint, 32 bytes
//	55 epoch, 16 hex digits        71 fence, 16 digits                                87 attempt, 8 digits
//	95 lease ends, 13 digits       108 attempt began, 13 digits                       121 length of the checkpoint plus 1, 9 digits; 0 for none
//
// A fence of zero means the microsecond at which the attempt began by the server's clock: what a first claim writes, which does
// not know it. A deleted record stays for as long as the clock is not past its fence, a millisecond as a rule, so that the next one is higher.
var (
	//go:embed lua/get.lua
	getLua string
	//go:embed lua/record.lua
	recordLua string
	//go:embed lua/helpers.lua
	helpersLua string
	//go:embed lua/first.lua
	firstLua string
	//go:embed lua/note.lua
	noteLua string
	//go:embed lua/own.lua
	ownLua string
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
	first, begin, complete, renew, release, load, put, discard, unsynced, synced *redis.Script
}

func newScripts() scripts {
	return scripts{
		first:    redis.NewScript(firstLua + recordLua + helpersLua + noteLua + beginLua),
		begin:    redis.NewScript(getLua + recordLua + helpersLua + noteLua + beginLua),
		complete: redis.NewScript(noteLua + ownLua + recordLua + helpersLua + completeLua),
		renew:    redis.NewScript(getLua + recordLua + helpersLua + noteLua + renewLua),
		release:  redis.NewScript(getLua + recordLua + helpersLua + noteLua + releaseLua),
		load:     redis.NewScript(getLua + recordLua + loadLua),
		put:      redis.NewScript(getLua + recordLua + helpersLua + putLua),
		discard:  redis.NewScript(getLua + recordLua + helpersLua + discardLua),
		unsynced: redis.NewScript(unsyncedLua),
		synced:   redis.NewScript(syncedLua),
	}
}
