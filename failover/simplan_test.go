package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A simPlan is a kind of world. setup changes the instances' configuration before they boot; run is the story.
type simPlan struct {
	name  string
	setup func(*sim)
	run   func(*sim)
}

var simPlans = []simPlan{
	{"the writer's store is lost", nil, (*sim).storeLost},
	{"a Region is lost", nil, (*sim).regionLost},
	{"gray failure", nil, (*sim).gray},
	{"an operator cuts a Region that is partitioned from the coordinator", (*sim).hurried, (*sim).partitionedCut},
	{"the coordinator is lost", func(s *sim) { s.onlyCoord = true }, (*sim).coordinatorLost},
	{"a fault of some instances", nil, (*sim).commonMode},
	{"all Regions are bad", nil, (*sim).allBad},
	{"planned moves", nil, (*sim).planned},
	{"replication lags", nil, (*sim).lagging},
	{"an approval takes half an hour", (*sim).byApproval, (*sim).lateApproval},
	{"the coordinator goes back", func(s *sim) { s.unreliable = true }, (*sim).wentBack},
	{"crashes and restarts", (*sim).withState, (*sim).crashes},
	{"a minority is cut off", nil, (*sim).minority},
	{"failback", (*sim).failingBack, (*sim).failback},
	{"frozen", (*sim).freezing, (*sim).storeLost},
	{"the executor is cut off", func(s *sim) { s.promote = 45 * time.Second }, (*sim).executorLost},
	{"operators", nil, (*sim).operators},
	{"tokens", func(s *sim) { s.token = true }, (*sim).heldTokens},
}

// story runs the plan of s's seed from boot to the last check.
func (s *sim) story() {
	plan := simPlans[int(s.seed)%len(simPlans)]
	s.note("seed %d: %s", s.seed, plan.name)
	if plan.setup != nil {
		plan.setup(s) // of the world
	}
	for i := range 2 {
		s.node(east, fmt.Sprintf("e%d", i))
		s.node(west, fmt.Sprintf("w%d", i))
	}
	s.node(central, "c0")
	if plan.setup != nil {
		plan.setup(s) // of the instances
	}
	if s.token {
		for _, st := range s.stores {
			st.token = true
		}
	}
	s.weather()
	for _, n := range s.nodes {
		n.boot()
	}
	s.sleep(22*time.Second, 30*time.Second)
	plan.run(s)
	s.finish()
}

// weather is how good coordinator and network are in this world.
func (s *sim) weather() {
	if s.chance(0.5) {
		s.coord.loss, s.coord.sneaky = 0.02, 0.02
	}
}

func (s *sim) sleep(low, high time.Duration) { time.Sleep(s.between(low, high)) }

func (s *sim) of(region Region) (nodes []*simNode) {
	for _, n := range s.nodes {
		if n.self == region && n.alive() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// strike breaks region's store, truly.
func (s *sim) strike(region Region, mode access) {
	s.note("the store of %s: %v", region, []string{"heals", "refuses", "hangs", "fails calls"}[mode])
	s.setFault(region, mode != accessOK)
	s.stores[region].set(mode)
	s.mu.Lock()
	primary := s.primary
	s.mu.Unlock()
	if region == primary {
		s.freeze(mode == accessRefused || mode == accessHang)
	}
}

// opens waits until region writes: L1.
func (s *sim) opens(region Region, within time.Duration) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(time.Second) {
		for _, n := range s.of(region) {
			if epoch, _ := n.ctl.Epoch(); epoch != 0 {
				return
			}
		}
	}
	s.fail("L1", "%s does not write within %v", region, within)
}

// settles waits until no move is under way.
func (s *sim) settles(within time.Duration) Record {
	for end := time.Now().Add(within); ; time.Sleep(time.Second) {
		s.coord.mu.Lock()
		rec := s.coord.record
		s.coord.mu.Unlock()
		if rec.Phase == PhaseSteady || time.Now().After(end) {
			return rec
		}
	}
}

func (s *sim) storeLost() {
	mode := accessRefused
	if s.chance(0.5) {
		mode = accessHang
	}
	s.strike(east, mode)
	if s.nodes[0].cfg.Frozen == nil {
		s.opens(west, 150*time.Second)
	} else {
		s.sleep(60*time.Second, 90*time.Second)
	}
	s.sleep(10*time.Second, 40*time.Second)
	if s.chance(0.3) { // the other one too: nothing may move again, whatever happens
		s.strike(east, accessOK)
		s.rebuild()
		s.sleep(200*time.Second, 300*time.Second)
		s.strike(west, mode)
		s.sleep(60*time.Second, 90*time.Second)
		s.strike(west, accessOK)
		return
	}
	s.strike(east, accessOK)
	if s.chance(0.5) {
		s.sleep(100*time.Second, 160*time.Second)
	}
}

func (s *sim) regionLost() {
	for _, n := range s.of(east) {
		n.crash()
	}
	s.strike(east, accessHang)
	s.opens(west, 150*time.Second)
	s.sleep(5*time.Second, 30*time.Second)
}

func (s *sim) gray() {
	s.setFault(east, true)
	s.strike(east, accessGray)
	s.sleep(40*time.Second, 120*time.Second)
	s.strike(east, accessOK)
	s.sleep(20*time.Second, 120*time.Second)
	if s.chance(0.5) { // and once more while it heals
		s.strike(east, accessRefused)
		s.sleep(20*time.Second, 40*time.Second)
		s.strike(east, accessOK)
		s.sleep(32*time.Second, 70*time.Second)
		s.strike(east, accessRefused)
		s.sleep(10*time.Second, 20*time.Second)
	}
}

// hurried: coordinator and network are slow, writes stay in flight for long.
func (s *sim) hurried() {
	s.flight, s.writers = 0.5, 4
	s.promote = 50 * time.Millisecond
	s.coord.slow = 4 * time.Second
}

// afterRenewal waits until an instance of region has just asked for a lease.
func (s *sim) afterRenewal(region Region) {
	s.coord.mu.Lock()
	before := len(s.coord.asked)
	s.coord.mu.Unlock()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s.coord.mu.Lock()
		fresh := slices.ContainsFunc(s.coord.asked[before:], func(v simVote) bool { return v.vote.Region == region && v.vote.Epoch != 0 })
		s.coord.mu.Unlock()
		if fresh {
			return
		}
	}
}

