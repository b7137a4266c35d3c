package telemetry

import (
	"context"
	"reflect"
	"runtime"
	"sync"
	"weak"

	"go.opentelemetry.io/otel/metric"
)

// A Collector receives the values of one collection. It is valid only during the call it is given to.
type Collector struct {
	observer metric.Observer
	ints     map[*Instrument]metric.Int64Observable
	floats   map[*Instrument]metric.Float64Observable
}

// Int reports the value of a counter or gauge. An instrument that the provider refused is passed over.
func (c *Collector) Int(inst *Instrument, value int64, set Set) {
	if o := c.ints[inst]; o != nil {
		c.observer.ObserveInt64(o, value, set.observe...)
	}
}

// Float reports the value of a KindLevel instrument.
func (c *Collector) Float(inst *Instrument, value float64, set Set) {
	if o := c.floats[inst]; o != nil {
		c.observer.ObserveFloat64(o, value, set.observe...)
	}
}

// Attach lets mp read owner's counts until owner is garbage collected or the returned func is called.
// A nil mp means the global provider. collect runs on the collecting goroutine, concurrently with everything
// owner does; it must not block and must not refer to owner except through its argument, or owner is never freed.
func Attach[T any](mp metric.MeterProvider, pkg *Package, owner *T, collect func(*T, *Collector)) (detach func()) {
	w := weak.Make(owner)
	s, id := scopes.join(provider(mp), pkg, func(c *Collector) {
		if o := w.Value(); o != nil {
			collect(o, c)
		}
	})
	detach = sync.OnceFunc(func() { scopes.leave(s, id) })
	runtime.AddCleanup(owner, func(detach func()) { detach() }, detach)
	return detach
}

// scopes is the one package-level registry: a provider takes one callback per package, however many
// handles there are, and only the provider knows which handles share it.
var scopes = registry{scopes: map[scopeKey]*scope{}}

type scopeKey struct {
	provider metric.MeterProvider
	pkg      *Package
}

type registry struct {
	// mu guards scopes and each scope's registration. Providers are called under it: they call
	// back only into scope.collect, which takes scope.mu alone.
	mu     sync.Mutex
	scopes map[scopeKey]*scope
}

// A scope is one package on one provider: the instruments, the callback and the live handles.
type scope struct {
	key          scopeKey
	registration metric.Registration
	collector    Collector // its observer is set per collection, on a copy

	mu      sync.Mutex // guards the following
	next    uint64
	handles map[uint64]func(*Collector)
}

func (r *registry) join(mp metric.MeterProvider, pkg *Package, collect func(*Collector)) (*scope, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := scopeKey{mp, pkg}
	comparable := reflect.TypeOf(mp).Comparable()
	var s *scope
	if comparable {
		s = r.scopes[key]
	}
	if s == nil {
		s = newScope(key)
		if comparable {
			r.scopes[key] = s
		}
	}
	return s, s.add(collect)
}

func (r *registry) leave(s *scope, id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.remove(id) > 0 {
		return
	}
	if reflect.TypeOf(s.key.provider).Comparable() {
		delete(r.scopes, s.key)
	}
	if s.registration != nil {
		_ = s.registration.Unregister() // fails only when the provider has been shut down
	}
}

func newScope(key scopeKey) *scope {
	s := &scope{key: key, handles: map[uint64]func(*Collector){}, collector: Collector{
		ints: map[*Instrument]metric.Int64Observable{}, floats: map[*Instrument]metric.Float64Observable{},
	}}
	meter := key.provider.Meter(key.pkg.ScopeName())
	var observables []metric.Observable
	for _, inst := range key.pkg.Instruments {
		if o := s.create(meter, inst); o != nil {
			observables = append(observables, o)
		}
	}
	if len(observables) > 0 {
		s.registration, _ = meter.RegisterCallback(s.collect, observables...) // refused: reported by the provider
	}
	return s
}

// create makes inst on meter. Histograms are made where they are recorded; what the provider
// refuses is reported by it and left out.
func (s *scope) create(meter metric.Meter, inst *Instrument) metric.Observable {
	unit, description := metric.WithUnit(inst.Unit), metric.WithDescription(inst.Description)
	switch inst.Kind {
	case KindCounter:
		if o, err := meter.Int64ObservableCounter(inst.Name, unit, description); err == nil {
			s.collector.ints[inst] = o
			return o
		}
	case KindGauge:
		if o, err := meter.Int64ObservableGauge(inst.Name, unit, description); err == nil {
			s.collector.ints[inst] = o
			return o
		}
	case KindLevel:
		if o, err := meter.Float64ObservableGauge(inst.Name, unit, description); err == nil {
			s.collector.floats[inst] = o
			return o
		}
	}
	return nil
}

func (s *scope) add(collect func(*Collector)) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.handles[s.next] = collect
	return s.next
}

func (s *scope) remove(id uint64) (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.handles, id)
	return len(s.handles)
}

// collect reads every handle. It copies the list first: a handle's collect may create or drop handles.
func (s *scope) collect(_ context.Context, observer metric.Observer) error {
	s.mu.Lock()
	handles := make([]func(*Collector), 0, len(s.handles))
	for _, h := range s.handles {
		handles = append(handles, h)
	}
	s.mu.Unlock()
	c := s.collector
	c.observer = observer
	for _, h := range handles {
		h(&c)
	}
	return nil
}
