package degrade

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/request"
)

// StaleConfig says how long copies may be used. The windows begin where Fresh ends, as in RFC 5861; at least one must be set.
type StaleConfig struct {
	// Fresh is how long a copy is as good as the real thing; 0 = 10 s.
	Fresh time.Duration

	// WhileRevalidate is how long after Fresh a copy is served at once while a new one is loaded beside it; 0 = never.
	WhileRevalidate time.Duration

	// IfError is how long after Fresh a copy is served when loading a new one failed; 0 = never.
	IfError time.Duration

	// WhenDegraded is how long after Fresh a copy is served at once when the feature is at Limited or worse; 0 = never.
	WhenDegraded time.Duration

	// Max is how many copies are kept, the ones used last; 0 = 1024.
	Max int

	// LoadTimeout ends the context of a load; 0 = 10 s. A load is shared by all who wait for the key, so no caller's
	// deadline ends it.
	LoadTimeout time.Duration

	// Backoff is how long a key is left alone after its refresh failed, while a copy can be served; it doubles up to
	// MaxBackoff. 0 = 1 s and 1 m.
	Backoff, MaxBackoff time.Duration

	// Eligible reports whether an error of load may be answered with a copy. If not, the copy is dropped: what was not
	// found must not be served. Nil accepts all errors but permanent ones.
	Eligible func(error) bool
}

// A Stale keeps copies of what load returned and serves them when load is slow, failing or forbidden by the level. All
// methods are safe for concurrent use.
type Stale[K comparable, V any] struct {
	f    *Feature
	load func(context.Context, K) (V, error)
	cfg  StaleConfig

	mu      sync.Mutex // guards the following
	entries map[K]*entry[K, V]
	order   list.List // of *entry, the one used last in front
	flights map[K]*flight[V]
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	provenance provenance
	loaded     time.Time
	failures   int
	notBefore  time.Time // of the next refresh, after failures
	place      *list.Element
}

// A flight is one load, shared by all who wait for it.
type flight[V any] struct {
	done       chan struct{}
	value      V
	provenance provenance
	err        error
}

// A provenance is what a load said of its value: a stub's answer is one in every copy too. It does not change.
type provenance struct {
	served request.Served
	notes  []request.Note
}

// A kept is a copy as it is served.
type kept[V any] struct {
	Result[V]
	provenance provenance
	beyond     time.Duration // for how long it has not been fresh
}

// NewStale returns a cache in front of load. load runs on goroutines that Run of f's Controller waits for, one call at a time
// for a key, with the values of one caller's context; a panic of load is an error to those who wait.
func NewStale[K comparable, V any](f *Feature, load func(context.Context, K) (V, error), cfg StaleConfig) (*Stale[K, V], error) {
	if f == nil || load == nil {
		return nil, errors.New("degrade: NewStale: a nil Feature or load")
	}
	for name, d := range map[string]time.Duration{
		"Fresh": cfg.Fresh, "WhileRevalidate": cfg.WhileRevalidate, "IfError": cfg.IfError, "WhenDegraded": cfg.WhenDegraded,
		"LoadTimeout": cfg.LoadTimeout, "Backoff": cfg.Backoff, "MaxBackoff": cfg.MaxBackoff,
	} {
		if d < 0 {
			return nil, fmt.Errorf("degrade: StaleConfig.%s: %v is negative", name, d)
		}
	}
	switch {
	case cfg.Max < 0:
		return nil, fmt.Errorf("degrade: StaleConfig.Max: %d is negative", cfg.Max)
	case cfg.WhileRevalidate == 0 && cfg.IfError == 0 && cfg.WhenDegraded == 0:
		return nil, errors.New("degrade: StaleConfig: none of WhileRevalidate, IfError and WhenDegraded is set: nothing stale would ever be served")
	}
	if cfg.Max == 0 {
		cfg.Max = 1024
	}
	cfg.Fresh = defaulted(cfg.Fresh, 10*time.Second)
	cfg.LoadTimeout = defaulted(cfg.LoadTimeout, 10*time.Second)
	cfg.Backoff = defaulted(cfg.Backoff, time.Second)
	cfg.MaxBackoff = max(cfg.Backoff, defaulted(cfg.MaxBackoff, time.Minute))
	return &Stale[K, V]{f: f, load: load, cfg: cfg, entries: map[K]*entry[K, V]{}, flights: map[K]*flight[V]{}}, nil
}

