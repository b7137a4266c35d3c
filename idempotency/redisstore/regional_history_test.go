package redisstore_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/redistest"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
)

// The promise of two Regions, for one key and whoever sees only when steps were sent and answered. A step may always be refused
// or told that it lost its lease; what the model forbids is a second run beside a live lease, a run after a result, two results,
// a fence that does not grow, and a lease extended for somebody who is not the owner.

type regionalStep uint8

const (
	regionalBegin regionalStep = iota
	regionalComplete
	regionalRenew
	regionalRelease
	regionalLoss // what both Regions held may be gone
)

var regionalStepNames = [...]string{"begin", "complete", "renew", "release", "loss"}

type regionalInput struct {
	step  regionalStep
	owner int
	call  int64
	value string
}

type regionalOutput struct {
	err    bool // no answer: the step was taken or not
	status idempotency.Status
	fence  idempotency.Fence
	result string
	ret    int64
}

type regionalState struct {
	result string // stored; empty for none
	owner  int    // who was granted last; 0 for nobody, or one who ended
	live   int64  // the owner's lease has certainly not passed before
	fence  idempotency.Fence
	vague  bool // a loss may have brought an earlier owner back

	gone string // a result that was lost, and may come to light again
}

var regionalModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{regionalState{}} },
	Step: func(state, in, out any) (next []any) {
		for _, s := range state.(regionalState).step(in.(regionalInput), out.(regionalOutput)) {
			next = append(next, s)
		}
		return next
	},
	DescribeOperation: func(in, out any) string {
		i, o := in.(regionalInput), out.(regionalOutput)
		if o.err {
			return fmt.Sprintf("%s by %d at %v -> no answer", regionalStepNames[i.step], i.owner, time.Duration(i.call))
		}
		return fmt.Sprintf("%s by %d at %v -> %v %q %v by %v", regionalStepNames[i.step], i.owner, time.Duration(i.call), o.status, o.result, o.fence, time.Duration(o.ret))
	},
}).ToModel()

// step returns the states that may follow.
func (s regionalState) step(in regionalInput, out regionalOutput) []regionalState {
	switch in.step {
	case regionalLoss:
		return []regionalState{s, {fence: s.fence, vague: true, gone: cmp.Or(s.result, s.gone)}}
	case regionalBegin:
		return s.begin(in, out)
	case regionalComplete:
		return s.complete(in, out)
	case regionalRenew:
		return s.renew(in, out)
	}
	ended := s
	if s.owner == in.owner {
		ended.owner, ended.live = 0, 0
	}
	if !out.err && out.status == idempotency.StatusGranted {
		return []regionalState{ended}
	}
	return []regionalState{s, ended} // one Region may have taken it
}

func (s regionalState) begin(in regionalInput, out regionalOutput) []regionalState {
	granted := s
	granted.vague = false
	granted.owner, granted.live = in.owner, in.call+int64(regionalLease)-int64(time.Millisecond)
	free := s.result == "" && (s.owner == 0 || s.owner == in.owner || out.err || out.ret >= s.live)
	switch {
	case out.err && free:
		return []regionalState{s, granted}
	case out.err:
		return []regionalState{s}
	case out.status == idempotency.StatusDone:
		return s.found(out.result)
	case out.status != idempotency.StatusGranted:
		return []regionalState{s}
	}
	granted.fence = out.fence
	return keepIf(free && out.fence.Compare(s.fence) > 0, granted)
}

// found says that result is stored.
func (s regionalState) found(result string) []regionalState {
	if s.result == "" && s.gone == result {
		s.result, s.gone, s.owner, s.live = result, "", 0, 0
	}
	return keepIf(s.result == result, s)
}

func keepIf(ok bool, s regionalState) []regionalState {
	if !ok {
		return nil
	}
	return []regionalState{s}
}

func (s regionalState) complete(in regionalInput, out regionalOutput) []regionalState {
	done := s
	done.result, done.owner, done.live = in.value, 0, 0
	switch {
	case out.unsure() && s.result == "": // it may come to light, even beside a later attempt, which it then fences off
		return []regionalState{s, done}
	case out.unsure():
		return []regionalState{s}
	case out.status == idempotency.StatusDone:
		return s.found(out.result)
	}
	return keepIf(s.result == "" && (s.owner == in.owner || s.owner == 0) || s.result == in.value, done)
}

