//go:build unix

package servers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play scripts/servers, so that tests run, interrupt and kill the
// real command and its real supervisor.
func TestMain(m *testing.M) {
	if os.Getenv("HOLDFAST_PLAY_SERVERS") == "1" {
		if len(os.Args) == 2 && os.Args[1] == "freeze" {
			freezeForEver()
		}
		go endWithTest()
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// endWithTest ends a supervisor that outlives the test binary, which may be killed as well. Up has
// no reason to do that for its user.
func endWithTest() {
	pid, _ := strconv.Atoi(os.Getenv("HOLDFAST_PLAY_FOR"))
	test := identify(pid)
	for test.Alive() {
		time.Sleep(100 * time.Millisecond)
	}
	syscall.Kill(os.Getpid(), syscall.SIGTERM) //nolint:errcheck // itself
}

// A shell runs the command with a folder and an environment of its own. Nothing it starts
// outlives the test, and nothing is installed.
type shell struct {
	t   *testing.T
	dir string
	env []string
}

func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	sh := &shell{t: t, dir: t.TempDir(), env: env}
	t.Cleanup(func() { sh.command("down").Run() }) //nolint:errcheck // what is left is seen by the next line
	return sh
}

func (sh *shell) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HOLDFAST_") || strings.HasPrefix(v, "CI=")
	})
	// A program built with -race otherwise sleeps for a second before it ends.
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0", "HOLDFAST_PLAY_SERVERS=1", fmt.Sprintf("HOLDFAST_PLAY_FOR=%d", os.Getpid()), "HOLDFAST_INSTALL=0", "HOLDFAST_SERVERS_DIR="+sh.dir)
	cmd.Env = append(cmd.Env, sh.env...)
	return cmd
}

// run runs the command to its end and returns its exit status and all it printed.
func (sh *shell) run(args ...string) (status int, output string) {
	sh.t.Helper()
	out, err := sh.command(args...).CombinedOutput()
	if err != nil && !isExit(err) {
		sh.t.Fatalf("servers %v: %v", args, err)
	}
	if err == nil {
		return 0, string(out)
	}
	return err.(*exec.ExitError).ExitCode(), string(out)
}

func isExit(err error) bool {
	_, ok := err.(*exec.ExitError)
	return ok
}

// want runs the command and compares its exit status and a part of what it printed.
func (sh *shell) want(status int, part string, args ...string) string {
	sh.t.Helper()
	got, out := sh.run(args...)
	if got != status || !strings.Contains(out, part) {
		sh.t.Fatalf("servers %v = %d, want %d; want %q in:\n%s", args, got, status, part, out)
	}
	return out
}

// processes returns what the state says is running.
func (sh *shell) processes() []Proc {
	sh.t.Helper()
	st := home(sh.dir).load()
	if st == nil {
		sh.t.Fatal("no state")
	}
	all := []Proc{st.Supervisor}
	for _, s := range st.Servers {
		all = append(all, s.Proc)
	}
	return all
}

// fakeRedis puts a redis-server first on the PATH that runs script, and returns what reads the
// processes that it became.
func (sh *shell) fakeRedis(script string) func() []Proc {
	sh.t.Helper()
	bin, pids := sh.t.TempDir(), sh.t.TempDir()
	text := fmt.Sprintf("#!/bin/sh\n: > %s/$$\n%s\n", pids, script)
	if err := os.WriteFile(filepath.Join(bin, "redis-server"), []byte(text), 0o755); err != nil {
		sh.t.Fatal(err)
	}
	sh.env = append(sh.env, "PATH="+bin+":"+os.Getenv("PATH"))
	return func() []Proc {
		var all []Proc
		entries, _ := os.ReadDir(pids)
		for _, e := range entries {
			pid, _ := strconv.Atoi(e.Name())
			if _, runs := procStat(pid); runs {
				all = append(all, identify(pid))
			}
		}
		return all
	}
}

const hangs = "exec sleep 600"

// within polls done and fails the test when it does not come true in 20 s.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !poll(ctx, done) {
		t.Fatalf("not within 20s: %s", what)
	}
}

func allGone(t *testing.T, all []Proc) {
	t.Helper()
	within(t, fmt.Sprintf("end of %v", all), func() bool {
		return !slices.ContainsFunc(all, Proc.Alive)
	})
}

func needRedis(t *testing.T) {
	t.Helper()
	if _, err := findRedis(); err != nil {
		t.Skipf("kit redis: %v", err)
	}
	if testing.Short() {
		t.Skip("kit redis: no private servers with -short")
	}
}

