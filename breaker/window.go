package breaker

import (
	"sync/atomic"
)

const (
	buckets = 10 // of a window
	stripes = 8  // a power of two
)

// window.cur holds, from the lowest bit: whether the timer runs, whether the last result was a failure
// (only if ConsecutiveFailures is set), the current bucket's index, and its age. The age tells a full
// lap from none, which an index alone cannot.
const (
	armedFlag  = 1
	streakFlag = 2
	flagMask   = armedFlag | streakFlag
	indexShift = 2
	indexMask  = 15
	ageShift   = 6
)

// A stripe is the part of the counts that one of several goroutines adds to. 128 bytes: processors
// fetch cache lines in pairs.
type stripe struct {
	ok                          [buckets]atomic.Uint64 // successes
	neutral, rejected, observed atomic.Uint64          // since New
	_                           [128 - (buckets+3)*8]byte
}

// A window counts the results of the last ten periods. Successes are added without a lock, to the bucket
// that cur names; a timer moves cur on. Failures and slow calls are added under Breaker.mu after cur was
// moved to the time of now, so no decision is ever based on a late timer.
type window struct {
	cur     atomic.Uint64
	_       [56]byte
	stripes [stripes]stripe

	// Guarded by Breaker.mu.
	period   int64 // nanoseconds
	start    int64 // when bucket 0 of age 0 began
	age      int64 // of the current bucket, in periods since start
	quiet    int   // ticks in a row that found no result
	streak   int   // consecutive failures
	failures [buckets]uint64
	slow     [buckets]uint64
	past     Counts // results that have left the window
}

func (w *window) indexLocked() int { return int(w.age % buckets) }

// nextLocked is when the current bucket ends.
func (w *window) nextLocked() int64 { return w.start + (w.age+1)*w.period }

// publishLocked shows successes where to count.
func (w *window) publishLocked(armed bool) {
	cur := uint64(w.age)<<ageShift | uint64(w.indexLocked())<<indexShift
	if armed {
		cur |= armedFlag
	}
	if w.streak > 0 {
		cur |= streakFlag
	}
	w.cur.Store(cur)
}

// advanceLocked moves the window to now. Buckets are emptied before they are published, so that no
// fresh count is lost.
func (w *window) advanceLocked(now int64) {
	age := (now - w.start) / w.period
	if age <= w.age {
		return
	}
	for a := max(w.age+1, age-buckets+1); a <= age; a++ {
		w.retireLocked(int(a % buckets))
	}
	w.age = age
	w.publishLocked(w.cur.Load()&armedFlag != 0)
}

// retireLocked empties a bucket.
func (w *window) retireLocked(i int) {
	w.past.Failures += w.failures[i]
	w.past.Slow += w.slow[i]
	w.failures[i], w.slow[i] = 0, 0
	for s := range w.stripes {
		w.past.Successes += w.stripes[s].ok[i].Swap(0)
	}
}

// resetLocked empties the window and starts it at now, without a timer. A success that read the generation
// just before it ended may still be added: it cannot do harm.
func (w *window) resetLocked(now int64) {
	for i := range buckets {
		w.retireLocked(i)
	}
	w.start, w.age, w.streak = now, 0, 0
	w.publishLocked(false)
}

// addLocked counts a failure or a slow success in the current bucket.
func (w *window) addLocked(verdict Verdict, slow, rows bool) {
	i := w.indexLocked()
	if slow {
		w.slow[i]++
	}
	if verdict == VerdictSuccess {
		w.stripes[0].ok[i].Add(1)
		w.streak = 0
	} else {
		w.failures[i]++
		if rows {
			w.streak++
		}
	}
	w.publishLocked(w.cur.Load()&armedFlag != 0)
}

// bucketLocked is what bucket i holds.
func (w *window) bucketLocked(i int) Counts {
	c := Counts{Failures: w.failures[i], Slow: w.slow[i]}
	for s := range w.stripes {
		c.Successes += w.stripes[s].ok[i].Load()
	}
	return c
}

// countsLocked is what the window holds at now. It changes nothing.
func (w *window) countsLocked(now int64) Counts {
	var sum Counts
	age := max(w.age, (now-w.start)/w.period)
	for a := max(0, age-buckets+1); a <= w.age; a++ {
		sum = sum.plus(w.bucketLocked(int(a % buckets)))
	}
	return sum
}

// totalLocked is everything ever counted.
func (w *window) totalLocked() Counts {
	sum := w.past
	for i := range buckets {
		sum = sum.plus(w.bucketLocked(i))
	}
	return sum
}

func (c Counts) plus(d Counts) Counts {
	return Counts{Successes: c.Successes + d.Successes, Failures: c.Failures + d.Failures, Slow: c.Slow + d.Slow}
}

// striped sums one count over the stripes.
func (w *window) striped(count func(*stripe) *atomic.Uint64) uint64 {
	var sum uint64
	for i := range w.stripes {
		sum += count(&w.stripes[i]).Load()
	}
	return sum
}
