// Package history is what happened in a World, as its clients, stores and faults saw it: the one source
// checks and reports read.
//
// Times are durations since the World began. Records are appended while the World runs, by any
// goroutine, and read when it has ended. A drill against real servers fills the same History, so that
// one set of checks serves both.
//
// # Hash and ties
//
// [History.Hash] covers every record in the order in which it was made, to the nanosecond. Equal hashes
// mean that two runs were the same for everybody who watched. Two records of different sources in one
// nanosecond are a tie: their order is the scheduler's choice, and the hash may differ between runs
// of one seed. [History.Ties] tells how many there were and names the first.
package history
