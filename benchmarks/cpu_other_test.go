//go:build !linux

package benchmarks

import "testing"

// cpu reports nothing where process CPU time is not read: compare ns/op on an idle machine there.
func cpu(*testing.B) func() { return func() {} }

// childrenCPU is not known here.
func childrenCPU(int) int64 { return 0 }