func TestUpEnvStatusDown(t *testing.T) {
	t.Parallel()
	needRedis(t)
	sh := newShell(t)
	sh.want(1, "not up", "env")
	sh.want(1, "not up", "status")
	sh.want(0, "nothing was running", "down")

	sh.want(0, "redis-a", "up", "redis")
	env := sh.want(0, "export HOLDFAST_TEST_REDIS_A='127.0.0.1:", "env")
	sh.want(0, "answers", "status")
	running := sh.processes()
	if len(running) != 3 {
		t.Errorf("%d processes, want a supervisor and two Redis", len(running))
	}

	sh.want(0, "already up", "up", "redis")
	if again := sh.want(0, "", "env"); again != env {
		t.Errorf("env after the second up:\n%swant\n%s", again, env)
	}
	sh.want(0, "stopped", "down")
	allGone(t, running)
	sh.want(1, "not up", "env")
	if _, err := os.Stat(filepath.Join(sh.dir, "data")); err == nil {
		t.Error("down left the data")
	}
}

func TestUpKeepsTheServersOfTheEnvironment(t *testing.T) {
	t.Parallel()
	sh := newShell(t, "HOLDFAST_TEST_REDIS_A=db1:6379", "HOLDFAST_TEST_REDIS_B=db2:6379")
	sh.want(0, "redis: the environment names servers of its own", "up", "redis")
	if out := sh.want(0, "", "env"); out != "" {
		t.Errorf("env = %q, want nothing", out)
	}
}

func TestMissingServerIsNamed(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, env, want string }{
		{"no package manager", "HOLDFAST_INSTALL=1", "redis: redis-server is missing: there is no apt-get to install it with; install redis-server"},
		{"installing turned off", "HOLDFAST_INSTALL=0", "redis: redis-server is missing: HOLDFAST_INSTALL=0 forbids to install it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sh := newShell(t, "PATH="+t.TempDir(), tt.env)
			sh.want(0, "servers: skipped: "+tt.want, "up", "redis")
			sh.want(0, "export HOLDFAST_TEST_REDIS_B_SKIPPED='redis-server is missing", "env")
			sh.want(0, "stopped", "down")

			sh.env = append(sh.env, "CI=true")
			sh.want(1, tt.want, "up", "redis")
			sh.want(0, "nothing was running", "down")
		})
	}
}

func TestMissingNPMAndPythonAreNamed(t *testing.T) {
	t.Parallel()
	sh := newShell(t, "PATH="+t.TempDir(), "HOLDFAST_INSTALL=1", "XDG_CACHE_HOME="+t.TempDir(), "HOME="+t.TempDir())
	sh.want(0, "sqs: Node.js is missing: there is no apt-get", "up", "sqs", "moto")
	sh.want(0, "moto: python3 is missing: there is no apt-get", "up", "sqs", "moto")
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	needRedis(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	sh := newShell(t, fmt.Sprintf("HOLDFAST_PORTS=redis-b=%d", port))
	want := fmt.Sprintf("servers: redis-b: port %d is taken by another program: free it or choose another in HOLDFAST_PORTS", port)
	sh.want(1, want, "up", "redis")
	sh.want(0, "nothing was running", "down")

	taken.Close()
	sh.want(0, fmt.Sprintf("127.0.0.1:%d", port), "up", "redis")
}

func TestServerThatEndsAtItsStart(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.fakeRedis("echo 'FATAL CONFIG FILE ERROR'; exit 3")
	out := sh.want(1, "servers: redis-a: ended at its start: exit status 3 (it ends: FATAL CONFIG FILE ERROR)", "up", "redis")
	if strings.Count(out, "\n") != 2 {
		t.Errorf("not one sentence for each of the two:\n%s", out)
	}
	sh.want(0, "nothing was running", "down")
}

func TestHalfStartedServer(t *testing.T) {
	t.Parallel()
	sh := newShell(t, "HOLDFAST_START_TIMEOUT=500ms")
	fakes := sh.fakeRedis(hangs)
	sh.want(1, "no answer within 500ms", "up", "redis")
	allGone(t, fakes())
	sh.want(0, "nothing was running", "down")
}

func TestInterruptedUp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		signal syscall.Signal
		status int
		says   string
	}{
		{"ctrl-C", syscall.SIGINT, 130, "servers: interrupted: what was started is stopped again\n"},
		{"terminated", syscall.SIGTERM, 130, "servers: interrupted: what was started is stopped again\n"},
		{"killed", syscall.SIGKILL, -1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sh := newShell(t)
			fakes := sh.fakeRedis(hangs)
			up := sh.command("up", "redis")
			var out bytes.Buffer
			up.Stderr = &out
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			within(t, "two fake servers", func() bool { return len(fakes()) == 2 })
			running := append(fakes(), sh.processes()...)
			up.Process.Signal(tt.signal) //nolint:errcheck // it waits for servers that never answer
			up.Wait()                    //nolint:errcheck // its status is looked at
			if got := up.ProcessState.ExitCode(); got != tt.status || out.String() != tt.says {
				t.Errorf("up = %d and says %q, want %d and %q", got, out.String(), tt.status, tt.says)
			}
			allGone(t, running)

			if _, err := findRedis(); err != nil || testing.Short() {
				return
			}
			sh.env = nil // the real Redis again
			sh.want(0, "redis-a", "up", "redis")
		})
	}
}

