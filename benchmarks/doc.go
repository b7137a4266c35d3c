// Package benchmarks measures Holdfast beside the libraries one would otherwise use. It is a module of its own,
// so that their dependencies stay out of ours, and it has no API.
//
// On a shared machine wall time mostly measures the neighbours. Every benchmark here also reports cpu-ns/op: the
// CPU time of the whole process divided by the number of operations. Compare those, and only within one run:
//
//	go test -run ^$ -bench Retry -benchmem -count 10 -cpu 1,2 -benchtime 200ms
package benchmarks
