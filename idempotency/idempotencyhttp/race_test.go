//go:build race

package idempotencyhttp_test

const raceEnabled = true
