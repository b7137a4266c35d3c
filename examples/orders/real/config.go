package real

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/failover"
)

// The Regions.
const (
	East = "us-east-1"
	West = "us-west-2"
)

// Endpoints are one Region's servers.
type Endpoints struct {
	SQL   string // URL of its PostgreSQL
	Redis string // host:port
	SQS   string // base URL
	URL   string // of this service there
}

// Config says where everything is.
type Config struct {
	Name           string // what keys and queues begin with; "" = orders
	Self           failover.Region
	Instance       string // this process among all; "" = the Region and the process ID
	Dir            string // for state, the spools, the journal and the coordinator's file; shared by the processes of one machine
	Regions        map[failover.Region]Endpoints
	Payments, Mail string // URLs

	Witnesses   []failover.Region    // third Regions that vote; none: two Regions cannot tell an outage from a cut between them, so moves ask for approval
	Coordinator failover.Coordinator // nil: a file in Dir

	// Dial connects to all of the above, as net.Dialer.DialContext does. Nil means the machine's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Watch Watch
}

func (c *Config) name() string {
	if c.Name == "" {
		return "orders"
	}
	return c.Name
}

// queues are the names of the queues of deferred calls and of charges.
func (c *Config) queues() (calls, charges string) { return c.name(), c.name() + "-charges" }

// A Watch sees what is sent to the servers. Its zero value sees nothing.
type Watch struct {
	SQL   func(failover.Region) pgx.QueryTracer
	Redis func(failover.Region) redis.Hook
	SQS   func(failover.Region, http.RoundTripper) http.RoundTripper
}

// FromEnv reads the environment. Its errors name the variable.
func FromEnv(self failover.Region, dir string, getenv func(string) string) (Config, error) {
	c := Config{Self: self, Dir: dir, Regions: map[failover.Region]Endpoints{}}
	read := func(name string, isURL bool) (string, error) {
		v := getenv(name)
		if v == "" {
			return "", fmt.Errorf("real: %s is not set", name)
		}
		if u, err := url.Parse(v); isURL && (err != nil || u.Scheme == "" || u.Host == "") {
			return "", fmt.Errorf("real: %s: want a URL", name) // never the value: it may hold a password
		}
		return v, nil
	}
	var err error
	get := func(name string, isURL bool) (v string) {
		if err == nil {
			v, err = read(name, isURL)
		}
		return v
	}
	for _, r := range []failover.Region{East, West} {
		prefix := "ORDERS_" + strings.ToUpper(strings.ReplaceAll(r, "-", "_")) + "_"
		c.Regions[r] = Endpoints{SQL: get(prefix+"SQL", true), Redis: get(prefix+"REDIS", false), SQS: get(prefix+"SQS", true), URL: get(prefix+"URL", true)}
	}
	c.Payments, c.Mail = get("ORDERS_PAYMENTS", true), get("ORDERS_MAIL", true)
	if _, ok := c.Regions[self]; !ok {
		return c, fmt.Errorf("real: Region %q is not one of %s and %s", self, East, West)
	}
	return c, err
}
