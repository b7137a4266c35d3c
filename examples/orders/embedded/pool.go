package embedded

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
)

// A Pool is the processes of the service in one Region, behind its load balancer.
type Pool struct {
	crew   *Crew
	region *drtest.Region
	parts  func(life context.Context, instance string) (service.Parts, func(), error)
	blames func(process string, svc *service.Service) []Blame // nil: nobody asks

	// abandon takes from a dead process what the next of its name needs. Nil means that the next waits until the goroutines of the dead one have ended.
	abandon func(process string)

	mu        sync.Mutex // guards the following; never held while waiting
	instances []*instance
	next      int
}

// NewPool serves the Region's address. parts connects a process to everything; it dies when its context ends, and from then on it must reach nothing. The function that parts returns lets
// go of what it has.
func NewPool(r *drtest.Region, crew *Crew, parts func(life context.Context, instance string) (service.Parts, func(), error)) *Pool {
	p := &Pool{crew: crew, region: r, parts: parts}
	r.Serve(Address(r.Name()).Host, p)
	return p
}

// Address of the service in a Region.
func Address(region failover.Region) *url.URL {
	return &url.URL{Scheme: "http", Host: "orders." + region + ".internal"}
}

// Start runs instance n, again after every death.
func (p *Pool) Start(n int) {
	i := &instance{pool: p, name: fmt.Sprintf("%s/app-%d", p.region.Name(), n)}
	p.mu.Lock()
	p.instances = append(p.instances, i)
	p.mu.Unlock()
	p.region.World().Follow(i.name, i.epoch)
	p.region.Go(i.name, i.run)
}

// Services returns the processes that run, in no order that means anything. What is left of one that was killed is not among them.
func (p *Pool) Services() (running []*service.Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.instances {
		if l := i.present(); l != nil {
			running = append(running, l.service)
		}
	}
	return running
}

// ServeHTTP is the Region's load balancer: each instance in turn, and 503 when there is none.
func (p *Pool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if i := p.pick(); i != nil {
		i.serve(w, r)
		return
	}
	http.Error(w, "no instance is in service", http.StatusServiceUnavailable)
}

func (p *Pool) pick() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.instances {
		p.next = (p.next + 1) % len(p.instances)
		i := p.instances[p.next]
		if l := i.present(); l != nil && l.handler.Load() != nil {
			return i
		}
	}
	return nil
}

// A Crew is all processes of the service, to be stopped as one. [NewCrew] makes one.
type Crew struct {
	life  context.Context // ends with Stop
	end   context.CancelFunc
	alive sync.WaitGroup // processes

	slowest atomic.Int64 // of the stops of processes
	cut     atomic.Int64 // requests that their process died with

	mu      sync.Mutex // guards the following, and alive against an Add after stopped
	stopped bool
	refused []Refusal
	late    []Late
	blames  []Blame
	endings []Ending
}

// A Refusal is an answer of 500 or more that a process gave while it stopped in good order.
type Refusal struct {
	Process string
	Request string // its method and path
	Answer  string // its status and body
	At      time.Time
	Age     time.Duration // how long the process had taken requests when it was told to stop
}

// Refusals returns them, the oldest first.
func (c *Crew) Refusals() []Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.refused)
}

func (c *Crew) refusedAtStop(process, request, answer string, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, Refusal{process, request, answer, time.Now(), age})
}

// A Late is a request that a process took on some time after it was told to stop.
type Late struct {
	Process string
	Request string // its method and path
	After   time.Duration
}

// Late returns them, the oldest first.
func (c *Crew) Late() []Late {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.late)
}

func (c *Crew) tookOn(process, request string, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = append(c.late, Late{process, request, after})
}

// Blames returns what processes held against Regions when they were told to stop.
func (c *Crew) Blames() []Blame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.blames)
}

func (c *Crew) blamed(all []Blame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blames = append(c.blames, all...)
}

// NewCrew returns one that nobody is in.
func NewCrew() *Crew {
	c := &Crew{}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Stop ends every process of the service in good order, as a deployment does, and waits until they are gone. Their errors are the World's.
func (c *Crew) Stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.end()
	c.alive.Wait()
}

// LongestStop returns the longest time that a process took to stop, from when it was told to.
func (c *Crew) LongestStop() time.Duration { return time.Duration(c.slowest.Load()) }

// Cut returns how many requests have ended with the death of the process that was at work on them.
func (c *Crew) Cut() int { return int(c.cut.Load()) }

// tookToStop notes it.
func (c *Crew) tookToStop(took time.Duration) {
	for slowest := c.slowest.Load(); int64(took) > slowest && !c.slowest.CompareAndSwap(slowest, int64(took)); {
		slowest = c.slowest.Load()
	}
}

// enter counts a process in, unless all is over.
func (c *Crew) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	c.alive.Add(1)
	return true
}
