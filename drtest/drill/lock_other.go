//go:build !unix

package drill

import "errors"

// lockFile fails: a lease needs the locks of Unix, which end with their process.
func lockFile(string) (unlock func() error, err error) {
	return nil, errors.New("a lease needs the file locks of a Unix")
}