func (s *sim) partitionedCut() {
	s.coord.set(func(c *simCoord) { c.slow = 0 })
	s.afterRenewal(east)
	s.sleep(70*time.Millisecond, 120*time.Millisecond) // the record has been read, the lease is as fresh as it can be
	s.note("%s is cut off from the coordinator", east)
	s.coord.set(func(c *simCoord) { c.cut[east], c.slow = true, 0 })
	s.sleep(0, time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n := s.of(west)[0]
	_, err := n.ctl.Failover(ctx, west, Request{Reason: "drill", By: "ann", Second: "bob"})
	s.note("Failover by %s: %v", n.name, err)
	if err == nil {
		s.opens(west, 90*time.Second)
	}
	s.sleep(10*time.Second, 15*time.Second)
	s.coord.set(func(c *simCoord) { c.cut[east] = false })
}

func (s *sim) coordinatorLost() {
	if s.chance(0.3) {
		s.coord.set(func(c *simCoord) { c.cut[east] = true })
	} else {
		s.coord.set(func(c *simCoord) { c.down = true })
	}
	s.note("the coordinator is gone")
	s.sleep(30*time.Second, 3*time.Minute)
	s.coord.set(func(c *simCoord) { c.down = false; c.cut = map[Region]bool{} })
	s.note("the coordinator is back")
	s.opens(east, 30*time.Second)
}

// commonMode: something breaks in three instances, as a bad deploy does half way.
func (s *sim) commonMode() {
	for _, i := range s.perm(len(s.nodes))[:3] {
		n := s.nodes[i]
		s.note("%s cannot reach any store", n.name)
		n.mu.Lock()
		n.egress = true
		n.mu.Unlock()
	}
	s.sleep(60*time.Second, 100*time.Second)
}

func (s *sim) perm(n int) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Perm(n)
}

func (s *sim) allBad() {
	s.strike(east, accessHang)
	s.strike(west, accessRefused)
	s.sleep(60*time.Second, 90*time.Second)
	_, err := s.of(west)[0].ctl.Failover(context.Background(), west, Request{
		Reason: "try", By: "ann", Second: "bob",
		AcceptLoss: &AcceptLoss{Exposure: UnknownExposure, Reason: "customers wait", By: "ann"},
	})
	s.note("Failover to %s: %v", west, err)
	if rec := s.settles(0); rec.Writer != east {
		s.fail("I11", "all Regions are bad and the writer is %q", rec.Writer)
	}
	s.strike(west, accessOK)
	s.strike(east, accessOK)
	s.sleep(20*time.Second, 60*time.Second)
}

