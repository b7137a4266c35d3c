package drtest

import (
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

type followed struct {
	name  string
	epoch func() (uint64, time.Time)
	last  time.Duration // when it was asked last; -1 = never
}

// ask returns the epoch a process may write under now, and since when: by its own word, but not before it was last
// asked and said otherwise. One that may write no longer and does not say since when may not since then.
func (f *followed) ask(w *World) (epoch uint64, since time.Duration) {
	now := w.now()
	epoch, at := f.epoch()
	since = at.Sub(w.start)
	switch {
	case at.IsZero() && epoch == 0:
		since = f.last
	case at.IsZero():
		since = now
	}
	since = min(max(since, f.last, 0), now)
	f.last = now
	return epoch, since
}

type gauge struct {
	name string
	read func() float64
}

// sampleEvery is how often followed processes and gauges are read.
const sampleEvery = 250 * time.Millisecond

// Follow reads every 250 ms under which epoch a process may write, 0 being none. The name is a Region, or a
// Region and an instance as "us-east-1/app-2": two Regions that may write at once break SingleWriter. Since says
// when that began, or for epoch 0 when it ended, so that overlaps shorter than 250 ms are found; the zero time
// means unknown. The function must not wait, and must return 0 for a process that is dead.
func (w *World) Follow(name string, epoch func() (epoch uint64, since time.Time)) {
	w.mu.Lock()
	w.followed = append(w.followed, &followed{name, epoch, -1})
	w.mu.Unlock()
	w.observe()
}

// Gauge reads a number every 250 ms, as the depth of a queue. The function must not wait.
func (w *World) Gauge(name string, read func() float64) {
	w.mu.Lock()
	w.gauges = append(w.gauges, gauge{name, read})
	w.mu.Unlock()
	w.observe()
}

// observe starts the goroutine that reads, once.
func (w *World) observe() {
	w.sampler.Do(func() {
		phase := w.phase()
		w.tasks.Go(func() {
			for at := w.phased(phase); w.sleepUntil(w.ctx, at); at += sampleEvery {
				w.stimulus("sampler", 0)
				w.sample()
			}
		})
	})
}

func (w *World) sample() {
	w.mu.Lock()
	all, gauges := w.followed, w.gauges
	w.mu.Unlock()
	for _, f := range all {
		epoch, since := f.ask(w)
		if w.history.SetEpoch(f.name, epoch, w.now(), since) {
			w.notice(history.MarkEpoch, f.name)
		}
	}
	for _, g := range gauges {
		w.history.AddSample(g.name, history.Sample{At: w.now(), Value: g.read()})
	}
}
