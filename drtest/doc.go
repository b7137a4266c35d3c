// Package drtest runs the loss of a Region inside go test: on virtual time, with the real clients of the code
// under test, repeatable from a seed, and with RTO and RPO as assertions.
//
//	func TestRegionLoss(t *testing.T) {
//		drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
//			w.RTT(drtest.AWSRTT())
//			east, west, users := w.Region("us-east-1"), w.Region("us-west-2"), w.Region("users")
//			db := east.Store("orders")
//			dr := west.Store("orders-dr", drtest.ReplicaOf(db, drtest.Lag(200*time.Millisecond)))
//			shop := startShop(w, east, west, db, dr) // real handlers, real failover
//			client := &shopClient{http: users.HTTPClient()}
//
//			w.Load(drtest.Load{Name: "orders", Clients: 100, Rate: drtest.Poisson(10), Do: func(ctx context.Context, op *drtest.Op) error {
//				if err := client.Order(ctx, op.Key()); err != nil {
//					return err
//				}
//				op.Acked(op.Key())
//				return nil
//			}})
//			w.Play(drtest.Timeline("lose us-east-1",
//				drtest.At(5*time.Minute, fault.RegionDown("us-east-1", fault.ModeBlackhole)).For(time.Hour)))
//			w.Check(check.RTO(15*time.Minute), check.RPO(time.Minute), check.AppliedOnce(), check.SingleWriter())
//		})
//	}
//
// An hour of outage takes seconds. When a check fails the report says when the fault came, who noticed, who
// moved what, which phase of the recovery took how long, and what was lost.
//
// # Worlds
//
// [Run] makes a [World] in a testing/synctest bubble. A World has Regions on a simulated network (package
// simnet), and a Region has hosts ([Region.Serve], [Region.Listen]), clients ([Region.HTTPClient],
// [Region.DialContext], [Region.Resolver]), stores that replicate ([Region.Store]) and processes that die and
// start again with it ([Region.Go]). A place where users sit is a Region as well. Availability Zones
// ([Region.Zone]) are Regions within a Region.
//
// A [Scenario] is a timeline of faults (package fault): [Event.For] ends them, [Event.Ramp] lets them grow,
// [Event.Flap] lets them come and go, [When] waits for a condition. It is a value: [Scenario.Go] and its JSON
// say the same.
//
// A [Load] is open-loop traffic: operations start when they are due. What happens is recorded (package
// history), judged (package check) and written down (package report): as text, JSON and one HTML page.
//
// # What counts
//
// Op.Acked says what a caller was promised, [World.Applied] what became real, [World.Follow] who thinks that
// it may write, [World.Gauge] how long a queue is, [World.Mark] when somebody detected, decided and
// switched. Checks compare them with each other and with what the stores hold at the end. A time-out is
// unknown, never failed.
//
// # Searching
//
// [Run] plays the outage you thought of. [Explore] looks for the one you did not: it draws a timeline for each of many
// seeds, from what the World has that can break, and demands the same checks.
//
//	func TestAnyOutage(t *testing.T) {
//		drtest.Explore(t, drtest.ExploreConfig{
//			World: drtest.Config{Fidelity: drtest.FidelityMessages}, Seeds: 100,
//			CoreRegions: []string{"us-west-2", "users"}, Recover: []check.RTOCheck{check.RTO(time.Minute)},
//		}, func(t testing.TB, w *drtest.World) {
//			startShopAndLoad(w)
//			w.Check(check.SingleWriter(), check.AppliedOnce(), check.LostWrites(0))
//		})
//	}
//
// First anything may happen, for ten minutes (the safety phase): nothing that a check forbids may come of it. Then the core
// is healed, what else is broken stays broken, and the service must recover (the liveness phase). A failing timeline is
// shrunk until every event in it is needed, printed as Go and JSON, and kept under testdata/drtest: the next go test
// replays it first. A defect that is planted on purpose (ExploreConfig.Bug) shows that the search can find one.
//
// Calls of a shared object can be checked for linearizability with package linear.
//
// # Real time
//
// [NewReal] makes the same World on the machine's clock, without a test: for a program that runs its Regions on embedded
// parts, and for real servers. Load, Play, Check and Report are the same; Redis and SQS servers of redistest and
// sqstest run there. [World.Inject] breaks something now and returns what mends it, [World.Heal] mends everything,
// [history.History.Since] follows what happens, Report may be asked at any time, and [World.Close] ends it with every
// goroutine. Inject, Heal and Since work in a bubble as well.
//
// [Region.Attach] makes a real TCP server a host of a Region, and [Region.Expose] opens a real address that leads to a
// host, so that programs in other processes meet the faults too (package proxy). Servers must be on the loopback
// interface or in Config.Targets. Package drill plays scenarios there as exercises with a lease, stop conditions and
// evidence.
//
// Real time has no lanes, seeds fix only what is drawn, and there is no watchdog: a World waits as long as its code does.
// A goroutine that Close cannot end is named by its error.
//
// # Fidelity
//
// With [FidelityBytes] HTTP runs over simulated TCP connections with the real client and server of net/http:
// pools, half-open connections, TLS and all. With [FidelityMessages] a request is one message there and one
// back, at a third of the cost, for sweeps over many seeds.
//
// # Determinism
//
// Two levels, always named. L1, here: every source of events (client, fault, process, ticker) has its own lane
// of nanoseconds, no two events of different sources fall into one nanosecond, and so one seed gives one
// order of events: the same [history.History.Hash] with GOMAXPROCS 1 and 2, with -race, and after a
// rebuild. The World asserts this for its own events and counts ties of others; Config.TieFree makes them
// an error. What draws from the global generators of math/rand, or from the order of a map, is outside the
// seed's reach. L2, bit-exact replay including the scheduler, needs GOOS=wasip1 and is planned.
//
// Tie-free time hides races between events of one instant. Search for those with the race detector and with
// other seeds.
//
// # What stops a World
//
// In a bubble time moves only when every goroutine waits for something of the bubble. Three habits break that,
// and a watchdog outside names the line: a mutex held across a sleep or a call, a real socket or file
// descriptor, a channel or context made outside. Requests through [http.DefaultTransport] and its clones are
// refused at once; a real connection of another dialer is found when it stops time, so one that is closed before
// time has to move is not. Use the t and the context that [Run] hands to its function, and no others.
//
// go-redis and SDKs that keep package-level pools of timers survive many Worlds in one process because Run
// empties sync.Pools first; Worlds that use them must not run in parallel.
//
// # SQL
//
// [Store.Connector] gives database/sql a store: sql.OpenDB(store.Connector(region)). It understands
// "PUT ? ?" (key, value), "DELETE ?", "GET ?" (one column, one row or none), "FENCE ?" (refuse if the store
// knows a later epoch than this; in a transaction its commit is bound to the epoch), "RAISE ?" (the transaction's
// commit teaches the store this epoch, and fails if the store knows it or a later one), "HOLD 7 key value" (FENCE
// for all further transactions of the connection; refused unless the key has the value) and "EPOCH". Every
// statement is a round trip and ends with its context.
//
// # Not promised
//
// Timings of the host, the cost of computing (code takes no virtual time), the kernel's buffers, and faults of
// services that are not simulated. A killed process is a cancelled context, and a network that is gone if its clients are
// those of a [Region.Machine]: goroutines cannot be stopped from outside. Clocks differ between Regions only for code that asks [Region.Now].
package drtest
