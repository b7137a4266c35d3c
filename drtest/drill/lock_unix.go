//go:build unix

package drill

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes a lock that ends with this process, however it ends.
func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(ErrRunning, f.Close())
	case err != nil:
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
