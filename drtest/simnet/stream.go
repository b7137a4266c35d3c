package simnet

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
)

// Stream returns the random stream of a name. The same seed and name give the same numbers, and a stream
// does not depend on which others were asked for: a new client shifts no draw of an old one. A stream
// is not safe for concurrent use.
func Stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // never fails
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