func (s *sim) planned() {
	n := s.of(east)[0]
	if s.chance(0.25) {
		s.setLag(5 * time.Minute) // it can never arrive in time: the move goes back
	}
	if s.chance(0.8) {
		s.mu.Lock()
		s.promote = 30 * time.Second
		s.mu.Unlock()
	}
	second := []string{"", "bob"}[s.pick(2)]
	var accepted *AcceptLoss
	if s.chance(0.3) {
		accepted = &AcceptLoss{Exposure: s.between(0, 6*time.Minute), Reason: "it is copied later", By: "ann"}
	}
	tr, err := n.ctl.Failover(context.Background(), west, Request{Reason: "drill", By: "ann", Second: second, Planned: true, AcceptLoss: accepted})
	if err == nil && second == "" {
		_, err = n.ctl.Approve(context.Background(), tr.ID, "bob")
	}
	s.note("planned move: %v", err)
	if err != nil {
		return
	}
	if s.chance(0.7) {
		if s.chance(0.6) {
			s.sleep(145*time.Second, 175*time.Second) // about when it promotes
		} else {
			s.sleep(0, 140*time.Second)
		}
		err := n.ctl.Deny(context.Background(), tr.ID, "bob", "changed my mind")
		s.note("Deny: %v", err)
	}
	rec := s.settles(10 * time.Minute)
	if rec.Phase != PhaseSteady {
		s.fail("L1", "a planned move is still %s after 10 minutes", rec.Phase)
	}
	s.setLag(200 * time.Millisecond)
}

func (s *sim) lagging() {
	s.setLag(s.between(20*time.Second, 5*time.Minute))
	s.sleep(20*time.Second, 150*time.Second) // for it to build up
	s.strike(east, accessHang)
	s.sleep(60*time.Second, 100*time.Second)
	if s.chance(0.5) {
		s.accept(UnknownExposure)
		s.opens(west, 2*time.Minute)
	}
	s.strike(east, accessOK)
}

// accept moves to west whatever is lost.
func (s *sim) accept(loss time.Duration) {
	err := errors.New("not asked")
	for i := 0; i < 5 && err != nil; i++ { // the coordinator may have lost the request
		if rec := s.settles(0); rec.Phase == PhaseAwaitApproval { // the group has asked, but could not accept the loss
			if s.chance(0.5) {
				_, err = s.of(west)[0].ctl.ApproveLoss(context.Background(), rec.Transition.ID, AcceptLoss{Exposure: loss, Reason: "customers wait", By: "ann"})
				s.note("ApproveLoss: %v", err)
				continue
			}
			err := s.of(west)[0].ctl.Deny(context.Background(), rec.Transition.ID, "ann", "asks again, with the loss accepted")
			s.note("Deny: %v", err)
		}
		_, err = s.of(west)[0].ctl.Failover(context.Background(), west, Request{
			Reason: "customers wait", By: "ann", Second: "bob",
			AcceptLoss: &AcceptLoss{Exposure: loss, Reason: "customers wait", By: "ann"},
		})
		s.note("Failover with AcceptLoss: %v", err)
	}
}

func (s *sim) byApproval() {
	for _, n := range s.nodes {
		n.cfg.Automatic = false
	}
}

func (s *sim) lateApproval() {
	for _, n := range s.of(east) {
		n.crash()
	}
	s.strike(east, accessHang)
	var id string
	for end := time.Now().Add(2 * time.Minute); id == "" && time.Now().Before(end); time.Sleep(time.Second) {
		s.coord.mu.Lock()
		if rec := s.coord.record; rec.Phase == PhaseAwaitApproval {
			id = rec.Transition.ID
		}
		s.coord.mu.Unlock()
	}
	if id == "" {
		s.fail("L1", "the group does not ask for approval")
		return
	}
	n := s.of(west)[1]
	if s.chance(0.2) {
		err := n.ctl.Deny(context.Background(), id, "carl", "no")
		s.note("Deny: %v", err)
		s.sleep(10*time.Second, 20*time.Second)
		return
	}
	wait := 30 * time.Minute
	if s.chance(0.2) {
		wait = 61 * time.Minute // expires
	}
	time.Sleep(wait)
	err := errors.New("not asked")
	for i := 0; i < 3 && err != nil && !errors.Is(err, ErrRefused); i++ { // the coordinator may have lost the request
		_, err = n.ctl.Approve(context.Background(), id, "carl")
		s.note("Approve after %v: %v", wait, err)
	}
	if wait < time.Hour {
		if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Guard == GuardReadiness {
			return
		}
		s.opens(west, 2*time.Minute)
	}
}

