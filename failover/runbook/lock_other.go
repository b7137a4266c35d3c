//go:build !unix

package runbook

import (
	"context"
	"errors"
	"os"
)

// lock fails: a FileJournal needs the locks of Unix.
func lock(context.Context, *os.File) error { return errors.New("a file journal needs a Unix") }
