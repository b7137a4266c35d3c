package breaker

import "math"

// Breaker.word holds, from the lowest bit: the state, whether it only observes, whether all probes are
// under way, whether the open time is about to end, and the generation. Every transition but the end of a ramp starts a generation; a call
// whose generation has passed when it ends is not counted.
const (
	stateMask       = 3
	observeBit      = 1 << 2
	fullBit         = 1 << 3
	dueBit          = 1 << 4
	generationShift = 5

	staleWord = math.MaxUint64 // a generation that never comes
)

func stateOf(word uint64) State { return State(word & stateMask) }

// setWordLocked starts a generation in state.
func (b *Breaker) setWordLocked(state State) {
	generation := b.word.Load()>>generationShift + 1
	b.word.Store(generation<<generationShift | b.observeLocked() | uint64(state))
}

// keepGenerationLocked changes the state and nothing else.
func (b *Breaker) keepGenerationLocked(state State) {
	generation := b.word.Load() >> generationShift
	b.word.Store(generation<<generationShift | b.observeLocked() | uint64(state))
}

// setFullLocked says whether all probes are under way.
func (b *Breaker) setFullLocked(full bool) {
	if full {
		b.word.Store(b.word.Load() | fullBit)
	} else {
		b.word.Store(b.word.Load() &^ fullBit)
	}
}

func (b *Breaker) observeLocked() uint64 {
	if b.mode == ModeObserve {
		return observeBit
	}
	return 0
}
