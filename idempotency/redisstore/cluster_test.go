package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/idempotency/storetest"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

const slots = 16384

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startCluster starts masters that share the slots evenly.
func startCluster(t *testing.T, n int) (addrs []string, nodes []*redis.Client) {
	t.Helper()
	do := func(c *redis.Client, args ...any) {
		t.Helper()
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	var first [3]any
	for i := range n {
		bus := freePort(t)
		server := servertest.Start(t, servertest.Redis, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus))
		node := newClient(t, server.Addr())
		do(node, "CLUSTER", "ADDSLOTSRANGE", i*slots/n, (i+1)*slots/n-1)
		do(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
		if i == 0 {
			host, port, _ := net.SplitHostPort(server.Addr())
			first = [3]any{host, port, bus}
		} else {
			do(node, append([]any{"CLUSTER", "MEET"}, first[:]...)...)
		}
		addrs, nodes = append(addrs, server.Addr()), append(nodes, node)
	}
	for _, node := range nodes {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			info := node.ClusterInfo(t.Context()).Val()
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n)) && strings.Contains(info, fmt.Sprintf("cluster_slots_assigned:%d", slots)) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cluster does not form: %s", info)
			}
		}
	}
	return addrs, nodes
}

// A script may name keys of one slot only: the hash tags must keep a record and its notes together.
func TestRedisCluster(t *testing.T) {
	addrs, nodes := startCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	pipelined, err := client.AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	for name, scripter := range map[string]redis.Scripter{"client": client, "auto-pipelined": pipelined} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Subject {
				return storetest.Subject{
					Store: newStore(t, scripter, redisstore.Config{Prefix: t.Name() + ":"}),
					Lose: func() {
						for _, node := range nodes {
							node.FlushAll(t.Context())
						}
					},
				}
			})
		})
	}
	t.Run("a slot moves under an attempt", func(t *testing.T) { testMovedSlot(t, client, nodes) })
}

func testMovedSlot(t *testing.T, client *redis.ClusterClient, nodes []*redis.Client) {
	prefix := t.Name() + ":"
	g := newGuard(t, newStore(t, client, redisstore.Config{Prefix: prefix}), idempotency.Config{})
	other := newGuard(t, newStore(t, client, redisstore.Config{Prefix: prefix}), idempotency.Config{})
	for i := range 20 {
		id := fmt.Sprint(i)
		call := func(g *idempotency.Guard, fn func(context.Context) (string, error)) (string, idempotency.Info, error) {
			return idempotency.DoInfo(t.Context(), g, idempotency.Key{ID: id}, fn)
		}
		v, info, err := call(g, func(context.Context) (string, error) {
			moveSlot(t, nodes, prefix+"*|"+id)
			if _, _, err := call(other, func(context.Context) (string, error) { t.Error("two runs"); return "", nil }); err == nil {
				t.Error("a second caller got a result while the first runs")
			}
			return "of " + id, nil
		})
		if v != "of "+id || err != nil || info.Fenced {
			t.Fatalf("call %d = %q, %+v, %v", i, v, info, err)
		}
		// The client may be redirected too often while the nodes tell each other: the result is then stored a little later.
		never := func(context.Context) (string, error) { t.Error("a second run"); return "", nil }
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if v, info, err = call(other, never); err == nil || time.Now().After(deadline) {
				break
			}
		}
		if v != "of "+id || err != nil || !info.Replayed {
			t.Errorf("replay %d = %q, %+v, %v", i, v, info, err)
		}
	}
}

// agree waits until every node knows the others' configuration epochs. A node takes the epoch of a slot that it is given
// from what it knows: one that is given a slot too early may lose it to a late message of the former owner, and deletes its keys then.
func agree(t *testing.T, nodes []*redis.Client) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		seen := map[string]bool{}
		for _, node := range nodes {
			var epochs []string
			for line := range strings.Lines(node.ClusterNodes(t.Context()).Val()) {
				if f := strings.Fields(line); len(f) > 6 {
					epochs = append(epochs, f[0]+" "+f[6])
				}
			}
			slices.Sort(epochs)
			seen[strings.Join(epochs, "\n")] = true
		}
		if len(seen) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the nodes do not agree on their epochs: %v", seen)
		}
	}
}

// moveSlot moves the slot of the one key that matches to the next node, as a resharding does.
func moveSlot(t *testing.T, nodes []*redis.Client, pattern string) {
	t.Helper()
	agree(t, nodes)
	for i, from := range nodes {
		var key string
		for scan := from.Scan(t.Context(), 0, pattern, 1000).Iterator(); scan.Next(t.Context()); {
			key = scan.Val()
		}
		if key == "" {
			continue
		}
		to := nodes[(i+1)%len(nodes)]
		slot := from.ClusterKeySlot(t.Context(), key).Val()
		fromID, toID := from.Do(t.Context(), "CLUSTER", "MYID").Val(), to.Do(t.Context(), "CLUSTER", "MYID").Val()
		host, port, _ := net.SplitHostPort(to.Options().Addr)
		type command struct {
			on   *redis.Client
			args []any
		}
		steps := []command{
			{to, []any{"CLUSTER", "SETSLOT", slot, "IMPORTING", fromID}},
			{from, []any{"CLUSTER", "SETSLOT", slot, "MIGRATING", toID}},
			{from, append([]any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}, slotKeys(t, from, slot)...)},
			{to, []any{"CLUSTER", "SETSLOT", slot, "NODE", toID}},
		}
		for _, node := range nodes { // not left to gossip, which takes its time
			steps = append(steps, command{node, []any{"CLUSTER", "SETSLOT", slot, "NODE", toID}})
		}
		for _, step := range steps {
			if err := step.on.Do(t.Context(), step.args...).Err(); err != nil {
				t.Errorf("%v: %v", step.args, err)
			}
		}
		agree(t, nodes)
		return
	}
	t.Errorf("no node has a key like %s", pattern)
}

func slotKeys(t *testing.T, node *redis.Client, slot int64) (keys []any) {
	for _, k := range node.ClusterGetKeysInSlot(t.Context(), int(slot), 1000).Val() {
		keys = append(keys, k)
	}
	return keys
}
