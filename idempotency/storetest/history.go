package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-go/holdfast/idempotency"
)

const (
	historyKeys    = 3
	historyClients = 4
	historySteps   = 12
)

// A recorder drives one key and writes down what it saw. Every third step is sent twice, as a client
// library does that has lost a reply; the first answer is then unknown and only the second is checked.
type recorder struct {
	k   *kit
	id  string
	seq *atomic.Int64 // orders calls and returns

	mu      sync.Mutex // guards the following
	history []porcupine.Operation
	owners  int
}

func (r *recorder) newOwner() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owners++
	return r.owners
}

// record does a step and notes it.
func (r *recorder) record(client int, in modelInput, do func() (modelOutput, error)) modelOutput {
	in.call = r.k.clock.atLeast()
	called := r.seq.Add(1)
	out, err := do()
	returned := r.seq.Add(1)
	if err != nil {
		r.k.Errorf("step %d: %v", in.step, err)
		return out
	}
	out.ret = r.k.clock.atMost()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Call: called, Output: out, Return: returned})
	return out
}

// client makes random attempts on the key until its steps are used up.
func (r *recorder) client(n int, rng *rand.Rand, steps int) {
	for steps > 0 {
		fingerprint := 0
		if rng.IntN(12) == 0 {
			fingerprint = 1
		}
		c := r.claim(r.newOwner(), fingerprint, rng)
		out := r.begin(n, c, rng)
		steps--
		if out.status != idempotency.StatusGranted {
			r.k.pause(rng)
			continue
		}
		steps -= r.attempt(n, c, out.fence, rng)
	}
}

type historyClaim struct {
	idempotency.Claim
	owner, fingerprint int
}

func (r *recorder) claim(owner, fingerprint int, rng *rand.Rand) historyClaim {
	c := newClaim(r.id, short/2)
	if rng.IntN(3) == 0 {
		c.Lease = long
	}
	if fingerprint != 0 {
		c.Key.Fingerprint = idempotency.Sum{}
	}
	if rng.IntN(2) == 0 {
		c = taking(c)
	}
	return historyClaim{c, owner, fingerprint}
}

func (r *recorder) begin(n int, c historyClaim, rng *rand.Rand) modelOutput {
	in := modelInput{step: stepBegin, owner: c.owner, take: c.TakeAbandoned, lease: int64(c.Lease), fingerprint: c.fingerprint}
	do := func() (modelOutput, error) {
		a, err := r.k.Store.Begin(r.k.ctx, c.Claim)
		return modelOutput{
			status: a.Status, attempt: a.Record.Attempt, prior: a.Record.Prior, saved: string(a.Record.Checkpoint),
			result: string(a.Record.Result), fence: a.Record.Fence,
		}, err
	}
	out := r.record(n, in, do)
	if rng.IntN(3) == 0 {
		out = r.record(n, in, do)
	}
	return out
}

// attempt is what an owner does: heartbeats and checkpoints, pauses that may outlast the lease, and an end, or none.
func (r *recorder) attempt(n int, c historyClaim, f idempotency.Fence, rng *rand.Rand) (steps int) {
	h := idempotency.Holder{Key: c.Key, Owner: c.Owner, Fence: f}
	in := modelInput{owner: c.owner, fence: f, fingerprint: c.fingerprint, lease: int64(c.Lease)}
	for range rng.IntN(3) {
		r.k.pause(rng)
		r.renew(n, h, in, rng)
		steps++
	}
	r.k.pause(rng)
	for range 1 + rng.IntN(2) {
		r.end(n, h, in, rng.IntN(5))
		steps++
	}
	return steps
}

func (r *recorder) renew(n int, h idempotency.Holder, in modelInput, rng *rand.Rand) {
	in.step = stepRenew
	var checkpoint []byte
	if rng.IntN(2) == 0 {
		in.value = fmt.Sprint("checkpoint ", rng.IntN(1000))
		checkpoint = []byte(in.value)
	}
	r.record(n, in, func() (modelOutput, error) {
		s, err := r.k.Store.Renew(r.k.ctx, idempotency.Renewal{Holder: h, Lease: time.Duration(in.lease), Retention: kept, Checkpoint: checkpoint})
		return modelOutput{status: s}, err
	})
}

func (r *recorder) end(n int, h idempotency.Holder, in modelInput, how int) {
	switch how {
	case 0: // the owner died
	case 1, 2:
		in.step = stepRelease
		if how == 2 {
			in.step = stepHold
		}
		r.record(n, in, func() (modelOutput, error) {
			s, err := r.k.Store.Release(r.k.ctx, idempotency.Release{Holder: h, Hold: how == 2, Retention: kept})
			return modelOutput{status: s}, err
		})
	default:
		in.step, in.value = stepComplete, fmt.Sprint("result of ", in.owner)
		r.record(n, in, func() (modelOutput, error) {
			a, err := r.k.Store.Complete(r.k.ctx, idempotency.Completion{Holder: h, Result: []byte(in.value), Retention: kept})
			return modelOutput{status: a.Status, result: string(a.Record.Result)}, err
		})
	}
}

