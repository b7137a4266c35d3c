//go:build !unix

package cputime

import "time"

var started = time.Now()

// Used is the time since the process started, where the processor time is not to be had.
func Used() time.Duration { return time.Since(started) }
