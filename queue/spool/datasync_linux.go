package spool

import "syscall"

// Datasync flushes the data and the size, not the times.
func (f osFile) Datasync() error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
