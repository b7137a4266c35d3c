//go:build unix

// Package cputime measures work on a machine that others use too.
package cputime

import (
	"syscall"
	"time"
)

// Used is the processor time this process has used.
func Used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only for arguments that do not exist
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
