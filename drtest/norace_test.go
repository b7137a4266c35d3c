//go:build !race

package drtest_test

const raceEnabled = false
