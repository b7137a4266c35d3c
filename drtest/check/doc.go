// Package check turns the history of a World into verdicts: how long recovery took, what was lost, what
// happened twice.
//
// A check is asked once, when the World has ended, and answers with a [Verdict] that explains itself. It
// never guesses: a check that has nothing to look at is inconclusive, which fails a test as well.
//
// # Definitions
//
//   - RTO: from the start of a fault to the due time of the first operation after which every window has at
//     least the wanted share of successes, up to the next fault or the end. Windows are counted from the
//     start of the fault. A recovery that does not last is none. An outage that lasts until the next fault is
//     measured from the first of them to the recovery from the last.
//   - RTO and Availability are judged for every class of operations by itself; the verdict is that of the worst.
//   - Success: an operation that ended without an error. A degraded answer counts only if the check says so.
//     A time-out is unknown; for its caller that is no success.
//   - Lost: acknowledged to a caller, and at the end neither in the writer of its replication group nor,
//     if no store ever committed it, among the effects.
//   - RPO: the larger of (newest − oldest commit instant of what was lost) and (fault − oldest). Where a promotion
//     follows the oldest before a fault does, it takes its place.
//   - Availability: successful operations over all, by weight, so that a thinned load counts in full.
package check
