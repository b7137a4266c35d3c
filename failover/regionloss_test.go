package failover_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/check"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/failover"
)

const (
	lostRegion     = "us-east-1"
	otherRegion    = "us-west-2"
	witnessRegion  = "us-east-2"
	promotionTakes = 10 * time.Second
)

// A shop takes orders in two Regions. Two instances in each and a witness obey one decision, kept in the witness's Region.
type shop struct {
	w      *drtest.World
	dir    string // for state files
	stores map[string]*drtest.Store

	operator atomic.Pointer[failover.Controller] // of an instance in the other Region
	moves    sync.Map                            // finished transitions by ID
}

func openShop(t *testing.T, w *drtest.World) *shop {
	w.RTT(drtest.AWSRTT())
	primary := w.Region(lostRegion).Store("orders")
	s := &shop{w: w, dir: t.TempDir(), stores: map[string]*drtest.Store{
		lostRegion:  primary,
		otherRegion: w.Region(otherRegion).Store("orders-dr", drtest.ReplicaOf(primary, drtest.Lag(200*time.Millisecond))),
	}}
	w.Region(witnessRegion).Serve("decision", coordinatorServer{failover.NewMemoryCoordinator(lostRegion, otherRegion)})
	for _, region := range []string{lostRegion, otherRegion} {
		for i := range 2 {
			s.start(w.Region(region), fmt.Sprintf("%s-%d", region, i))
		}
	}
	s.start(w.Region(witnessRegion), "witness")
	return s
}

// start runs an instance: a controller, a client over both stores, and in a serving Region its HTTP server. It dies with its Region and
// starts again with what its state file says.
func (s *shop) start(r *drtest.Region, name string) {
	var live atomic.Pointer[instance]
	r.Serve(name, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if i := live.Load(); i != nil {
			i.order(rw, req)
			return
		}
		http.Error(rw, "starting", http.StatusServiceUnavailable)
	}))
	s.w.Follow(r.Name()+"/"+name, func() (uint64, time.Time) {
		if i := live.Load(); i != nil {
			return i.ctl.Epoch()
		}
		return 0, time.Time{}
	})
	r.Go(name, func(ctx context.Context) error {
		i, err := s.boot(r, name)
		if err != nil {
			return err
		}
		live.Store(i)
		defer live.Store(nil)
		if r.Name() == otherRegion {
			s.operator.Store(i.ctl)
		}
		return i.ctl.Run(ctx)
	})
}

// An instance is one life of a process.
type instance struct {
	s      *shop
	region string
	ctl    *failover.Controller
	orders *failover.Client[*drtest.StoreClient]
}

func (s *shop) boot(r *drtest.Region, name string) (*instance, error) {
	i := &instance{s: s, region: r.Name()}
	cfg := failover.ControllerConfig{
		Regions: []failover.Region{lostRegion, otherRegion}, Witnesses: []failover.Region{witnessRegion},
		Self: r.Name(), Instance: name, Automatic: true, StateFile: filepath.Join(s.dir, name),
		Coordinator: &remoteCoordinator{r.HTTPClient()}, OnDecision: i.decided,
		FenceOld: func(ctx context.Context, t failover.Transition) error { return s.fence(ctx, r, t) }, Promote: s.promote,
	}
	if r.Name() == witnessRegion {
		cfg.Role = failover.RoleWitness
	}
	var err error
	if i.ctl, err = failover.NewController(cfg); err != nil {
		return nil, err
	}
	var members []failover.Member[*drtest.StoreClient]
	for _, region := range cfg.Regions {
		members = append(members, failover.Member[*drtest.StoreClient]{
			Region: region, Client: s.stores[region].Client(r), Probe: probe,
			Lag: func(ctx context.Context, c *drtest.StoreClient) (failover.LagSample, error) {
				return i.lag(ctx, c, region)
			},
		})
	}
	i.orders, err = failover.New(i.ctl, members, failover.ClientConfig{Name: "orders", Classify: classify})
	return i, err
}

func probe(ctx context.Context, c *drtest.StoreClient) error {
	_, _, err := c.Get(ctx, "heartbeat")
	return err
}

