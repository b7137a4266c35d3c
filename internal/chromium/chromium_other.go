//go:build !unix

package chromium

import "errors"

// A Browser is one running Chromium. There are none on this system.
type Browser struct{}

// Close does nothing.
func (*Browser) Close() error { return nil }

// Find reports that there is none: the pipe to the browser needs a Unix.
func Find() (program string, err error) {
	return "", errors.New("chromium: driving one needs Linux or another Unix")
}
