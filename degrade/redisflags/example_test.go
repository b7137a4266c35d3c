package redisflags_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/redisflags"
)

func Example() {
	server := holdfast.Must(miniredis.Run())
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer client.Close()

	flags := holdfast.Must(redisflags.New(client, redisflags.Config{Key: "shop"}))
	err := flags.Publish(context.Background(), degrade.FlagSet{Version: "7", Levels: map[string]degrade.Level{"checkout": degrade.ReadOnly}})
	set, loadErr := flags.Load(context.Background(), nil)
	fmt.Println(err, set.Version, set.Levels, loadErr)
	// Output: <nil> 7 map[checkout:read-only] <nil>
}
