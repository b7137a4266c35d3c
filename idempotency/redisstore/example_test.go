package redisstore_test

import (
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
)

func Example() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redisstore.New(client, redisstore.Config{Prefix: "shop:idempotency:"})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := idempotency.New(store, idempotency.Config{Name: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	_ = guard // idempotency.Do(ctx, guard, …)
}

// Many callers share round trips: two to three times the throughput, at the price of a single caller's latency.
func Example_autoPipeline() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	pipelined, err := client.AutoPipeline()
	if err != nil {
		log.Fatal(err)
	}
	store, err := redisstore.New(pipelined, redisstore.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_ = store
}
