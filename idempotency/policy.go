package idempotency

// Policy says what to do with a key whose earlier attempt may have had its effect.
type Policy uint8

const (
	PolicyDefault   Policy = iota // what the field's comment says
	PolicyRerun                   // run the function again, with a higher fence and the checkpoint of the attempt before
	PolicyRefuse                  // return ErrUnknownOutcome
	PolicyReconcile               // ask Config.Reconcile, which finds out or lets the function run again
)

// Outage says what to do when the store does not answer.
type Outage uint8

const (
	OutageFailClosed Outage = iota // refuse with ErrUnavailable: nothing runs unprotected
	OutageFailOpen                 // run; repetitions are caught in this process only, while the call runs
	OutageLocal                    // run under a memory store of this process, which other processes do not see
)

// Verdict says what becomes of the key when the function returned an error.
type Verdict uint8

const (
	VerdictDefault Verdict = iota // by the error's marks, as the package comment says
	VerdictRelease                // forget the attempt: the next call runs
	VerdictStore                  // store the error: the next call gets it
	VerdictHold                   // keep the key with its outcome unknown: the next call meets Config.OnUnknown
)
