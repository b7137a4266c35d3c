package benchmarks

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// A variant is one way of doing what a benchmark compares.
type variant struct {
	name string
	run  func() // operations operations
}

// pairs runs every variant once in each of b.N rounds, the first variant first in one round and last in the next, so that
// what else the machine does meets all of them alike. It reports medians: CPU-ns and allocations of an operation, and what
// each variant costs over the first, round by round.
func pairs(b *testing.B, operations int, variants []variant) func() {
	for _, v := range variants { // pools and maps have their size afterwards
		v.run()
	}
	cpus, allocs := make([][]float64, len(variants)), make([][]float64, len(variants))
	b.ResetTimer()
	for round := range b.N {
		for i := range variants {
			if round%2 == 1 {
				i = len(variants) - 1 - i
			}
			ns, n := costs(variants[i].run)
			cpus[i], allocs[i] = append(cpus[i], ns/float64(operations)), append(allocs[i], n/float64(operations))
		}
	}
	return func() {
		b.ReportMetric(0, "ns/op")
		for i, v := range variants {
			b.ReportMetric(median(cpus[i]), v.name+"-cpu-ns")
			b.ReportMetric(median(allocs[i]), v.name+"-allocs")
			if i > 0 {
				b.ReportMetric(median(minus(cpus[i], cpus[0])), fmt.Sprintf("%s-over-%s-cpu-ns", v.name, variants[0].name))
				b.ReportMetric(median(over(cpus[i], cpus[0])), fmt.Sprintf("%s-over-%s-times", v.name, variants[0].name))
			}
		}
	}
}

// costs returns the CPU time and the allocations of f.
func costs(f func()) (ns, allocs float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used := cpuTime()
	f()
	used = cpuTime() - used
	runtime.ReadMemStats(&after)
	return float64(used), float64(after.Mallocs - before.Mallocs)
}

func minus(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return d
}

func over(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range a {
		q[i] = a[i] / b[i]
	}
	return q
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}
