// Package redisstore keeps idempotency records in Redis or Valkey, version 6 or later.
//
//	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	store, err := redisstore.New(client, redisstore.Config{})
//	guard, err := idempotency.New(store, idempotency.Config{Name: "orders"})
//
// # How it works
//
// Each step is one Lua script on one key, sent by its hash (EVALSHA, with the source after NOSCRIPT): one round trip. A
// first call costs two, a replay one, a heartbeat one. Time is the server's, never a client's. Every claim carries a
// nonce, so that a step which go-redis sends again after a lost reply is recognised. A first claim and its result are scripts of two
// commands each; before version 7 and on a full server a claim takes a longer script.
//
// A record is a string at <Prefix>{<bucket>}<scope>|<op>|<id>, with | and % in scope and op escaped as in URLs. The hash tag
// spreads keys over 128 slots of a cluster and keeps a record in one slot with the list of writes that
// a peer has missed. Records expire by themselves, and count their leases from that: do not change their TTL. Notes of the list are dropped a minute after their
// record would have expired, as others come; delete the 128 lists <Prefix>{<bucket>}unsynced when you have given up a second Region. A miniredis of
// your tests ages keys after ClockTTL(true), or by FastForward.
//
// # Clients
//
// [New] takes a redis.Scripter: Client, ClusterClient, Ring, or what their AutoPipeline method returns, which trades single-caller latency
// for two to three times the throughput. Set Options.ContextTimeoutEnabled: without it go-redis does not heed the guard's
// deadlines, and a frozen server holds callers for its own timeouts times its retries. An AutoPipeline waits for its batch whatever the
// deadline: there set ReadTimeout to the guard's StoreTimeout. The guard fences itself in time in any case.
//
// Tested on Redis 6.2 and 7.0 and Valkey 8.1; the latter two also on three masters while slots move, and Redis 7.0 over TLS.
//
// # What Redis does not promise
//
// Replication is asynchronous: a failover to a replica loses the writes of its lag, and with them records. Without appendfsync
// always a restart loses up to a second. An eviction policy other than noeviction or volatile-ttl drops records under memory
// pressure; with noeviction a full server is idempotency.ErrStoreFull and nothing is lost.
// The function may then run again; see the promise in package idempotency. A second Region's store closes the gap: idempotency.NewRegional.
//
// A key that holds something else (WRONGTYPE, a foreign string, a damaged record) is idempotency.ErrCorrupt and left alone.
package redisstore
