package servertest

import (
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A recorder is a testing.TB that notes how the test would have ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// record runs f as a test of its own.
func record(t *testing.T, f func(testing.TB)) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func TestEnv(t *testing.T) {
	tests := []struct {
		name                     string
		address, reason, ci      string
		got, skipped, failedWith string
	}{
		{name: "set", address: "127.0.0.1:1", got: "127.0.0.1:1"},
		{name: "set in CI", address: "127.0.0.1:1", ci: "true", got: "127.0.0.1:1"},
		{name: "not set", skipped: "kit HOLDFAST_TEST_REDIS_A: not set;"},
		{name: "not installed", reason: "redis-server is missing", skipped: "kit HOLDFAST_TEST_REDIS_A: redis-server is missing"},
		{name: "not set in CI", ci: "true", failedWith: "kit HOLDFAST_TEST_REDIS_A: not set;"},
		{name: "not installed in CI", reason: "redis-server is missing", ci: "true", failedWith: "(an error because CI=true)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(string(RedisA), tt.address)
			t.Setenv(string(RedisA)+"_SKIPPED", tt.reason)
			t.Setenv("CI", tt.ci)
			var got string
			r := record(t, func(t testing.TB) { got = Env(t, RedisA) })
			if got != tt.got || !matches(r.skipped, tt.skipped) || !matches(r.failed, tt.failedWith) {
				t.Errorf("Env = %q, skipped %q, failed %q; want %q, %q, %q", got, r.skipped, r.failed, tt.got, tt.skipped, tt.failedWith)
			}
		})
	}
}

// matches reports whether text holds want, or both are empty.
func matches(text, want string) bool {
	return (text == "") == (want == "") && strings.Contains(text, want)
}

func TestSharedServersAnswer(t *testing.T) {
	for _, shared := range AllShared() {
		t.Run(string(shared), func(t *testing.T) {
			address := Env(t, shared)
			if u, err := url.Parse(address); err == nil && u.Host != "" {
				address = u.Host
			}
			conn, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
}
