//go:build unix

package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The ports of the servers: below the range that Linux (32768), macOS and BSD (49152) give to
// outgoing connections, which would otherwise steal the port of a server that is being restarted.
const (
	firstPort = 20000
	portCount = 10000
)

// A lease keeps a port from every other process that picks ports with this package. The kernel
// gives it back when the process ends.
type lease struct {
	port int
	file *os.File
}

// leasePort finds a loopback port that nobody listens on and nobody else has leased.
func leasePort() (*lease, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("holdfast-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("servers: lease a port: %w", err)
	}
	for range 100 {
		port := firstPort + rand.IntN(portCount)
		if l := tryLease(dir, port); l != nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("servers: no free port found between %d and %d", firstPort, firstPort+portCount-1)
}

func tryLease(dir string, port int) *lease {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !portFree(port) {
		f.Close()
		return nil
	}
	return &lease{port: port, file: f}
}

// release gives the port back. It may be called on nil and more than once.
func (l *lease) release() {
	if l != nil && l.file != nil {
		// Closing alone is not enough: a child that is just being started may hold a copy.
		syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN) //nolint:errcheck // closed before: free already
		l.file.Close()
	}
}

// portFree reports whether nobody listens on port now. It asks by connecting: a listener of our
// own, even a closed one, would live on for a moment in a child that is just being started.
func portFree(port int) bool {
	conn, err := net.DialTimeout("tcp", loopback(port), time.Second)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
