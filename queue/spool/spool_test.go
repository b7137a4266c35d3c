package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/queue"
)

func message(id string) queue.Outgoing {
	return queue.Outgoing{CallID: id, Body: `{"id":"` + id + `","pad":"` + strings.Repeat("x", 100) + `"}`}
}

func mustOpen(t testing.TB, dir string, c Config) *Spool {
	t.Helper()
	s, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// takeAll takes everything without settling.
func takeAll(t testing.TB, s *Spool) []queue.Spooled {
	t.Helper()
	var all []queue.Spooled
	for {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got, err := s.Take(ctx, 100)
		if err != nil {
			return all
		}
		all = append(all, got...)
	}
}

func ids(all []queue.Spooled) []string {
	var list []string
	for _, x := range all {
		list = append(list, x.Message.CallID)
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Config{})
	want := queue.Outgoing{CallID: "a", Body: "body", Group: "g", Tenant: "t", NotBefore: time.Unix(5, 6).UTC(), Expires: time.Unix(7, 0).UTC()}
	if err := s.Append(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), want); !errors.Is(err, ErrClosed) {
		t.Errorf("Append after Close = %v, want ErrClosed", err)
	}
	s = mustOpen(t, dir, Config{})
	defer s.Close()
	got := takeAll(t, s)
	if len(got) != 1 || fmt.Sprint(got[0].Message) != fmt.Sprint(want) {
		t.Errorf("after reopening: %+v, want %+v", got, want)
	}
	if err := s.Settle(got[0], queue.SpoolSent, nil); err != nil {
		t.Error(err)
	}
	if err := s.Settle(got[0], queue.SpoolSent, nil); err == nil {
		t.Error("settled twice")
	}
	if st := s.Stats(); st.Messages != 0 || !st.Oldest.IsZero() {
		t.Errorf("stats %+v, want empty", st)
	}
}

func TestSegmentsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Config{SegmentBytes: 4 << 10})
	defer s.Close()
	for i := range 500 {
		if err := s.Append(t.Context(), message(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	all := takeAll(t, s)
	if len(all) != 500 || !slices.IsSortedFunc(all, func(a, b queue.Spooled) int { return int(a.Sequence) - int(b.Sequence) }) {
		t.Fatalf("took %d, want 500 in order", len(all))
	}
	for _, x := range all {
		if err := s.Settle(x, queue.SpoolSent, nil); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Bytes > 8<<10 {
		t.Errorf("%d bytes left of an empty spool", st.Bytes)
	}
}

func TestGroupsGoInOrderOneAtATime(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Config{})
	defer s.Close()
	for i := range 3 {
		for _, g := range []string{"a", "b"} {
			o := message(fmt.Sprint(g, i))
			o.Group = g
			_ = s.Append(t.Context(), o)
		}
	}
	for i := range 3 {
		got := takeAll(t, s)
		if want := []string{fmt.Sprint("a", i), fmt.Sprint("b", i)}; !slices.Equal(ids(got), want) {
			t.Fatalf("took %v, want %v", ids(got), want)
		}
		if i == 0 { // given back, it comes again and nothing overtakes it
			_ = s.Settle(got[0], queue.SpoolAgain, nil)
			if again := takeAll(t, s); !slices.Equal(ids(again), []string{"a0"}) {
				t.Fatalf("took %v, want a0 again", ids(again))
			}
		}
		if !s.Holds("a") {
			t.Error("Holds(a) = false while its messages are out")
		}
		for _, x := range got {
			if err := s.Settle(x, queue.SpoolSent, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s.Holds("a") {
		t.Error("Holds(a) = true when all are settled")
	}
}

func TestFullSpoolRefuses(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Config{MaxBytes: 1000})
	defer s.Close()
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = s.Append(t.Context(), message(fmt.Sprint(n)))
	}
	if !errors.Is(err, queue.ErrSpoolFull) || n > 10 {
		t.Errorf("Append %d = %v, want ErrSpoolFull", n, err)
	}
	if got := takeAll(t, s); len(got) != n-1 {
		t.Errorf("%d messages, want the %d acknowledged", len(got), n-1)
	}
}

func TestFullDiskRefuses(t *testing.T) {
	f := newFaultFS(1)
	s, err := open(f, "/s", config(), noUnlock)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Append(t.Context(), message("a"))
	for i := range 10 {
		f.failAt[f.ops+1+i] = syscall.ENOSPC
	}
	if err := s.Append(t.Context(), message("b")); !errors.Is(err, queue.ErrSpoolFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Append on a full disk = %v, want ErrSpoolFull", err)
	}
	clear(f.failAt)
	if err := s.Append(t.Context(), message("c")); err != nil {
		t.Errorf("Append with room again = %v", err)
	}
	if got := ids(takeAll(t, s)); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("took %v, want a and c", got)
	}
}

// TestFullDiskIsHonest runs full at each step of an Append: at the write, the fdatasync, and where cutting the tail off fails
// too. What is said not to be there must not come back, and what may come back must not be said not to be there.
func TestFullDiskIsHonest(t *testing.T) {
	for name, test := range map[string]struct {
		fail    map[int]error // by operation from the Append on
		unknown bool
	}{
		"no room for a new file":           {map[int]error{1: syscall.ENOSPC}, false},
		"at the write":                     {map[int]error{3: syscall.ENOSPC}, false},
		"at the fdatasync":                 {map[int]error{4: syscall.ENOSPC}, false},
		"at the write, and no cut":         {map[int]error{3: syscall.ENOSPC, 4: syscall.EIO}, true},
		"at the fdatasync, and no cut":     {map[int]error{4: syscall.ENOSPC, 5: syscall.EIO}, true},
		"after an error, and no cut there": {map[int]error{4: syscall.EIO, 5: syscall.EIO, 6: syscall.ENOSPC}, true},
	} {
		t.Run(name, func(t *testing.T) {
			came := false
			for seed := range uint64(20) {
				f := newFaultFS(seed)
				s, err := open(f, "/s", config(), noUnlock)
				if err != nil {
					t.Fatal(err)
				}
				for at, err := range test.fail { // create, sync the directory, write, fdatasync, truncate
					f.failAt[f.ops+at] = err
				}
				err = s.Append(t.Context(), message("a"))
				if !errors.Is(err, queue.ErrSpoolFull) {
					t.Fatalf("Append = %v, want ErrSpoolFull", err)
				}
				if got := outcome.Of(err) == outcome.Unknown; got != test.unknown {
					t.Fatalf("Append = %v, unknown %v, want %v", err, got, test.unknown)
				}
				again, err := open(f.afterCrash(), "/s", config(), noUnlock)
				if err != nil {
					t.Fatal(err)
				}
				came = came || len(takeAll(t, again)) > 0
			}
			if came && !test.unknown {
				t.Error("it came back")
			}
		})
	}
}

func TestFsyncErrorIsNotTrustedTwice(t *testing.T) {
	f := newFaultFS(1)
	s, err := open(f, "/s", config(), noUnlock)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Append(t.Context(), message("a"))
	f.failAt[f.ops+2] = syscall.EIO // write, then fdatasync
	if err := s.Append(t.Context(), message("b")); err != nil {
		t.Errorf("Append = %v: it should have gone to a new segment", err)
	}
	if len(s.segments) != 2 {
		t.Errorf("%d segments, want the failed one sealed", len(s.segments))
	}
	s2, err := open(f.afterCrash(), "/s", config(), noUnlock)
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(takeAll(t, s2)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after the crash %v, want a and b", got)
	}
}

func TestMaxAgeAndRefusedArePutAside(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Config{MaxAge: time.Nanosecond})
	_ = s.Append(t.Context(), message("old"))
	if got := takeAll(t, s); len(got) != 0 {
		t.Errorf("took %v, want none", ids(got))
	}
	s.Close()
	s = mustOpen(t, dir, Config{})
	_ = s.Append(t.Context(), message("bad"))
	got := takeAll(t, s)
	if err := s.Settle(got[0], queue.SpoolRefused, errors.New("no queue takes it")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = mustOpen(t, dir, Config{})
	defer s.Close()
	if calls, _ := s.Calls(t.Context()); !slices.Contains(calls, "old") || !slices.Contains(calls, "bad") {
		t.Errorf("Calls = %v, want both that were put aside", calls)
	}
	for _, sub := range []string{expired, quarantine} {
		if files, _ := os.ReadDir(filepath.Join(dir, sub)); len(files) != 1 {
			t.Errorf("%s has %d files, want 1", sub, len(files))
		}
	}
}

func TestForeignLock(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Config{})
	if _, err := Open(dir, Config{}); !errors.Is(err, errLocked) {
		t.Errorf("second Open = %v, want errLocked", err)
	}
	s.Close()
	mustOpen(t, dir, Config{}).Close()
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("running as root, who may write anywhere: a file takes the directory's place instead")
	}
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "spool"), Config{}); err == nil {
		t.Error("Open below a file succeeds")
	}
}

