//go:build !unix

package failover

import (
	"context"
	"errors"
	"os"
)

// lockFile fails: a FileCoordinator needs the locks of Unix.
func lockFile(context.Context, *os.File) error {
	return errors.New("a file coordinator needs a Unix")
}