// unsure reports whether the caller of Complete knows nothing of its result: one Region may have taken it.
func (o regionalOutput) unsure() bool { return o.err || o.status == idempotency.StatusFenced }

func (s regionalState) renew(in regionalInput, out regionalOutput) []regionalState {
	if out.err || out.status != idempotency.StatusGranted {
		return []regionalState{s}
	}
	mine := s.result == "" && (s.owner == in.owner || s.vague)
	s.owner, s.live, s.vague = in.owner, in.call+int64(regionalLease)-int64(time.Millisecond), false
	return keepIf(mine, s)
}

const (
	regionalLease   = time.Second
	regionalKeys    = 6
	regionalClients = 4
	regionalSteps   = 20
	regionalLag     = 400 * time.Millisecond
)

// A regionalWorld is two Regions whose Redis loses its last writes at a fail-over, and two processes.
type regionalWorld struct {
	t          *testing.T
	rng        *rand.Rand
	base       time.Time
	east, west *redistest.Server
	processes  []*idempotency.Regional

	mu      sync.Mutex // guards the following
	writer  string
	seq     int64
	owners  int
	history [regionalKeys][]porcupine.Operation
	counts  map[string]int
}

func newRegionalWorld(t *testing.T, w *drtest.World, seed uint64) *regionalWorld {
	rw := &regionalWorld{t: t, rng: rand.New(rand.NewPCG(seed, 35)), base: time.Now(), writer: "us-east-1", counts: map[string]int{}}
	rw.east, rw.west = redistest.Start(w.Region("us-east-1")), redistest.Start(w.Region("us-west-2"))
	app := w.Region("app")
	route := func() ([]string, string) {
		rw.mu.Lock()
		defer rw.mu.Unlock()
		return []string{"us-east-1", "us-west-2"}, rw.writer
	}
	for range 2 {
		stores := map[string]idempotency.Store{}
		for name, server := range map[string]*redistest.Server{"us-east-1": rw.east, "us-west-2": rw.west} {
			server.Standby(regionalLag)
			options := server.Options(app)
			options.ContextTimeoutEnabled = true
			client := redis.NewClient(options)
			t.Cleanup(func() { client.Close() })
			stores[name] = newStore(t, client, redisstore.Config{})
		}
		r, err := idempotency.NewRegional(route, stores, idempotency.RegionalConfig{})
		if err != nil {
			t.Fatal(err)
		}
		rw.processes = append(rw.processes, r)
	}
	return rw
}

func (rw *regionalWorld) now() int64 { return int64(time.Since(rw.base)) }

// tick orders calls and answers.
func (rw *regionalWorld) tick() int64 {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.seq++
	return rw.seq
}

// record takes a step and writes down what was seen of it. What was not answered may still happen, at any time.
func (rw *regionalWorld) record(key, client int, in regionalInput, do func() (idempotency.Answer, error)) (regionalOutput, bool) {
	in.call = rw.now()
	called := rw.tick()
	a, err := do()
	out := regionalOutput{err: err != nil, status: a.Status, fence: a.Record.Fence, result: string(a.Record.Result), ret: rw.now()}
	returned := rw.tick()
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.counts[regionalStepNames[in.step]+" "+a.Status.String()]++
	if err != nil || in.step == regionalComplete && out.unsure() {
		returned = 1 << 40
	}
	rw.history[key] = append(rw.history[key], porcupine.Operation{ClientId: client, Input: in, Call: called, Output: out, Return: returned})
	return out, err == nil
}

// lost notes that acknowledged writes may be gone from both Regions.
func (rw *regionalWorld) lost() {
	for key := range regionalKeys {
		rw.record(key, regionalClients, regionalInput{step: regionalLoss}, func() (idempotency.Answer, error) { return idempotency.Answer{}, nil })
	}
}

func (rw *regionalWorld) client(ctx context.Context, n int, rng *rand.Rand) {
	for range regionalSteps {
		key := rng.IntN(regionalKeys)
		rw.attempt(ctx, key, n, rw.processes[rng.IntN(len(rw.processes))], rng)
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
	}
}

