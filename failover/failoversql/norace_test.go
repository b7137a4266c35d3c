//go:build !race

package failoversql_test

const raceEnabled = false