// lag writes the heartbeat at home while this instance may write, and on while a move waits for what was written last. Elsewhere it reads it.
func (i *instance) lag(ctx context.Context, c *drtest.StoreClient, region string) (failover.LagSample, error) {
	now := time.Now()
	d := i.ctl.Decision()
	epoch, _ := i.ctl.Epoch()
	if i.region == region && (epoch != 0 || d.Phase == failover.PhaseFenced && d.Transition.From == region) {
		err := c.Put(ctx, "heartbeat", strconv.FormatInt(now.UnixNano(), 10), 0)
		return failover.LagSample{ReplicatedThrough: now, MeasuredAt: now}, err
	}
	text, _, err := c.Get(ctx, "heartbeat")
	if err != nil {
		return failover.LagSample{}, err
	}
	nanos, err := strconv.ParseInt(text, 10, 64)
	return failover.LagSample{ReplicatedThrough: time.Unix(0, nanos), MeasuredAt: now}, err
}

func classify(err error) failover.Class {
	if errors.Is(err, drtest.ErrFenced) || errors.Is(err, drtest.ErrReadOnly) {
		return failover.ClassRejected
	}
	return failover.Classify(err)
}

// order stores an order at the epoch of the write.
func (i *instance) order(rw http.ResponseWriter, req *http.Request) {
	key := strings.TrimPrefix(req.URL.Path, "/orders/")
	err := i.orders.Write(req.Context(), func(ctx context.Context, store *drtest.StoreClient, f failover.Fence) error {
		return store.Put(ctx, key, "order", f.Epoch)
	})
	switch {
	case err == nil:
		i.s.w.Applied("order", key)
	case errors.Is(err, failover.ErrFenced):
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	}
}

// decided marks what the fleet does on the World's timeline, as one instance of the other Region sees it.
func (i *instance) decided(d failover.Decision) {
	if i.region != otherRegion || i.ctl != i.s.operator.Load() {
		return
	}
	switch {
	case d.Last != nil && d.Phase == failover.PhaseSteady:
		if _, known := i.s.moves.LoadOrStore(d.Last.ID, *d.Last); !known && !d.Last.Planned {
			i.s.w.Mark(history.MarkSwitched, "fleet", "to "+d.Writer)
		}
	case d.Health[lostRegion] == failover.HealthUnhealthy && d.Phase == failover.PhaseSteady && d.Writer == lostRegion:
		i.s.w.Mark(history.MarkDetected, "fleet", lostRegion+" is unhealthy")
	case d.Phase == failover.PhaseFenced && !d.Transition.Planned:
		i.s.w.Mark(history.MarkDecided, "fleet", d.Transition.Reason)
	}
}

// fence teaches the old store the new epoch, over the network.
func (s *shop) fence(ctx context.Context, from *drtest.Region, t failover.Transition) error {
	db := sql.OpenDB(s.stores[t.From].Connector(from))
	defer db.Close()
	_, err := db.ExecContext(ctx, "FENCE ?", int64(t.Epoch+1))
	return err
}

// promote makes the target's store the primary. A planned move turns the old one into its copy.
func (s *shop) promote(ctx context.Context, t failover.Transition) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(promotionTakes):
	}
	to := s.stores[t.To]
	if to.Epoch() < t.Epoch+2 { // else an earlier run got so far
		if err := to.Promote(t.Epoch + 2); err != nil {
			return err
		}
	}
	if !t.Planned {
		return nil
	}
	_, err := s.stores[t.From].Rejoin(to)
	return err
}