// Get returns the copy of key if the windows allow it, else what load returns. At Offline it does not load: it serves a
// copy that any window covers, or returns a [*RefusedError]. Result.Age is the copy's; Source is SourceStale after Fresh and before it
// SourcePrimary, or what load had it from: SourceStub or another Stale. A caller whose ctx ends gets its cause.
func (s *Stale[K, V]) Get(ctx context.Context, key K) (Result[V], error) {
	level := s.f.LevelIn(ctx)
	now := time.Now()
	s.mu.Lock()
	e := s.entries[key]
	k, have := s.copyLocked(e, level, now)
	switch {
	case have && k.beyond <= 0:
		s.mu.Unlock()
		s.f.stats.lookups[lookupFresh].Add(1)
		return s.fresh(ctx, k), nil
	case level == Offline:
		s.mu.Unlock()
		if have && k.beyond <= max(s.cfg.WhileRevalidate, s.cfg.IfError, s.cfg.WhenDegraded) {
			return s.stale(ctx, k), nil
		}
		return Result[V]{Level: level}, s.f.refuse(ctx, OpRead, level)
	}
	resting := e != nil && now.Before(e.notBefore)
	if have && (k.beyond <= s.cfg.WhileRevalidate || level >= Limited && k.beyond <= s.cfg.WhenDegraded || resting && k.beyond <= s.cfg.IfError) {
		if !resting {
			s.flyLocked(ctx, key)
		}
		s.mu.Unlock()
		return s.stale(ctx, k), nil
	}
	flight := s.flyLocked(ctx, key)
	s.mu.Unlock()
	return s.await(ctx, flight, key, k, have && k.beyond <= s.cfg.IfError)
}

// Forget drops the copy of key, for example after a write. A load under way answers those who wait for it and is not kept.
func (s *Stale[K, V]) Forget(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, key)
	s.dropLocked(s.entries[key])
}

// copyLocked is the value of e, if there is one.
func (s *Stale[K, V]) copyLocked(e *entry[K, V], level Level, now time.Time) (k kept[V], have bool) {
	k.Level = level
	if e == nil {
		return k, false
	}
	s.order.MoveToFront(e.place)
	k.Value, k.Age, k.provenance = e.value, now.Sub(e.loaded), e.provenance
	k.beyond = k.Age - s.cfg.Fresh
	return k, true
}

// fresh is k as good as the real thing, or as what the load had of it.
func (s *Stale[K, V]) fresh(ctx context.Context, k kept[V]) Result[V] {
	source := SourceFallback // to a call around
	if made := Source(k.provenance.served.Source); k.provenance.served.Set && made > SourceFallback {
		k.Source, source = made, made
		k.Age += k.provenance.served.Age
	}
	request.Tell(ctx, uint8(source), k.Age)
	k.provenance.note(ctx)
	return k.Result
}

func (s *Stale[K, V]) stale(ctx context.Context, k kept[V]) Result[V] {
	k.Source = SourceStale
	s.f.stats.lookups[lookupStale].Add(1)
	request.Tell(ctx, uint8(SourceStale), k.Age)
	if c := request.From(ctx); c != nil {
		c.Add(request.Note{Name: s.f.name, Level: k.Level.String(), Source: SourceStale.String(), Age: k.Age, Beyond: k.beyond})
	}
	k.provenance.note(ctx)
	return k.Result
}

// note repeats to the request of ctx what the load noted on its own.
func (o *provenance) note(ctx context.Context) {
	if len(o.notes) == 0 {
		return
	}
	if c := request.From(ctx); c != nil {
		for _, n := range o.notes {
			c.Add(n)
		}
	}
}