func (s *sim) wentBack() {
	s.strike(east, accessRefused)
	s.sleep(40*time.Second, 100*time.Second)
	s.coord.mu.Lock()
	all := len(s.coord.history)
	s.coord.mu.Unlock()
	lost, forget := 1+s.pick(1+all/2), s.perm(len(s.nodes))[:s.pick(5)]
	if s.chance(0.5) { // back to the first boot, and one instance alone remembers
		lost = all - 1
		forget = slices.DeleteFunc(s.perm(len(s.nodes)), func(i int) bool { return s.nodes[i].name == "w0" })
	}
	s.coord.rollback(lost)
	for _, i := range forget {
		s.nodes[i].crash() // and knows nothing afterwards
		s.nodes[i].boot()
	}
	s.sleep(10*time.Second, 15*time.Second)
	_, err := s.nodes[1].ctl.Failover(context.Background(), west, Request{Reason: "try", By: "ann"})
	s.note("Failover by %s: %v", s.nodes[1].name, err)
	s.sleep(50*time.Second, 95*time.Second) // enough for a move among those who know nothing
	if s.chance(0.3) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		n := s.of(west)[0]
		_, err := n.ctl.BreakGlass(ctx, n.cfg.Coordinator, Request{Reason: "the coordinator went back", By: "ann", Second: "bob"})
		s.note("BreakGlass by %s: %v", n.name, err)
	}
	s.strike(east, accessOK)
	s.sleep(20*time.Second, 60*time.Second)
}

func (s *sim) withState() {
	for _, n := range s.nodes {
		if s.chance(0.5) && s.dir != "" {
			n.cfg.StateFile = statePath(s.dir, n.name)
		}
	}
}

func (s *sim) crashes() {
	if s.chance(0.6) {
		s.strike(east, accessRefused)
	}
	for range 4 {
		s.sleep(5*time.Second, 25*time.Second)
		n := s.nodes[s.pick(len(s.nodes))]
		n.crash()
		s.sleep(0, 20*time.Second)
		n.boot()
	}
	s.sleep(20*time.Second, 40*time.Second)
	s.strike(east, accessOK)
}

// minority: the stores look bad to some instances that are too few, or sit in one place.
func (s *sim) minority() {
	blind := [][]string{{"w0", "w1"}, {"c0"}, {"w0", "c0"}, {"e0", "w0"}}[s.pick(4)]
	for _, n := range s.nodes {
		if slices.Contains(blind, n.name) {
			n.mu.Lock()
			n.cut[east] = true
			n.mu.Unlock()
			s.note("%s cannot reach the store of %s", n.name, east)
		}
	}
	if s.chance(0.5) {
		s.coord.set(func(c *simCoord) { c.cut[central] = true })
		s.note("%s is cut off from the coordinator", central)
	}
	s.sleep(60*time.Second, 120*time.Second)
}

func (s *sim) failingBack() {
	for _, n := range s.nodes {
		n.cfg.Failback, n.cfg.FailbackAfter = FailbackAfterStable, 30*time.Second
	}
}

func (s *sim) failback() {
	s.strike(east, accessRefused)
	s.opens(west, 150*time.Second)
	s.strike(east, accessOK)
	if s.chance(0.7) {
		s.rebuild()
	}
	s.sleep(200*time.Second, 300*time.Second)
	if s.chance(0.3) {
		s.back()
	}
	if s.chance(0.5) {
		_, err := s.of(east)[0].ctl.Failover(context.Background(), east, Request{Reason: "back home", By: "ann", Second: "bob", Planned: true})
		s.note("planned move home: %v", err)
		s.settles(8 * time.Minute)
	}
}

// back: the new writer is lost too, and a person wants the former one whatever is lost, in half of the cases also as nobody has rebuilt it.
func (s *sim) back() {
	s.strike(west, accessHang)
	s.sleep(60*time.Second, 100*time.Second)
	loss := &AcceptLoss{Exposure: UnknownExposure, Reason: "customers wait", By: "ann", FormerWriter: s.chance(0.5)}
	_, err := s.of(east)[0].ctl.Failover(context.Background(), east, Request{Reason: "customers wait", By: "ann", Second: "bob", AcceptLoss: loss})
	s.note("Failover home, also to a former writer (%t): %v", loss.FormerWriter, err)
	s.settles(3 * time.Minute)
	s.strike(west, accessOK)
}

func (s *sim) freezing() {
	frozen := func(time.Time) (string, bool) { return "a sale", true }
	for _, n := range s.nodes {
		n.cfg.Frozen = frozen
	}
}