// operate is a person: once the lost Region is healthy again its store is rebuilt, and the writer moved back.
func (s *shop) operate(ctx context.Context) error {
	home := func(d failover.Decision) bool {
		return d.Writer == otherRegion && d.Phase == failover.PhaseSteady && d.Health[lostRegion] == failover.HealthHealthy
	}
	for !func() bool { ctl := s.operator.Load(); return ctl != nil && home(ctl.Decision()) }() {
		if pause(ctx, time.Second) != nil {
			return nil
		}
	}
	lost, err := s.stores[lostRegion].Rejoin(s.stores[otherRegion])
	if err != nil {
		return err
	}
	s.w.Mark("rebuilt", "operator", fmt.Sprintf("%s, without %d keys that had not been copied", lostRegion, len(lost)))
	for {
		if pause(ctx, 10*time.Second) != nil {
			return nil
		}
		_, err := s.operator.Load().Failover(ctx, lostRegion, failover.Request{Reason: "back home", By: "ann", Second: "bob", Planned: true})
		if !errors.Is(err, failover.ErrRefused) {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// orders is the load: clients that prefer the instance which took the last order and else try all.
func (s *shop) orders(n int, rate drtest.Rate, edges drtest.Edges) drtest.Load {
	users := s.w.Region("users")
	hosts := []string{lostRegion + "-0", lostRegion + "-1", otherRegion + "-0", otherRegion + "-1"}
	buyers := make([]atomic.Int64, n)
	clients := make([]*http.Client, n)
	for i := range clients {
		clients[i] = users.HTTPClient()
		clients[i].Timeout = time.Second
	}
	return drtest.Load{
		Name: "orders", Clients: n, Rate: rate, Timeout: 5 * time.Second, Edges: edges,
		Do: func(ctx context.Context, op *drtest.Op) error {
			op.As("POST /orders")
			first, errs := int(buyers[op.Client()].Load()), []error(nil)
			for i := range hosts {
				at := (first + i) % len(hosts)
				err := place(ctx, clients[op.Client()], hosts[at], op.Key())
				if err == nil {
					buyers[op.Client()].Store(int64(at))
					op.Acked(op.Key())
					return nil
				}
				if errs = append(errs, err); !errors.Is(err, errNotTheWriter) {
					break // it may have happened: an order is not sent twice
				}
			}
			buyers[op.Client()].Add(1)
			return errors.Join(errs...)
		},
	}
}

var errNotTheWriter = errors.New("not the writer")

func place(ctx context.Context, client *http.Client, host, key string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/orders/"+key, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusServiceUnavailable:
		return errNotTheWriter
	}
	return errors.New(res.Status)
}

var loseRegion = drtest.Timeline("lose us-east-1", drtest.At(5*time.Minute, fault.RegionDown(lostRegion, fault.ModeBlackhole)).For(time.Hour))

// dense sends all orders around faults.
var dense = drtest.Edges{Before: 10 * time.Second, After: 3 * time.Minute, Thin: 50}

// TestRegionLoss is an hour without the writer's Region: the group moves the writer, and the Region that comes back writes nothing.
func TestRegionLoss(t *testing.T) {
	var s *shop
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		s = openShop(t, w)
		w.Load(s.orders(10, drtest.Poisson(1), dense))
		w.Play(loseRegion)
		w.Check(
			check.RTO(100*time.Second).For("POST /orders").Floor(
				check.Setting{Name: "three probes", Took: 10 * time.Second},
				check.Setting{Name: "last lease, MaxFlight, clocks' rates; FenceOld of a Region that does not answer", Took: 30 * time.Second},
				check.Setting{Name: "promotion", Took: promotionTakes}),
			check.RPO(time.Second), check.LostWrites(20), check.AppliedOnce("order"), check.SingleWriter(),
			check.Availability(0.97).For("POST /orders"), check.Amplification(4))
	})
	if automatic, planned := s.moved(t); automatic != 1 || planned != 0 {
		t.Errorf("%d automatic moves to %s and %d planned ones home, want one and none", automatic, otherRegion, planned)
	}
}

// TestRegionCutOff leaves the Region alive but alone: its instances must stop by themselves before the others write, and follow once they hear.
func TestRegionCutOff(t *testing.T) {
	var s *shop
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages}, func(t *testing.T, w *drtest.World) {
		s = openShop(t, w)
		w.Load(s.orders(10, drtest.Poisson(1), dense))
		w.Play(drtest.Timeline("cut us-east-1 off", drtest.At(5*time.Minute, fault.Partition(lostRegion, fault.Others)).For(10*time.Minute)))
		w.Check(check.RTO(100*time.Second).For("POST /orders"), check.RPO(time.Second), check.AppliedOnce("order"), check.SingleWriter())
	})
	if automatic, planned := s.moved(t); automatic != 1 || planned != 0 {
		t.Errorf("%d automatic moves to %s and %d planned ones home, want one and none", automatic, otherRegion, planned)
	}
}