func TestDamageInTheMiddleIsQuarantined(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Config{})
	for i := range 10 {
		_ = s.Append(t.Context(), message(fmt.Sprint(i)))
	}
	path := s.active.path
	s.Close()
	b, _ := os.ReadFile(path)
	b[len(b)/2] ^= 0xff
	b = append(b, "torn"...)
	_ = os.WriteFile(path, b, 0o600)
	s = mustOpen(t, dir, Config{})
	defer s.Close()
	if got := takeAll(t, s); len(got) != 9 || s.Stats().Damaged != 1 {
		t.Errorf("%d messages, %d damaged, want 9 and 1", len(got), s.Stats().Damaged)
	}
	if fi, _ := os.Stat(path); fi.Size() != int64(len(b)-4) {
		t.Errorf("size %d, want the torn tail cut off", fi.Size())
	}
}

func TestAdopt(t *testing.T) {
	parent := t.TempDir()
	old := mustOpen(t, filepath.Join(parent, "pod-1"), Config{})
	_ = old.Append(t.Context(), message("a"))
	old.Close()
	alive := mustOpen(t, filepath.Join(parent, "pod-2"), Config{})
	_ = alive.Append(t.Context(), message("b"))
	defer alive.Close()
	s := mustOpen(t, filepath.Join(parent, "pod-3"), Config{})
	defer s.Close()
	n, err := s.Adopt(t.Context(), parent)
	if err != nil || n != 1 || !slices.Equal(ids(takeAll(t, s)), []string{"a"}) {
		t.Errorf("Adopt = %d, %v, want the message of the dead spool only", n, err)
	}
}

func config() Config {
	c := Config{SegmentBytes: 4 << 10}
	if err := c.setDefaults("s"); err != nil {
		panic(err)
	}
	return c
}

func noUnlock() error { return nil }

// account is what a run of the model knows.
type account struct {
	acked map[string]bool // Append returned nil
	tried map[string]bool
	sent  map[string]bool // Settle was begun: it may or may not have been recorded
	never map[string]bool // Append said that it is not there
}

