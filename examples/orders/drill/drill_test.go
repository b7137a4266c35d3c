package drill_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
)

// short are the settings of a drill that a person waits for.
var short = service.Settings{LeaseTTL: 2 * time.Second, ProbeEvery: 200 * time.Millisecond, ProbeTimeout: 800 * time.Millisecond, SettleAfter: 2 * time.Second, MaxFlight: 500 * time.Millisecond}

func TestDrill(t *testing.T) {
	for _, approve := range []bool{false, true} {
		t.Run(map[bool]string{false: "the group decides", true: "two people decide"}[approve], func(t *testing.T) { play(t, approve) })
	}
}

func play(t *testing.T, approve bool) {
	settings := short
	settings.ByApproval = approve
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Watchdog: time.Minute}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Settings: settings})
		r, err := drill.Run(t.Context(), f.System(), drill.Config{Rate: 10, Clients: 20, Approve: approve, Settle: 5 * time.Minute, Progress: func(e drill.Event) { t.Log(e.At, e.Text) }})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		r.Print(&text)
		t.Log(text.String())
		if !r.Passed() {
			t.Errorf("broken: %v", r.Broken)
		}
		if dir := os.Getenv("DRILL_REPORT"); dir != "" {
			if err := r.Save(dir); err != nil {
				t.Error(err)
			}
		}
	})
}

// On a busy machine the group may itself ask people for a move, while the drill is about to ask for another. Nobody approves what the drill has not asked for.
func TestDrillApprovesOnlyItsOwnMoves(t *testing.T) {
	settings := short
	settings.ByApproval = true
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Watchdog: time.Minute}, func(t *testing.T, w *drtest.World) {
		s := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Settings: settings}).System()
		rebuild, asked := s.Rebuild, false
		s.Rebuild = func(ctx context.Context) ([]string, error) {
			lost, err := rebuild(ctx)
			for err == nil && !asked {
				_, refused := s.Controllers(s.Standby)[0].Failover(ctx, s.Home, failover.Request{Reason: "a look that lasted", By: "carl"})
				if asked = refused == nil; !asked {
					time.Sleep(time.Second) // until the copy is measured
				}
			}
			return lost, err
		}
		r, err := drill.Run(t.Context(), s, drill.Config{Rate: 10, Clients: 20, Approve: true, Settle: 5 * time.Minute, Progress: func(e drill.Event) { t.Log(e.At, e.Text) }})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Moves) != 2 || !r.Moves[1].Planned || !asked {
			t.Errorf("moves %+v, want a planned one home", r.Moves)
		}
	})
}

// Ten minutes of mishaps at random, and a loss of the Region every three.
func TestSoak(t *testing.T) {
	settings := short
	settings.Cooldown, settings.MaxMoves = 4*time.Second, 1000
	drtest.Run(t, drtest.Config{Fidelity: drtest.FidelityMessages, Watchdog: time.Minute}, func(t *testing.T, w *drtest.World) {
		f := embedded.Start(w, embedded.Config{Dir: t.TempDir(), Settings: settings})
		var mishaps []drill.Mishap
		for _, x := range []fault.Fault{
			fault.Crash("us-east-1/app-0"), fault.Crash("us-west-2/app-1"), fault.Partition(embedded.East, embedded.West),
			fault.Latency(embedded.East, embedded.West, 200*time.Millisecond), fault.Gray(embedded.PaymentsHost, .5),
		} {
			mishaps = append(mishaps, drill.Mishap{Name: x.String(), Break: func() (func(), error) { return w.Inject(x) }})
		}
		r, err := drill.Soak(t.Context(), f.System(), drill.SoakConfig{
			Config: drill.Config{Rate: 2, Clients: 10, Settle: 10 * time.Minute, Progress: func(e drill.Event) { t.Log(e.At, e.Text) }},
			Length: 10 * time.Minute, Outages: 3 * time.Minute, Seed: 7, Mishaps: mishaps,
		})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		r.Print(&text)
		t.Log(text.String())
		if !r.Passed() {
			t.Errorf("broken: %v", r.Broken)
		}
		if n := r.Mishaps["loss of "+embedded.East]; n < 2 || len(r.Mishaps) != len(mishaps)+1 {
			t.Errorf("%d losses of the Region and %v, want some of everything", n, r.Mishaps)
		}
	})
}
