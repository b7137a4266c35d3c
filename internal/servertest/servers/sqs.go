//go:build unix

package servers

import (
	"context"
	"path/filepath"
	"strconv"
)

// StartFauxqs starts a fauxqs that plays SQS, SNS and S3 of one AWS Region. It keeps everything
// in memory: a killed one comes back empty.
func StartFauxqs(ctx context.Context, p Place, region string) (*Server, error) {
	node, app, err := findFauxqs()
	if err != nil {
		return nil, err
	}
	return startHTTP(ctx, p, "/health", func(port int) []string {
		return []string{node, filepath.Join(app, fauxqsScript), strconv.Itoa(port), region}
	})
}

// StartMoto starts a moto server, which plays every Region of nearly all of AWS, in memory.
func StartMoto(ctx context.Context, p Place) (*Server, error) {
	python, err := findMoto()
	if err != nil {
		return nil, err
	}
	return startHTTP(ctx, p, "/moto-api/", func(port int) []string {
		return []string{python, "-m", "moto.server", "-H", "127.0.0.1", "-p", strconv.Itoa(port)}
	})
}

func startHTTP(ctx context.Context, p Place, health string, argv func(int) []string) (*Server, error) {
	s := (&Server{argv: argv, address: func(port int) string { return "http://" + loopback(port) }}).init(p)
	var err error
	if s.dir, err = (*account)(nil).folder(filepath.Join(p.Dir, p.Name)); err != nil {
		return nil, err
	}
	s.answers = func(ctx context.Context) error { return askHTTP(ctx, s.Addr()+health) }
	return s, s.open(ctx)
}