// TestRegionLossAndBack goes on: the Region is rebuilt and a person moves the writer home, for which nothing is lost and nobody writes in two.
func TestRegionLossAndBack(t *testing.T) {
	var s *shop
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Settle: 15 * time.Minute}, func(t *testing.T, w *drtest.World) {
		s = openShop(t, w)
		w.Region(otherRegion).Go("operator", s.operate)
		w.Load(s.orders(10, drtest.Poisson(1), dense))
		w.Play(loseRegion)
		w.Check(check.RPO(time.Second), check.LostWrites(20), check.AppliedOnce("order"), check.SingleWriter(), check.Availability(0.96).For("POST /orders"))
	})
	if automatic, planned := s.moved(t); automatic != 1 || planned != 1 {
		t.Errorf("%d automatic moves to %s and %d planned ones home, want one of each", automatic, otherRegion, planned)
	}
}

// moved counts the finished moves: those of the group away, and those home that lost nothing.
func (s *shop) moved(t *testing.T) (automatic, planned int) {
	s.moves.Range(func(_, value any) bool {
		tr := value.(failover.Transition)
		t.Logf("%s → %s, planned %t: exposure %v, %v", tr.From, tr.To, tr.Planned, tr.Exposure.Bound, tr.Took)
		switch {
		case tr.Auto && tr.To == otherRegion:
			automatic++
		case tr.Planned && tr.To == lostRegion && tr.Exposure.Bound == 0:
			planned++
		}
		return true
	})
	return automatic, planned
}

// coordinatorServer is a coordinator behind HTTP, with which instances of all Regions talk over the World's network.
type coordinatorServer struct{ coord failover.Coordinator }

// A coordinatorCall is a request or an answer.
type coordinatorCall struct {
	Sequence uint64
	Record   failover.Record
	Vote     failover.Vote
	Votes    []failover.Vote
}

func (s coordinatorServer) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	var call coordinatorCall
	err := json.NewDecoder(req.Body).Decode(&call)
	if err == nil {
		switch req.URL.Path {
		case "/load":
			call.Record, err = s.coord.Load(req.Context())
		case "/swap":
			err = s.coord.CompareAndSwap(req.Context(), call.Sequence, call.Record)
		case "/vote":
			err = s.coord.Vote(req.Context(), call.Vote)
		case "/votes":
			call.Votes, err = s.coord.Votes(req.Context())
		}
	}
	switch {
	case errors.Is(err, failover.ErrNoRecord):
		rw.WriteHeader(http.StatusNotFound)
	case errors.Is(err, failover.ErrConflict):
		rw.WriteHeader(http.StatusConflict)
	case err != nil:
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	default:
		_ = json.NewEncoder(rw).Encode(call)
	}
}

// remoteCoordinator is the client of a coordinatorServer.
type remoteCoordinator struct{ client *http.Client }

func (c *remoteCoordinator) call(ctx context.Context, path string, call coordinatorCall) (coordinatorCall, error) {
	body, err := json.Marshal(call)
	if err != nil {
		return call, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://decision"+path, bytes.NewReader(body))
	if err != nil {
		return call, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return call, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusNotFound:
		return call, failover.ErrNoRecord
	case http.StatusConflict:
		return call, failover.ErrConflict
	case http.StatusOK:
		return call, json.NewDecoder(res.Body).Decode(&call)
	}
	return call, errors.New(res.Status)
}

func (c *remoteCoordinator) Load(ctx context.Context) (failover.Record, error) {
	answer, err := c.call(ctx, "/load", coordinatorCall{})
	return answer.Record, err
}

func (c *remoteCoordinator) CompareAndSwap(ctx context.Context, sequence uint64, next failover.Record) error {
	_, err := c.call(ctx, "/swap", coordinatorCall{Sequence: sequence, Record: next})
	return err
}

func (c *remoteCoordinator) Vote(ctx context.Context, v failover.Vote) error {
	_, err := c.call(ctx, "/vote", coordinatorCall{Vote: v})
	return err
}

func (c *remoteCoordinator) Votes(ctx context.Context) ([]failover.Vote, error) {
	answer, err := c.call(ctx, "/votes", coordinatorCall{})
	return answer.Votes, err
}

func (c *remoteCoordinator) Info() failover.CoordinatorInfo {
	return failover.CoordinatorInfo{Name: "in " + witnessRegion, Linearizable: true, Survives: []failover.Region{lostRegion, otherRegion}}
}