// play runs random operations on the disk f until it crashes or n are done. Some run at the same time.
func play(t *testing.T, f *faultFS, seed uint64, n int, a *account) {
	rng := rand.New(rand.NewPCG(seed, 2))
	s, err := open(f, "/s", config(), noUnlock)
	if err != nil {
		return
	}
	for i := range n {
		if rng.IntN(3) > 0 {
			id := fmt.Sprintf("%d-%d", seed, i)
			o := message(id)
			o.Body += strings.Repeat("y", rng.IntN(900))
			a.tried[id] = true
			switch err := s.Append(t.Context(), o); {
			case err == nil:
				a.acked[id] = true
			case outcome.Of(err) == outcome.NotRun:
				a.never[id] = true
			}
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		taken, _ := s.Take(ctx, 1+rng.IntN(4))
		for _, x := range taken {
			v := []queue.SpoolVerdict{queue.SpoolSent, queue.SpoolSent, queue.SpoolAgain, queue.SpoolRefused}[rng.IntN(4)]
			if v == queue.SpoolSent {
				a.sent[x.Message.CallID] = true
			}
			_ = s.Settle(x, v, errors.New("refused"))
		}
	}
	if rng.IntN(2) == 0 {
		_ = s.Close()
	}
}

// check opens the disk and compares it with the account.
func (a *account) check(t *testing.T, f *faultFS, what string) {
	t.Helper()
	s, err := open(f, "/s", config(), noUnlock)
	if err != nil {
		t.Fatalf("%s: open = %v", what, err)
	}
	calls, _ := s.Calls(t.Context())
	have := map[string]bool{}
	for _, id := range calls {
		have[id] = true
		if !a.tried[id] || a.never[id] {
			t.Errorf("%s: %s was never appended, or said not to be", what, id)
		}
	}
	for id := range a.acked {
		if !have[id] && !a.sent[id] {
			t.Fatalf("%s: %s was acknowledged and is gone", what, id)
		}
	}
	for _, x := range takeAll(t, s) {
		if x.Message.CallID == "" || !strings.Contains(x.Message.Body, x.Message.CallID) {
			t.Errorf("%s: message %q came back damaged", what, x.Message.CallID)
		}
	}
}

// TestCrashAtEveryOperation crashes at each write, sync, create, rename, remove and truncate of a run, twice in a row, on
// a disk that keeps or loses every unsynced page and name at random.
func TestCrashAtEveryOperation(t *testing.T) {
	crashes := 0
	for seed := range uint64(6) {
		whole := newFaultFS(seed)
		play(t, whole, seed, 60, newAccount())
		for at := 1; at <= whole.ops+1; at++ {
			f := newFaultFS(seed*1000 + uint64(at))
			f.crashAt = at
			a := newAccount()
			play(t, f, seed, 60, a)
			g := f.afterCrash()
			a.check(t, g.afterCrash(), fmt.Sprintf("seed %d, crash at %d", seed, at))
			g.crashAt = 1 + int(seed)%7 // and again while it recovers and goes on
			play(t, g, seed+100, 20, a)
			a.check(t, g.afterCrash(), fmt.Sprintf("seed %d, second crash after %d", seed, at))
			crashes += 2
		}
	}
	t.Logf("%d crashes", crashes)
}

// TestErrorsAtEveryOperation fails each operation, and up to two after it, without a crash, and crashes at the end.
func TestErrorsAtEveryOperation(t *testing.T) {
	for seed := range uint64(6) {
		whole := newFaultFS(seed)
		play(t, whole, seed, 60, newAccount())
		for at := 1; at <= whole.ops; at++ {
			for n, errs := range [][]error{{syscall.EIO}, {syscall.ENOSPC}, {syscall.ENOSPC, syscall.EIO}, {syscall.EIO, syscall.ENOSPC, syscall.ENOSPC}} {
				if seed > 0 && n != int(seed)%4 {
					continue
				}
				f := newFaultFS(seed*1000 + uint64(at))
				for i, err := range errs {
					f.failAt[at+i] = err
				}
				a := newAccount()
				play(t, f, seed, 60, a)
				a.check(t, f.afterCrash(), fmt.Sprintf("seed %d, errors %d at %d", seed, n, at))
			}
		}
	}
}

func newAccount() *account {
	return &account{acked: map[string]bool{}, tried: map[string]bool{}, sent: map[string]bool{}, never: map[string]bool{}}
}

// TestKill kills a child that appends and settles, at random instants, and checks what it had said.
func TestKill(t *testing.T) {
	if dir := os.Getenv("HOLDFAST_SPOOL_CHILD"); dir != "" {
		child(dir)
		return
	}
	dir := t.TempDir()
	acked, sent := map[string]bool{}, map[string]bool{}
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "HOLDFAST_SPOOL_CHILD="+dir, fmt.Sprintf("HOLDFAST_SPOOL_ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := 1 + rand.IntN(400) // acknowledgements
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if id, ok := strings.CutPrefix(lines.Text(), "acked "); ok {
				acked[id] = true
			} else if id, ok := strings.CutPrefix(lines.Text(), "sending "); ok {
				sent[id] = true
			} else if strings.HasPrefix(lines.Text(), "error") {
				t.Error(lines.Text())
			}
			if n == after {
				_ = cmd.Process.Signal(syscall.SIGKILL)
			}
		}
		_ = cmd.Wait()
	}
	s := mustOpen(t, dir, Config{SegmentBytes: 16 << 10})
	defer s.Close()
	calls, _ := s.Calls(t.Context())
	have := map[string]bool{}
	for _, id := range calls {
		have[id] = true
	}
	for id := range maps.Keys(acked) {
		if !have[id] && !sent[id] {
			t.Errorf("%s was acknowledged and is gone", id)
		}
	}
	if len(acked) < 100 {
		t.Errorf("only %d acknowledged: the test shows nothing", len(acked))
	}
	t.Logf("%d acknowledged, %d sent, %d left", len(acked), len(sent), len(calls))
}