// pause lets some leases pass and others not.
func (k *kit) pause(rng *rand.Rand) {
	if rng.IntN(3) == 0 {
		k.Advance(time.Duration(rng.Int64N(int64(short))))
	}
}

func (k *kit) newRecorder(id string) *recorder {
	return &recorder{k: k, id: id, seq: new(atomic.Int64)}
}

// drive lets clients loose on the recorders' keys and waits for them.
func (k *kit) drive(recorders []*recorder, seed uint64) {
	var wg sync.WaitGroup
	for i, r := range recorders {
		for n := range historyClients {
			rng := rand.New(rand.NewPCG(seed, uint64(i*historyClients+n)))
			wg.Go(func() { r.client(n, rng, historySteps) })
		}
	}
	wg.Wait()
}

func (k *kit) verify(recorders []*recorder) {
	k.Helper()
	for _, r := range recorders {
		if !check(r.history) {
			k.Errorf("the history of key %s does not fit the model:", r.id)
			for _, op := range r.history {
				k.Logf("%d..%d client %d: %s", op.Call, op.Return, op.ClientId, model.DescribeOperation(op.Input, op.Output))
			}
		}
	}
}

func (k *kit) histories() {
	var recorders []*recorder
	for i := range historyKeys {
		recorders = append(recorders, k.newRecorder(fmt.Sprint("history ", i)))
	}
	k.drive(recorders, 1)
	k.verify(recorders)
}

// historiesWithLostWrites puts every key back to an earlier state in the middle, as a failover to an
// asynchronous replica does.
func (k *kit) historiesWithLostWrites() {
	if k.replica(); k.Lose == nil {
		k.Skip("the subject cannot lose its contents")
	}
	var recorders []*recorder
	for i := range historyKeys {
		recorders = append(recorders, k.newRecorder(fmt.Sprint("lost ", i)))
	}
	k.drive(recorders, 2)
	saved := map[string]idempotency.Record{}
	for _, r := range recorders {
		r.record(0, modelInput{step: stepSnapshot}, func() (modelOutput, error) {
			saved[r.id] = k.load(r.id)
			return modelOutput{}, nil
		})
	}
	k.drive(recorders, 3)
	k.Lose()
	for _, r := range recorders {
		r.record(0, modelInput{step: stepRestore}, func() (modelOutput, error) { return modelOutput{}, k.restore(r.id, saved[r.id]) })
	}
	k.drive(recorders, 4)
	k.verify(recorders)
}

func (k *kit) restore(id string, r idempotency.Record) error {
	if r.State == idempotency.StateAbsent {
		return nil
	}
	return k.replica().Put(k.ctx, key(id), r)
}

// lostReplies sends every step of a conversation twice and compares the second answers with a conversation
// in which nothing was lost.
func (k *kit) lostReplies() {
	once, twice := k.conversation("once", 1), k.conversation("twice", 2)
	for i := range once {
		if once[i] != twice[i] {
			k.Errorf("step %d: %v when sent once, %v when sent again", i, once[i], twice[i])
		}
	}
}

func (k *kit) conversation(id string, times int) (answers []string) {
	h := idempotency.Holder{Key: key(id)}
	note := func(do func() (idempotency.Answer, error)) {
		var a idempotency.Answer
		for range times {
			var err error
			if a, err = do(); err != nil {
				k.Fatal(err)
			}
		}
		answers = append(answers, fmt.Sprint(a.Status, a.Record.Attempt, a.Record.Prior, string(a.Record.Result), string(a.Record.Checkpoint)))
	}
	begin := func(lease time.Duration) {
		c := taking(newClaim(id, lease))
		note(func() (idempotency.Answer, error) {
			a, err := k.Store.Begin(k.ctx, c)
			h = holder(c, a.Record)
			return a, err
		})
	}
	begin(short)
	note(func() (idempotency.Answer, error) {
		s, err := k.Store.Renew(k.ctx, idempotency.Renewal{Holder: h, Lease: short, Retention: kept, Checkpoint: []byte("c")})
		return idempotency.Answer{Status: s}, err
	})
	k.expire()
	begin(long)
	note(func() (idempotency.Answer, error) {
		s, err := k.Store.Release(k.ctx, idempotency.Release{Holder: h, Hold: true, Retention: kept})
		return idempotency.Answer{Status: s}, err
	})
	begin(long)
	note(func() (idempotency.Answer, error) {
		return k.Store.Complete(k.ctx, idempotency.Completion{Holder: h, Result: []byte("r"), Retention: kept})
	})
	begin(long)
	return answers
}
