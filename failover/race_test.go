//go:build race

package failover

// raceEnabled: worlds cost about twenty times as much under the race detector, so that fewer of them run by default.
const raceEnabled = true