func child(dir string) {
	s, err := Open(dir, Config{SegmentBytes: 16 << 10})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var mu sync.Mutex
	say := func(what, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id)
	}
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", os.Getenv("HOLDFAST_SPOOL_ROUND"), w, i)
				if err := s.Append(context.Background(), message(id)); err != nil {
					say("error", err.Error())
					return
				}
				say("acked", id)
			}
		}()
	}
	for {
		taken, err := s.Take(context.Background(), 10)
		if err != nil {
			say("error", err.Error())
			return
		}
		for i, x := range taken {
			if i%2 == 0 {
				continue // stays
			}
			say("sending", x.Message.CallID)
			if err := s.Settle(x, queue.SpoolSent, nil); err != nil {
				say("error", err.Error())
				return
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	o := message("a")
	f.Add(appendRecord(nil, 7, kindMessage, func(b []byte) []byte { return appendMessage(b, &o, time.Unix(1, 0)) }))
	f.Add(appendRecord(nil, 7, kindSettled, nil))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		sequence, k, body, n := parseRecord(b)
		if n == 0 {
			return
		}
		if again := appendRecord(nil, sequence, k, func(x []byte) []byte { return append(x, body...) }); string(again) != string(b[:n]) {
			t.Errorf("record of %d bytes is not what it would be written as", n)
		}
		if got, at, err := parseMessage(body); err == nil && k == kindMessage {
			again := appendMessage(nil, &got, at)
			if got2, _, err := parseMessage(again); err != nil || fmt.Sprint(got2) != fmt.Sprint(got) {
				t.Errorf("message changed: %+v, %+v, %v", got, got2, err)
			}
		}
	})
}

func TestConcurrentAppendsShareSyncs(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Config{})
	defer s.Close()
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := range 20 {
				if err := s.Append(t.Context(), message(fmt.Sprint(w, "-", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Messages != 1280 || st.Syncs > 640 {
		t.Errorf("%d messages with %d fdatasync calls: they are not shared", st.Messages, st.Syncs)
	}
}

// TestConcurrentAppendsKeepTheirBodies: batches pass their memory on, and none writes into another's.
func TestConcurrentAppendsKeepTheirBodies(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Config{})
	const writers, each = 32, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				o := message(fmt.Sprint(w, "-", i))
				o.Body += strings.Repeat(o.CallID, 1+i)
				if err := s.Append(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Config{})
	defer s.Close()
	all := takeAll(t, s)
	if len(all) != writers*each || s.Stats().Damaged > 0 {
		t.Fatalf("%d messages, %d damaged, want %d and none", len(all), s.Stats().Damaged, writers*each)
	}
	for _, x := range all {
		id := x.Message.CallID
		_, n, _ := strings.Cut(id, "-")
		i, _ := strconv.Atoi(n)
		if want := message(id).Body + strings.Repeat(id, 1+i); x.Message.Body != want {
			t.Fatalf("body of %s is %q, want %q", id, x.Message.Body, want)
		}
	}
}
