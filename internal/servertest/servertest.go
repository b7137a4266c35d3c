// Package servertest gives a test the real servers it needs.
//
// Two ways, and one rule. [Env] returns the address of a server that all tests of a run share;
// scripts/servers starts them. [Start] starts a private copy that ends with the test. A test that
// freezes, kills, promotes, reconfigures or empties a server uses only a private copy, and a test
// on a shared one uses names (keys, queues, tables) that no other test uses: so packages can be
// tested side by side.
//
//	func TestSetAgainstRedis(t *testing.T) {
//		client := redis.NewClient(&redis.Options{Addr: servertest.Env(t, servertest.RedisA)})
//		…
//	}
//
//	func TestSetWhileRedisHangs(t *testing.T) {
//		server := servertest.Start(t, servertest.Redis)
//		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
//		server.Freeze()
//		…
//	}
//
// Where a server cannot be had the test is skipped with the reason, which make test and
// make check list at their end; with CI=true the test fails instead.
//
// A test that talks to a real server lives in real time: it cannot run in a testing/synctest
// bubble.
package servertest

import (
	"os"
	"testing"
)

// A Shared names a server that all tests of a run share. It is the name of the environment
// variable that holds the server's address.
type Shared string

// The shared servers. The two of one kind play two Regions, us-east-1 (A) and us-west-2 (B).
const (
	RedisA          Shared = "HOLDFAST_TEST_REDIS_A"    // host:port
	RedisB          Shared = "HOLDFAST_TEST_REDIS_B"    // host:port
	SQSA            Shared = "HOLDFAST_TEST_SQS_A"      // http endpoint of a fauxqs
	SQSB            Shared = "HOLDFAST_TEST_SQS_B"      // http endpoint of a fauxqs
	SharedMoto      Shared = "HOLDFAST_TEST_MOTO"       // http endpoint, for every Region
	PostgresPrimary Shared = "HOLDFAST_TEST_PG_PRIMARY" // URL
	PostgresStandby Shared = "HOLDFAST_TEST_PG_STANDBY" // URL of a hot standby of PostgresPrimary
)

// AllShared returns every shared server.
func AllShared() []Shared {
	return []Shared{RedisA, RedisB, SQSA, SQSB, SharedMoto, PostgresPrimary, PostgresStandby}
}

// Env returns the address of the shared server s. It skips the test when there is none.
func Env(t testing.TB, s Shared) string {
	t.Helper()
	if address := os.Getenv(string(s)); address != "" {
		return address
	}
	reason := os.Getenv(string(s) + "_SKIPPED")
	if reason == "" {
		reason = "not set; make test sets it, or: eval \"$(scripts/servers env)\" after scripts/servers up"
	}
	skip(t, string(s), reason)
	return ""
}

// skip skips t for want of kit; with CI=true it fails t, so that CI cannot pass by leaving out.
func skip(t testing.TB, kit, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("kit %s: %s (an error because CI=true)", kit, reason)
	}
	t.Skipf("kit %s: %s", kit, reason)
}

// A Kind is a kind of server that [Start] can start.
type Kind string

const (
	// Redis is one Redis. It does not persist: after Kill and Restart it is empty, unless Start was
	// given "--appendonly", "yes", "--appendfsync", "always".
	Redis Kind = "redis"

	// SQSEast and SQSWest are fauxqs servers of the Regions us-east-1 and us-west-2. They keep
	// queues in memory: after Kill and Restart they have none.
	SQSEast Kind = "sqs us-east-1"
	SQSWest Kind = "sqs us-west-2"

	// Moto is one moto server, for every Region. It keeps everything in memory.
	Moto Kind = "moto"

	// Postgres is a PostgreSQL primary with a hot standby, see [Server.Standby]. Both keep their
	// data over Kill and Restart.
	Postgres Kind = "postgres"
)
