//go:build !race

package idempotencyhttp_test

const raceEnabled = false