// attempt claims a key and, if it may, ends the claim in one of the ways there are, or not at all.
func (rw *regionalWorld) attempt(ctx context.Context, key, client int, r *idempotency.Regional, rng *rand.Rand) {
	rw.mu.Lock()
	rw.owners++
	owner := rw.owners
	rw.mu.Unlock()
	step := func(do func(context.Context) (idempotency.Answer, error)) func() (idempotency.Answer, error) {
		return func() (idempotency.Answer, error) {
			ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			return do(ctx)
		}
	}
	c := idempotency.Claim{
		Key: idempotency.Key{ID: fmt.Sprint("key ", key)}, Owner: idempotency.Owner{byte(owner), byte(owner >> 8), 1},
		Lease: regionalLease, Retention: time.Hour, TakeAbandoned: true, TakeHeld: true,
	}
	begun, answered := rw.record(key, client, regionalInput{step: regionalBegin, owner: owner}, step(func(ctx context.Context) (idempotency.Answer, error) { return r.Begin(ctx, c) }))
	if !answered || begun.status != idempotency.StatusGranted {
		return
	}
	h := idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: begun.fence}
	for range rng.IntN(3) {
		time.Sleep(time.Duration(rng.IntN(700)) * time.Millisecond)
		rw.record(key, client, regionalInput{step: regionalRenew, owner: owner}, step(func(ctx context.Context) (idempotency.Answer, error) {
			s, err := r.Renew(ctx, idempotency.Renewal{Holder: h, Lease: regionalLease, Retention: time.Hour})
			return idempotency.Answer{Status: s}, err
		}))
	}
	time.Sleep(time.Duration(rng.IntN(900)) * time.Millisecond)
	switch rng.IntN(8) {
	case 0: // died
	case 1, 2, 3, 4:
		rw.record(key, client, regionalInput{step: regionalRelease, owner: owner}, step(func(ctx context.Context) (idempotency.Answer, error) {
			s, err := r.Release(ctx, idempotency.Release{Holder: h, Hold: rng.IntN(2) == 0, Retention: time.Hour})
			return idempotency.Answer{Status: s}, err
		}))
	default:
		value := fmt.Sprint("result of ", owner)
		rw.record(key, client, regionalInput{step: regionalComplete, owner: owner, value: value}, step(func(ctx context.Context) (idempotency.Answer, error) {
			return r.Complete(ctx, idempotency.Completion{Holder: h, Result: []byte(value), Retention: time.Hour})
		}))
	}
}

// probe asks for every key once more, so that what is lost shows.
func (rw *regionalWorld) probe() {
	for key := range regionalKeys {
		rw.attempt(rw.t.Context(), key, 0, rw.processes[key%2], rw.rng)
	}
}

// warmUp connects and loads the scripts, which may take longer than a copy is waited for.
func (rw *regionalWorld) warmUp() {
	for n, r := range rw.processes {
		c := idempotency.Claim{Key: idempotency.Key{ID: fmt.Sprint("warm up ", n)}, Owner: idempotency.Owner{1}, Lease: regionalLease, Retention: time.Hour}
		_, _ = r.Begin(rw.t.Context(), c)
	}
	rw.resync()
}

// failOver makes a Region's Redis lose the writes of its last lag. Those that the other Region has missed, as a process has
// said, are then gone.
func (rw *regionalWorld) failOver(s *redistest.Server) {
	unprotected := slices.ContainsFunc(rw.processes, func(r *idempotency.Regional) bool { return !r.UnprotectedSince().IsZero() })
	n := len(s.FailOver())
	if unprotected {
		rw.lost()
	}
	s.Standby(regionalLag)
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.counts["writes lost"] += n
	if unprotected {
		rw.counts["losses while unprotected"]++
	} else {
		rw.counts["losses while protected"]++
	}
}

func (rw *regionalWorld) switchTo(writer string) {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.writer = writer
}