// await waits for a load. k is the copy to serve if it fails, if usable.
func (s *Stale[K, V]) await(ctx context.Context, flight *flight[V], key K, k kept[V], usable bool) (Result[V], error) {
	if flight == nil { // Run has ended: there is nobody to share with
		v, err := s.load(ctx, key)
		return Result[V]{Value: v, Level: k.Level}, err
	}
	select {
	case <-flight.done:
	case <-ctx.Done():
		return Result[V]{Level: k.Level}, context.Cause(ctx)
	}
	switch {
	case flight.err == nil:
		s.f.stats.lookups[lookupLoaded].Add(1)
		return s.fresh(ctx, kept[V]{Result: Result[V]{Value: flight.value, Level: k.Level}, provenance: flight.provenance}), nil
	case usable && s.eligible(flight.err):
		return s.stale(ctx, k), nil
	}
	s.f.stats.lookups[lookupFailed].Add(1)
	return Result[V]{Level: k.Level}, flight.err
}

// flyLocked starts or joins the load of key; nil if Run has ended.
func (s *Stale[K, V]) flyLocked(ctx context.Context, key K) *flight[V] {
	if under := s.flights[key]; under != nil {
		return under
	}
	flight := &flight[V]{done: make(chan struct{}), err: errors.New("degrade: load ended without returning")}
	if !s.f.c.detach(ctx, "load of feature "+s.f.name, s.cfg.LoadTimeout, func(ctx context.Context) { s.fly(ctx, key, flight) }) {
		return nil
	}
	s.flights[key] = flight
	return flight
}

func (s *Stale[K, V]) fly(ctx context.Context, key K, flight *flight[V]) {
	defer func() {
		eligible := false // nor is it if asking panics
		_ = guarded("Eligible", func() error {
			eligible = flight.err != nil && s.eligible(flight.err)
			return nil
		})
		s.land(key, flight, eligible)
		close(flight.done)
	}()
	apart, served := request.Apart(ctx) // nobody's request: it may have been answered, and others wait too
	flight.err = guarded("load", func() (err error) {
		flight.value, err = s.load(apart, key)
		return err
	})
	flight.provenance = provenance{*served, apart.Notes()}
}

// land keeps the result of a load; eligible if it is an error that a copy may answer.
func (s *Stale[K, V]) land(key K, flight *flight[V], eligible bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[key] != flight { // forgotten: it may have read what was there before
		return
	}
	delete(s.flights, key)
	e := s.entries[key]
	switch {
	case flight.err == nil:
		e = s.entryLocked(key)
		e.value, e.provenance = flight.value, flight.provenance
		e.loaded, e.failures, e.notBefore = time.Now(), 0, time.Time{}
	case !eligible:
		s.dropLocked(e)
	case e != nil:
		e.notBefore = time.Now().Add(jittered(s.backoff(e.failures)))
		e.failures++
	}
}

// backoff is the pause after a number of failures.
func (s *Stale[K, V]) backoff(failures int) time.Duration {
	d := s.cfg.Backoff
	for range failures {
		if d *= 2; d >= s.cfg.MaxBackoff {
			return s.cfg.MaxBackoff
		}
	}
	return d
}

func (s *Stale[K, V]) eligible(err error) bool {
	if s.cfg.Eligible != nil {
		return s.cfg.Eligible(err)
	}
	return !outcome.Permanent(err)
}

// entryLocked returns the entry of key, made if need be; then the one unused the longest makes room.
func (s *Stale[K, V]) entryLocked(key K) *entry[K, V] {
	if e := s.entries[key]; e != nil {
		return e
	}
	if len(s.entries) >= s.cfg.Max {
		s.dropLocked(s.order.Back().Value.(*entry[K, V]))
	}
	e := &entry[K, V]{key: key}
	e.place = s.order.PushFront(e)
	s.entries[key] = e
	return e
}

func (s *Stale[K, V]) dropLocked(e *entry[K, V]) {
	if e != nil {
		s.order.Remove(e.place)
		delete(s.entries, e.key)
	}
}
