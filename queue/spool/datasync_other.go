//go:build unix && !linux

package spool

// Datasync flushes everything: fdatasync is not everywhere.
func (f osFile) Datasync() error { return f.Sync() }
