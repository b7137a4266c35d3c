// Package redisflags keeps degrade's flags and overrides in Redis, for a fleet.
//
//	flags, err := redisflags.New(client, redisflags.Config{})
//	c, err := degrade.New(degrade.Config{Provider: flags, Overrides: flags, LastKnownGood: "/var/lib/shop/degrade.state"})
//
// A set of flags is written whole by [Flags.Publish] and carries the hash of its bytes, so that a torn or half-restored one is refused.
// Changes are announced over pub/sub. An announcement is a hint that may be lost; the load every
// degrade.Config.RefreshEvery is what counts, and costs one GET while nothing has changed. Overrides are replaced by compare and swap.
//
// No request talks to Redis. While it is unreachable the last good flags and the overrides in force stay as they are; a Redis
// that has lost its data is an error, not an empty set.
//
// Keys, under Config.Key in braces so that a cluster keeps them in one slot: {key}:flags and {key}:version (strings),
// {key}:overrides (a hash of revision and set), and the channel {key}:changed.
//
// A compare and swap is as safe as Redis: a primary that fails over with writes unreplicated can forget an override. Instances that
// have seen it keep it until its end, and the first of them to notice puts it back.
package redisflags
