//go:build unix

package servers

import (
	"context"
	"path/filepath"
	"strconv"
)

// StartRedis starts a Redis without persistence: a killed one comes back empty. args are added
// to its command line, for instance "--appendonly", "yes".
func StartRedis(ctx context.Context, p Place, args ...string) (*Server, error) {
	bin, err := findRedis()
	if err != nil {
		return nil, err
	}
	s := (&Server{address: loopback}).init(p)
	if s.dir, err = (*account)(nil).folder(filepath.Join(p.Dir, p.Name)); err != nil {
		return nil, err
	}
	s.argv = func(port int) []string {
		return append([]string{
			bin, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.dir,
			"--save", "", "--appendonly", "no", "--daemonize", "no",
		}, args...)
	}
	s.answers = func(ctx context.Context) error { return askRedis(ctx, s.Addr()) }
	return s, s.open(ctx)
}