// resync copies until all is whole, and fails the test if that does not come.
func (rw *regionalWorld) resync() {
	for range 50 {
		err := error(nil)
		for _, r := range rw.processes {
			ctx, cancel := context.WithTimeout(rw.t.Context(), 20*time.Second)
			err = r.Resync(ctx)
			cancel()
			if err != nil || !r.UnprotectedSince().IsZero() {
				err = fmt.Errorf("resync: %v, unprotected since %v", err, r.UnprotectedSince())
				break
			}
		}
		if err == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	rw.t.Error("the Regions are never whole again")
}

// pause sleeps somewhere in the run.
func (rw *regionalWorld) pause() {
	time.Sleep(500*time.Millisecond + time.Duration(rw.rng.IntN(1500))*time.Millisecond)
}

// What is lost, and when. A scenario says lost() where the promise allows it, and nowhere else.
var regionalScenarios = map[string]func(*regionalWorld){
	"the writer's Region loses writes": func(rw *regionalWorld) {
		for range 3 {
			rw.pause()
			rw.failOver(rw.east)
		}
	},
	"the replica's Region loses writes": func(rw *regionalWorld) {
		for range 3 {
			rw.pause()
			rw.failOver(rw.west)
		}
	},
	"both lose writes": func(rw *regionalWorld) {
		for range 2 {
			rw.pause()
			rw.failOver(rw.east)
			rw.failOver(rw.west)
			rw.lost()
		}
	},
	"the writer changes": func(rw *regionalWorld) {
		for i := range 4 {
			rw.pause()
			rw.switchTo([]string{"us-west-2", "us-east-1"}[i%2])
		}
	},
	"the writer changes because its Region lost writes": func(rw *regionalWorld) {
		rw.pause()
		rw.failOver(rw.east)
		rw.switchTo("us-west-2")
		rw.pause()
		rw.failOver(rw.east)
	},
	"the replica is out, is resynced and takes over": func(rw *regionalWorld) {
		rw.pause()
		resume := rw.west.Pause()
		rw.pause()
		rw.pause()
		resume()
		rw.resync()
		rw.east.Pause() // for good
		rw.switchTo("us-west-2")
	},
	"the replica loses writes during a resync": func(rw *regionalWorld) {
		rw.pause()
		resume := rw.west.Pause()
		rw.pause()
		rw.pause()
		resume()
		var wg sync.WaitGroup
		wg.Go(rw.resync)
		time.Sleep(time.Duration(rw.rng.IntN(300)) * time.Millisecond)
		rw.failOver(rw.west)
		wg.Wait()
	},
	"the writer's Region loses writes that the replica missed": func(rw *regionalWorld) {
		rw.pause()
		resume := rw.west.Pause()
		rw.pause()
		rw.pause()
		rw.failOver(rw.east)
		rw.lost()
		resume()
		rw.resync()
	},
	"the writer's Region loses writes during a resync": func(rw *regionalWorld) {
		rw.pause()
		resume := rw.west.Pause()
		rw.pause()
		rw.pause()
		resume()
		var wg sync.WaitGroup
		wg.Go(rw.resync)
		time.Sleep(time.Duration(rw.rng.IntN(300)) * time.Millisecond)
		rw.failOver(rw.east)
		rw.lost() // what is not copied yet
		wg.Wait()
	},
}

// Two Redis Regions lose acknowledged writes, each alone, both, during a resync and around a change of the writer.
func TestRegionalHistories(t *testing.T) {
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	for name, scenario := range regionalScenarios {
		t.Run(name, func(t *testing.T) {
			counts := map[string]int{}
			for seed := range seeds {
				drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
					rw := newRegionalWorld(t, w, seed)
					rw.warmUp()
					var wg sync.WaitGroup
					wg.Go(func() { scenario(rw) })
					for n := range regionalClients {
						wg.Go(func() { rw.client(t.Context(), n, rand.New(rand.NewPCG(seed, uint64(n)))) })
					}
					wg.Wait()
					rw.probe()
					rw.verify(seed)
					for what, n := range rw.counts {
						counts[what] += n
					}
				})
				if t.Failed() {
					return
				}
			}
			t.Log(counts)
		})
	}
}

func (rw *regionalWorld) verify(seed uint64) {
	for key, history := range rw.history {
		if porcupine.CheckOperations(regionalModel, history) {
			continue
		}
		rw.t.Errorf("seed %d: the history of key %d does not fit the promise:", seed, key)
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for _, op := range history {
			rw.t.Logf("%d..%d client %d: %s", op.Call, op.Return, op.ClientId, regionalModel.DescribeOperation(op.Input, op.Output))
		}
	}
}
