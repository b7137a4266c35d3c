//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A kind is a kind of server in the shared set: what it needs, and the servers it consists of. One without servers
// is a program that tests start themselves.
type kind struct {
	name    string
	members []member
	ensure  func(*installer, context.Context) error
	start   func(context.Context, []Place) ([]*Server, error)
}

// A member is one server of a kind: its name and the variable that tells the tests its address.
type member struct{ name, variable string }

// kinds is the shared set.
func kinds() []kind {
	return []kind{
		{"redis", []member{{"redis-a", "HOLDFAST_TEST_REDIS_A"}, {"redis-b", "HOLDFAST_TEST_REDIS_B"}}, (*installer).redis, startTwoRedis},
		{"sqs", []member{{"sqs-a", "HOLDFAST_TEST_SQS_A"}, {"sqs-b", "HOLDFAST_TEST_SQS_B"}}, (*installer).fauxqs, startTwoFauxqs},
		{"moto", []member{{"moto", "HOLDFAST_TEST_MOTO"}}, (*installer).moto, startOneMoto},
		{"postgres", []member{{"pg-primary", "HOLDFAST_TEST_PG_PRIMARY"}, {"pg-standby", "HOLDFAST_TEST_PG_STANDBY"}}, (*installer).postgres, startPair},
		{"chromium", nil, (*installer).chromium, func(context.Context, []Place) ([]*Server, error) { return nil, nil }},
	}
}

// SkipVariable names the variable that tells the tests why a server is missing.
func SkipVariable(address string) string { return address + "_SKIPPED" }

// external reports whether the environment already names a server for every member.
func (k kind) external() bool {
	return len(k.members) > 0 && !slices.ContainsFunc(k.members, func(m member) bool { return os.Getenv(m.variable) == "" })
}

func (k kind) places(dir string, ports map[string]int) []Place {
	var places []Place
	for _, m := range k.members {
		places = append(places, Place{Name: m.name, Dir: dir, Port: ports[m.name]})
	}
	return places
}

func startTwoRedis(ctx context.Context, at []Place) ([]*Server, error) {
	return startEach(at, func(_ int, p Place) (*Server, error) { return StartRedis(ctx, p) })
}

func startTwoFauxqs(ctx context.Context, at []Place) ([]*Server, error) {
	regions := []string{"us-east-1", "us-west-2"}
	return startEach(at, func(i int, p Place) (*Server, error) { return StartFauxqs(ctx, p, regions[i]) })
}

func startOneMoto(ctx context.Context, at []Place) ([]*Server, error) {
	return startEach(at, func(_ int, p Place) (*Server, error) { return StartMoto(ctx, p) })
}

func startPair(ctx context.Context, at []Place) ([]*Server, error) {
	primary, standby, err := StartPostgres(ctx, at[0], at[1])
	if err != nil {
		return nil, err
	}
	return []*Server{primary.Server, standby.Server}, nil
}

// startEach starts one server per place, side by side. When one fails none is left.
func startEach(at []Place, start func(int, Place) (*Server, error)) ([]*Server, error) {
	started, errs := make([]*Server, len(at)), make([]error, len(at))
	var wg sync.WaitGroup
	for i, p := range at {
		wg.Go(func() { started[i], errs[i] = start(i, p) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		return started, nil
	}
	for i, s := range started {
		if errs[i] == nil {
			err = errors.Join(err, s.Close())
		}
	}
	return nil, err
}

// startAll starts every kind of want, side by side. When one fails none is left.
func startAll(ctx context.Context, dir string, want []kind, ports map[string]int) (map[string]*Server, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu   sync.Mutex // guards all and errs
		all  = map[string]*Server{}
		errs []error
		wg   sync.WaitGroup
	)
	for _, k := range want {
		wg.Go(func() {
			list, err := k.start(ctx, k.places(dir, ports))
			mu.Lock()
			defer mu.Unlock()
			if err != nil && ctx.Err() == nil { // the first: the others are told to give up
				errs = append(errs, err)
				cancel(errors.New("another server failed"))
			}
			for i, s := range list {
				all[k.members[i].name] = s
			}
		})
	}
	wg.Wait()
	if ctx.Err() == nil {
		return all, nil
	}
	if len(errs) == 0 {
		errs = append(errs, context.Cause(ctx))
	}
	return nil, errors.Join(append(errs, closeAll(all))...)
}

func closeAll(all map[string]*Server) error {
	var (
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
	)
	for _, s := range all {
		wg.Go(func() {
			err := s.Close()
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// pick returns the kinds named, all for none.
func pick(names []string) ([]kind, error) {
	all := kinds()
	if len(names) == 0 {
		return all, nil
	}
	var picked []kind
	for _, name := range names {
		i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("servers: no kind %q; there are redis, sqs, moto, postgres and chromium", name)
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

// fixedPorts reads HOLDFAST_PORTS: name=port pairs, separated by commas.
func fixedPorts() (map[string]int, error) {
	ports := map[string]int{}
	for pair := range strings.SplitSeq(os.Getenv("HOLDFAST_PORTS"), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, number, _ := strings.Cut(strings.TrimSpace(pair), "=")
		port, err := strconv.Atoi(number)
		if err != nil || port < 1 || port > 65535 || !isMember(name) {
			return nil, fmt.Errorf("servers: HOLDFAST_PORTS: %q is not name=port; names are redis-a, redis-b, sqs-a, sqs-b, moto, pg-primary, pg-standby", pair)
		}
		ports[name] = port
	}
	return ports, nil
}

func isMember(name string) bool {
	return slices.ContainsFunc(kinds(), func(k kind) bool {
		return slices.ContainsFunc(k.members, func(m member) bool { return m.name == name })
	})
}