// executorLost: the instance that drives the promotion loses the coordinator, or dies, half way.
func (s *sim) executorLost() {
	s.strike(east, accessRefused)
	executor := ""
	for end := time.Now().Add(2 * time.Minute); executor == "" && time.Now().Before(end); time.Sleep(time.Second) {
		s.coord.mu.Lock()
		if rec := s.coord.record; rec.Phase == PhasePromoting {
			executor = rec.Transition.Executor
		}
		s.coord.mu.Unlock()
	}
	s.sleep(0, 20*time.Second)
	for _, n := range s.nodes {
		if n.name != executor {
			continue
		}
		if s.chance(0.5) {
			n.crash()
		} else {
			s.note("%s is cut off from the coordinator", n.name)
			s.coord.set(func(c *simCoord) { c.cutNode[n.name] = true })
		}
	}
	s.opens(west, 3*time.Minute)
}

// operators ask for all sorts of things.
func (s *sim) operators() {
	for range 6 {
		members := append(s.of(east), s.of(west)...)
		n := members[s.pick(len(members))]
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		to := []Region{east, west, "mars", central}[s.pick(4)]
		by := []string{"ann", "bob", ""}[s.pick(3)]
		second := []string{"", "bob", "ann"}[s.pick(3)]
		tr, err := n.ctl.Failover(ctx, to, Request{Reason: "try", By: by, Second: second})
		s.note("%s: Failover(%s) by %q and %q: %v", n.name, to, by, second, err)
		if err == nil && second == "" {
			s.sleep(0, 10*time.Second)
			switch s.pick(3) {
			case 0:
				_, err = n.ctl.Approve(ctx, tr.ID, []string{"ann", "carl"}[s.pick(2)])
			case 1:
				err = n.ctl.Deny(ctx, tr.ID, "carl", "no")
			case 2:
				_, err = n.ctl.Approve(ctx, "another", "carl")
			}
			s.note("then: %v", err)
		}
		if err == nil && second != "" && s.chance(0.5) {
			s.sleep(0, 35*time.Second)
			err = n.ctl.Deny(context.Background(), tr.ID, "carl", "go back")
			s.note("Deny: %v", err)
		}
		cancel()
		s.sleep(0, 20*time.Second)
	}
	s.settles(3 * time.Minute)
}

// heldTokens: the resource checks. The old side may be out of reach, then a person must vouch for it.
func (s *sim) heldTokens() {
	s.mu.Lock()
	s.flight = 0.3
	s.mu.Unlock()
	if s.chance(0.5) { // only callers notice, too few to agree: a person decides
		s.strike(east, accessGray)
		s.accept(UnknownExposure)
	} else {
		s.strike(east, accessHang)
	}
	s.sleep(70*time.Second, 90*time.Second)
	if rec := s.settles(0); rec.Phase == PhaseFenced {
		err := errors.New("not asked")
		for i := 0; i < 5 && err != nil; i++ { // the coordinator may have lost the request
			err = s.of(west)[0].ctl.WaiveFence(context.Background(), rec.Transition.ID, "ann", "the Region has no power")
			s.note("WaiveFence: %v", err)
		}
	}
	s.opens(west, 90*time.Second)
	s.strike(east, accessOK)
	s.sleep(10*time.Second, 20*time.Second)
}

// finish ends all faults and checks that the fleet agrees: L2, then all that only the end can show.
func (s *sim) finish() {
	for _, r := range []Region{east, west} {
		s.stores[r].set(accessOK)
	}
	s.coord.set(func(c *simCoord) {
		c.down, c.slow, c.loss, c.sneaky = false, 0, 0, 0
		c.cut, c.cutNode = map[Region]bool{}, map[string]bool{}
	})
	for _, n := range s.nodes {
		n.mu.Lock()
		n.egress, n.cut = false, map[Region]bool{}
		n.mu.Unlock()
		if !n.alive() {
			n.boot()
		}
	}
	s.agrees()
	close(s.stop)
	for _, n := range s.nodes {
		n.crash()
	}
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkOps()
	s.checkWrites()
}

// agrees: L2, without faults all instances obey the stored decision within two polls.
func (s *sim) agrees() {
	if s.unreliable {
		return
	}
	twoPolls := 2*6*time.Second + 2*time.Second
	for range 4 {
		time.Sleep(twoPolls)
		s.coord.mu.Lock()
		rec, changed := s.coord.record, s.coord.stored[len(s.coord.stored)-1].at
		s.coord.mu.Unlock()
		behind := ""
		for _, n := range s.nodes {
			if d := n.ctl.Decision(); d.Sequence != rec.Sequence || d.Conflict != "" {
				behind = fmt.Sprintf("%s is at %d (%s), the record at %d", n.name, d.Sequence, d.Conflict, rec.Sequence)
			}
		}
		if behind == "" {
			return
		}
		if time.Since(changed) >= twoPolls {
			s.fail("L2", "%s", behind)
			return
		}
	}
}
