package queue

// A Reason says why a call is in the dead-letter queue. The set is closed: it is a metric attribute.
type Reason string

const (
	ReasonPermanent      Reason = "permanent"       // the handler said so
	ReasonAttempts       Reason = "attempts"        // MaxAttempts failed
	ReasonPanic          Reason = "panic"           // the last of MaxAttempts panicked
	ReasonUndecodable    Reason = "undecodable"     // no envelope, or arguments that do not decode
	ReasonUnsealed       Reason = "unsealed"        // the codec could not open the payload
	ReasonUnknownCall    Reason = "unknown_call"    // no handler for an hour
	ReasonUnknownOutcome Reason = "unknown_outcome" // it may have run, and nothing can tell
	ReasonTooOld         Reason = "too_old"         // older than idempotency markers live
	ReasonStaleEpoch     Reason = "stale_epoch"     // deferred under an older write epoch
	ReasonClaimMissing   Reason = "claim_missing"   // the payload kept elsewhere is gone or damaged
	ReasonGroup          Reason = "group"           // followed a dead call of its FIFO group
	ReasonReceives       Reason = "receives"        // handed out far more often than attempted: it ends its workers
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{
		ReasonPermanent, ReasonAttempts, ReasonPanic, ReasonUndecodable, ReasonUnsealed, ReasonUnknownCall,
		ReasonUnknownOutcome, ReasonTooOld, ReasonStaleEpoch, ReasonClaimMissing, ReasonGroup, ReasonReceives,
	}
}

func reasonIndex(r Reason) int {
	for i, known := range Reasons() {
		if r == known {
			return i
		}
	}
	return 0
}