func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	needRedis(t)
	sh := newShell(t)
	sh.want(0, "redis-a", "up", "redis")
	running := sh.processes()
	running[0].signal(syscall.SIGKILL)
	allGone(t, running)
	sh.want(1, "not up: the supervisor has ended", "status")
	sh.want(0, "redis-a", "up", "redis")
	allGone(t, running)
}

func TestServerOfTheSetKilled(t *testing.T) {
	t.Parallel()
	needRedis(t)
	sh := newShell(t)
	sh.want(0, "redis-a", "up", "redis")
	running := sh.processes()
	running[1].signal(syscall.SIGKILL)
	within(t, "the server's end", func() bool { return !running[1].Alive() })
	sh.want(1, "has ended, see", "status")
	sh.want(0, "redis-a", "up", "redis")
	allGone(t, running)
	sh.want(0, "answers", "status")
}

func TestUnreadableStateBlocksNothing(t *testing.T) {
	t.Parallel()
	needRedis(t)
	sh := newShell(t)
	if err := os.WriteFile(home(sh.dir).state(), []byte(`{"supervisor`), 0o600); err != nil {
		t.Fatal(err)
	}
	sh.want(0, "redis-a", "up", "redis")
}

// A state of yesterday may name a pid that is somebody else's today.
func TestDownLeavesStrangersAlone(t *testing.T) {
	t.Parallel()
	stranger := exec.Command("sleep", "600")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stranger.Process.Kill() //nolint:errcheck // the end of the test
		stranger.Wait()         //nolint:errcheck // killed
	}()
	sh := newShell(t)
	reused := Proc{PID: stranger.Process.Pid, Start: "1"}
	err := home(sh.dir).save(&state{Supervisor: reused, Ready: true, Servers: []entry{{Name: "redis-a", Proc: reused}}})
	if err != nil {
		t.Fatal(err)
	}
	sh.want(0, "nothing was running", "down")
	if !identify(stranger.Process.Pid).Alive() {
		t.Error("down killed a process that it had not started")
	}
}

func TestTwoUpsAtOnce(t *testing.T) {
	t.Parallel()
	needRedis(t)
	sh := newShell(t)
	first := sh.command("up", "redis")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	sh.want(0, "", "up", "redis")
	if err := first.Wait(); err != nil {
		t.Errorf("the other up: %v", err)
	}
	sh.want(0, "answers", "status")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.want(2, "usage: scripts/servers", "help")
	sh.want(2, "usage: scripts/servers")
	sh.want(1, `no kind "mysql"`, "up", "mysql")
	sh.env = []string{"HOLDFAST_PORTS=redis-c=1"}
	sh.want(1, `"redis-c=1" is not name=port`, "up")
}

// The process of a test that froze a server can be killed too.
func TestOwnerOfAFrozenServerKilled(t *testing.T) {
	t.Parallel()
	needRedis(t)
	sh := newShell(t)
	owner := sh.command("freeze")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	if s, _ := procStat(pid); s.state != 'T' {
		t.Fatalf("the server (pid %d) is in state %q, want T", pid, s.state)
	}
	server := identify(pid)
	owner.Process.Kill() //nolint:errcheck // it waits for ever
	owner.Wait()         //nolint:errcheck // killed
	allGone(t, []Proc{server})
}

// freezeForEver plays the test process: it starts a Redis that the kernel asks to end
// with SIGTERM, which a stopped process cannot read, freezes it and prints its pid.
func freezeForEver() {
	s, err := StartRedis(context.Background(), Place{Name: "frozen", Dir: os.Getenv("HOLDFAST_SERVERS_DIR")})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.death = syscall.SIGTERM
	if err := errors.Join(s.Kill(), s.Start(context.Background()), s.Freeze()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Proc().PID)
	select {}
}
