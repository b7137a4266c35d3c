package drtest_test

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what is recorded (go test -update writes it):\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// storm is a World with every sort of event: failures by silence, refusal and reset, jitter, flapping,
// crashes, retransmission, throttling and half-open pools.
func storm(w *drtest.World, rate drtest.Rate) {
	s := openShop(w)
	w.Link(w.Region("users"), w.Region(eastName), simnet.Shape{Latency: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Dist: simnet.DistExponential})
	w.Load(s.orders(6, rate, drtest.Edges{}))
	w.Play(drtest.Timeline("storm",
		drtest.At(20*time.Second, fault.Gray("api.us-east-1", 0.3)).For(20*time.Second),
		drtest.At(25*time.Second, fault.Latency("users", eastName, 300*time.Millisecond).WithJitter(200*time.Millisecond)).For(20*time.Second).Ramp(5*time.Second),
		drtest.At(50*time.Second, fault.Partition("users", eastName)).For(30*time.Second).Flap(2*time.Second, 3*time.Second),
		drtest.At(70*time.Second, fault.Crash("monitor")).For(5*time.Second),
		drtest.At(90*time.Second, fault.RegionDown(eastName, fault.ModeReset)).For(10*time.Second),
		drtest.At(110*time.Second, fault.RegionDown(eastName, fault.ModeHang)).For(10*time.Second),
		drtest.At(130*time.Second, fault.RegionDown(eastName, fault.ModeRefuse)).For(10*time.Second),
		drtest.At(150*time.Second, fault.RegionDown(eastName, fault.ModeBlackhole)).For(time.Minute),
		drtest.At(230*time.Second, fault.Throttle("api.us-west-2", 0.5, 429, time.Second)).For(20*time.Second),
	))
}

func stormHash(t *testing.T, seed uint64, fidelity drtest.Fidelity, rate drtest.Rate) string {
	t.Helper()
	var world *drtest.World
	config := drtest.Config{Seed: seed, Fidelity: fidelity, TieFree: true, Settle: 30 * time.Second}
	drtest.Run(t, config, func(_ *testing.T, w *drtest.World) {
		world = w
		storm(w, rate)
	})
	return world.Report().Hash
}

// One event hash over GOMAXPROCS 1 and 2, with -race and without, and over rebuilds: the hash is recorded.
func TestOneHash(t *testing.T) {
	var lines []string
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		for name, rate := range map[string]drtest.Rate{"poisson": drtest.Poisson(2), "constant": drtest.Constant(2)} {
			was := runtime.GOMAXPROCS(2)
			want := stormHash(t, 7, fidelity, rate)
			runtime.GOMAXPROCS(1)
			got := stormHash(t, 7, fidelity, rate)
			runtime.GOMAXPROCS(was)
			if got != want {
				t.Errorf("%s: hash %s with GOMAXPROCS 1, %s with 2", name, got, want)
			}
			if other := stormHash(t, 8, fidelity, rate); other == want {
				t.Errorf("%s: seeds 7 and 8 have one hash", name)
			}
			lines = append(lines, filepath.Base(t.Name())+" "+name+" "+want+"\n")
		}
	})
	slices.Sort(lines)
	if runtime.GOARCH == "amd64" { // elsewhere the compiler may fuse the floating-point operations of the draws
		golden(t, "hashes.txt", strings.Join(lines, ""))
	}
}
