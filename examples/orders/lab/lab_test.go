//go:build unix

package lab_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/drill"
	"github.com/holdfast-go/holdfast/examples/orders/lab"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

// The whole drill on servers of the test's own: the primary PostgreSQL is killed, the others of its Region stand still, all come back.
func TestDrillOnRealServers(t *testing.T) {
	if testing.Short() {
		t.Skip("the drill takes more than a minute: not with -short")
	}
	for _, approve := range []bool{false, true} {
		t.Run(map[bool]string{false: "the group decides", true: "two people decide"}[approve], func(t *testing.T) { drillOn(t, approve) })
	}
}

func drillOn(t *testing.T, approve bool) {
	said := &transcript{start: time.Now()}
	result := play(t, said, approve)
	var text strings.Builder
	result.Print(&text)
	t.Logf("%s\n%s", said, &text)
	if !result.Passed() {
		t.Errorf("broken: %v", result.Broken)
	}
	if len(result.Account.Lost) == 0 {
		t.Error("nothing is on the loss list, want the orders of the time without replication")
	}
	if len(result.Moves) != 2 || !approve && !result.Moves[0].Auto || !result.Moves[0].Exposure.Known || !result.Moves[1].Planned {
		t.Errorf("moves %+v, want one with its exposure, by the group unless it asks people, and a planned one back", result.Moves)
	}
	for _, want := range []string{"SIGKILL PostgreSQL of us-east-1", "SIGSTOP Redis of us-east-1", "SIGSTOP SQS of us-east-1", "SIGCONT Redis of us-east-1", "SIGCONT SQS of us-east-1", "list the divergence: done"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("nobody said %q", want)
		}
	}
	for _, pid := range said.pids() {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("server with pid %d is left: %v", pid, err)
		}
	}
	dir := t.TempDir()
	if err := result.Save(dir); err != nil {
		t.Error(err)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "report.html")); err != nil || !strings.Contains(string(page), "<svg") {
		t.Errorf("report.html without a picture: %v", err)
	}
}

// play returns when all is closed.
func play(t *testing.T, said *transcript, approve bool) *drill.Result {
	world, err := drtest.NewReal(t.Context(), drtest.Config{Name: "orders on real parts"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	}()
	l, err := lab.Start(t.Context(), world, lab.Config{Dir: t.TempDir(), Say: said.say, Settings: service.Settings{
		LeaseTTL: 3 * time.Second, PollEvery: 250 * time.Millisecond, ProbeEvery: 250 * time.Millisecond, ProbeTimeout: time.Second, MaxFlight: time.Second,
		Cooldown: 4 * time.Second, SettleAfter: 2 * time.Second, ByApproval: approve,
	}})
	if missing, ok := errors.AsType[*servers.MissingError](err); ok && os.Getenv("CI") != "true" {
		t.Skipf("the drill's servers: %v", missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	result, err := drill.Run(t.Context(), l.System(), drill.Config{
		Rate: 10, Before: 2 * time.Second, Outage: 5 * time.Second, After: time.Second, RTO: time.Minute, Approve: approve,
		Give: 4 * time.Minute, Settle: 4 * time.Minute, // how long the drill looks, also on a busy machine: what is promised are RTO, RPO and Pause
		Progress: func(e drill.Event) { said.say("%s", e.Text) },
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return result
}

// A transcript is what was said.
type transcript struct {
	start time.Time

	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *transcript) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.text, "%6.1f s  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// pids are those of the servers that were started.
func (s *transcript) pids() (all []int) {
	for _, found := range regexp.MustCompile(`pid (\d+)`).FindAllStringSubmatch(s.String(), -1) {
		pid, _ := strconv.Atoi(found[1])
		all = append(all, pid)
	}
	return all
}
