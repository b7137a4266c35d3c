package page_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/queue"
)

// A part is what one Region's half of a service has to show.
type part struct {
	ctl      *failover.Controller
	modes    *degrade.Controller
	breakers *breaker.Group
	client   *queue.Client
	traffic  func() page.Traffic
}

// wire shows parts and a World on a page. It is all that a service has to write.
func wire(parts []part, world *drtest.World, log *page.Log) (*page.Page, error) {
	var faults page.Faults
	var actions []page.Action
	for _, p := range parts {
		region, ctl := p.ctl.Self(), p.ctl
		p.modes.Subscribe(log.Levels(region))
		actions = append(actions,
			faults.Action(page.Action{ID: "down-" + region, Region: region, Group: "Region down", Label: "Black hole"}, func(context.Context) (func(), error) {
				return world.Inject(fault.RegionDown(region, fault.ModeBlackhole))
			}),
			page.Action{ID: "move-" + region, Group: "Move the writer", Label: "Fail over to " + region, Confirm: "Writes stop until it is promoted.", Do: func(ctx context.Context, _ page.Action, by string) error {
				_, err := ctl.Failover(ctx, region, failover.Request{By: by, Reason: "asked on the page"})
				return err
			}})
	}
	actions = append(actions, page.Action{ID: "approve", Pending: true, Label: "Approve", Do: func(ctx context.Context, a page.Action, by string) error {
		_, err := parts[0].ctl.Approve(ctx, a.Move, by)
		return err
	}})
	state := func() page.State {
		s := page.State{Decision: parts[0].ctl.Status(), RPO: time.Minute, Faults: faults.Active()}
		for _, p := range parts {
			r := page.Region{Name: p.ctl.Self(), Status: p.ctl.Status(), Modes: p.modes.Status(), Traffic: p.traffic(), Spool: p.client.Stats().Spool, Breakers: map[string]breaker.Stats{}}
			for name, b := range p.breakers.All() {
				r.Breakers[name] = b.Stats()
			}
			s.Regions = append(s.Regions, r)
		}
		return s
	}
	return page.New(page.Config{Parts: "embedded parts", State: state, Events: log, Actions: actions, Authorize: page.Loopback("ada", "grace"), People: []string{"ada", "grace"}})
}

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	world := holdfast.Must(drtest.NewReal(ctx, drtest.Config{}))
	defer func() { _ = world.Close() }()
	coordinator := failover.NewMemoryCoordinator(east, west)
	var parts []part
	for _, region := range []failover.Region{east, west} {
		world.Region(region)
		memory := holdfast.Must(queue.NewMemory(queue.MemoryConfig{Region: region}))
		parts = append(parts, part{
			ctl:      holdfast.Must(failover.NewController(failover.ControllerConfig{Regions: []failover.Region{east, west}, Self: region, Coordinator: coordinator})),
			modes:    holdfast.Must(degrade.New(degrade.Config{Region: region})),
			breakers: holdfast.Must(breaker.NewGroup(breaker.Config{Name: "sqs"}, breaker.GroupConfig{})),
			client:   holdfast.Must(queue.NewClient(memory, queue.ClientConfig{})),
			traffic:  func() page.Traffic { return page.Traffic{} },
		})
	}
	log := page.NewLog(0)
	p := holdfast.Must(wire(parts, world, log))
	server := httptest.NewServer(p)
	defer server.Close()
	go func() { _ = p.Run(ctx) }() // holdfast.Run does this in a service

	// What a browser sees.
	response := holdfast.Must(server.Client().Get(server.URL + "/events"))
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if strings.Contains(lines.Text(), `"name":"us-west-2"`) {
			fmt.Println("us-west-2 is on the page")
			break
		}
	}
	stop()
	// Output: us-west-2 is on the page
}

func ExampleLoopback() {
	authorize := page.Loopback("ada", "grace")
	for _, host := range []string{"localhost:8080", "evil.example:8080"} {
		r := httptest.NewRequest("POST", "http://"+host+"/actions/approve?as=grace", nil)
		r.RemoteAddr = "127.0.0.1:54321"
		fmt.Println(authorize(r))
	}
	// Output:
	// grace <nil>
	//  page: the host "evil.example:8080" is not this machine's own name
}

func ExampleFaults() {
	var faults page.Faults // for State.Faults
	action := faults.Action(page.Action{ID: "sqs", Group: "Parts", Label: "SQS"}, func(context.Context) (func(), error) {
		fmt.Println("SQS is gone")
		return func() { fmt.Println("SQS is back") }, nil
	})
	_ = action.Do(context.Background(), action, "ada") // the page does this
	for _, f := range faults.Active() {
		fmt.Println("active:", f.Label)
	}
	faults.Heal()
	// Output:
	// SQS is gone
	// active: Parts: SQS
	// SQS is back
}

func ExampleLog() {
	log := page.NewLog(0)
	_, err := breaker.New(breaker.Config{Name: "payments", OnStateChange: log.Breakers("us-east-1")})
	log.Add(page.Event{Kind: page.KindNote, Text: "the drill begins"})
	fmt.Println(err)
	// Output: <nil>
}
