package rediscoord_test

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/coordtest"
	"github.com/holdfast-go/holdfast/failover/rediscoord"
)

func open(t *testing.T) (*rediscoord.Store, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	s, err := rediscoord.New(client, rediscoord.Config{Survives: []failover.Region{"us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	return s, server
}

func TestCoordinator(t *testing.T) {
	coordtest.Run(t, func(t *testing.T) failover.Coordinator {
		s, _ := open(t)
		return s
	})
}

func TestGarbageIsNamed(t *testing.T) {
	s, server := open(t)
	server.HSet("{holdfast-failover}", "sequence", "1", "record", "garbage")
	if _, err := s.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "{holdfast-failover}") {
		t.Errorf("Load = %v, want an error that names the key", err)
	}
}

func TestControllerRefusesRedisWithALease(t *testing.T) {
	s, _ := open(t)
	cfg := failover.ControllerConfig{Regions: []failover.Region{"us-east-1", "us-west-2"}, Self: "us-east-1", Coordinator: s}
	if _, err := failover.NewController(cfg); err == nil || !strings.Contains(err.Error(), "ControllerConfig.Coordinator") {
		t.Errorf("NewController = %v, want a refusal that names the field", err)
	}
	cfg.AcceptCoordinatorRisk = "test"
	if _, err := failover.NewController(cfg); err != nil {
		t.Errorf("NewController with AcceptCoordinatorRisk = %v, want nil", err)
	}
}

func TestNewRefusesANilClient(t *testing.T) {
	if _, err := rediscoord.New(nil, rediscoord.Config{}); err == nil {
		t.Error("New(nil) = nil error")
	}
}
