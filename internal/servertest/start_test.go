//go:build unix

package servertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// silence is how long a test listens to a frozen server before it believes it.
const silence = 300 * time.Millisecond

func TestRedis(t *testing.T) {
	t.Parallel()
	s := Start(t, Redis)
	conn := dial(t, s.Addr())
	expect(t, conn, "SET k v", "+OK")

	s.Freeze()
	send(t, conn, "GET k")
	if line, err := read(conn, silence); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a frozen Redis answered %q, %v", line, err)
	}
	dial(t, s.Addr()) // the kernel accepts
	s.Resume()
	if line, err := read(conn, 10*time.Second); line != "$1" {
		t.Fatalf("after Resume: %q, %v, want the reply to what was sent before", line, err)
	}

	s.Kill()
	if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("Dial after Kill: %v, want refused", err)
	}
	s.Restart()
	expect(t, dial(t, s.Addr()), "GET k", "$-1")
}

func TestRedisThatPersistsIsBackAfterKill(t *testing.T) {
	t.Parallel()
	s := Start(t, Redis, "--appendonly", "yes", "--appendfsync", "always")
	expect(t, dial(t, s.Addr()), "SET k v", "+OK")
	s.Restart()
	expect(t, dial(t, s.Addr()), "GET k", "$1")
}

func TestKillOfAFrozenServer(t *testing.T) {
	t.Parallel()
	s := Start(t, Redis)
	s.Freeze()
	s.Freeze() // a second one changes nothing
	s.Kill()
	s.Kill()
	s.Resume()
	s.Restart()
	expect(t, dial(t, s.Addr()), "PING", "+PONG")
}

func TestPrivateCopiesDoNotMeet(t *testing.T) {
	t.Parallel()
	a, b := Start(t, Redis), Start(t, Redis)
	expect(t, dial(t, a.Addr()), "SET k v", "+OK")
	expect(t, dial(t, b.Addr()), "GET k", "$-1")
}

func TestSQS(t *testing.T) {
	for _, kind := range []Kind{SQSEast, SQSWest, Moto} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := Start(t, kind)
			if arn, want := createQueue(t, s, kind, "orders"), region(kind); !strings.Contains(arn, want) {
				t.Errorf("queue is %q, want Region %s", arn, want)
			}
			s.Freeze()
			if _, err := call(s, kind, "ListQueues", "{}", silence); !os.IsTimeout(err) {
				t.Fatalf("ListQueues of a frozen server: %v, want no answer", err)
			}
			s.Resume()
			if out, err := call(s, kind, "ListQueues", "{}", 10*time.Second); !strings.Contains(out, "orders") {
				t.Fatalf("ListQueues after Resume: %q, %v", out, err)
			}
			s.Restart()
			if out, err := call(s, kind, "ListQueues", "{}", 10*time.Second); err != nil || strings.Contains(out, "orders") {
				t.Fatalf("ListQueues after Restart: %q, %v, want no queue", out, err)
			}
		})
	}
}

func region(kind Kind) string {
	if kind == SQSWest {
		return "us-west-2"
	}
	return "us-east-1"
}

func TestPostgresStandbyReplays(t *testing.T) {
	t.Parallel()
	primary := Start(t, Postgres)
	standby := primary.Standby()
	primary.Query("create table orders (id int primary key)")
	primary.Query("insert into orders values (1)")
	standby.AwaitReplay(primary)
	wantQuery(t, standby, "select count(*) from orders", "1")
	wantQuery(t, standby, "select pg_is_in_recovery()", "t")

	standby.Freeze()
	primary.Query("insert into orders values (2)")
	standby.Resume()
	standby.AwaitReplay(primary)
	wantQuery(t, standby, "select count(*) from orders", "2")

	primary.Restart()
	primary.Query("insert into orders values (3)")
	standby.AwaitReplay(primary)
	wantQuery(t, standby, "select count(*) from orders", "3")
}

func TestPostgresFrozenPrimaryAnswersNobody(t *testing.T) {
	t.Parallel()
	primary := Start(t, Postgres)
	u, err := url.Parse(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	primary.Freeze()
	conn := dial(t, u.Host)
	if _, err := io.WriteString(conn, "\x00\x00\x00\x08\x04\xd2\x16\x2f"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a frozen primary answered %d bytes, %v", n, err)
	}
}

func TestPostgresFailoverAndRejoin(t *testing.T) {
	t.Parallel()
	old := Start(t, Postgres)
	survivor := old.Standby()
	old.Query("create table orders (id int primary key)")
	survivor.AwaitReplay(old)

	survivor.Promote()
	old.Query("insert into orders values (1)") // a split brain: nobody told the old primary
	survivor.Query("insert into orders values (2)")
	old.Kill()

	old.Rejoin(survivor)
	survivor.Query("insert into orders values (3)")
	old.AwaitReplay(survivor)
	wantQuery(t, old, "select string_agg(id::text, ',' order by id) from orders", "2,3")
	wantQuery(t, old, "select pg_is_in_recovery()", "t")
}

func wantQuery(t *testing.T, s *Server, sql, want string) {
	t.Helper()
	if got := s.Query(sql); got != want {
		t.Errorf("%s = %q, want %q", sql, got, want)
	}
}

func TestStartWithArgumentsForAnotherKind(t *testing.T) {
	r := record(t, func(t testing.TB) { Start(t, Moto, "--verbose") })
	if testing.Short() {
		t.Skip("Start skips everything with -short")
	}
	if !strings.Contains(r.failed, "takes no arguments") {
		t.Errorf("Start(Moto, args) failed with %q", r.failed)
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	if testing.Short() {
		t.Skip("Start skips everything with -short")
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "")
	r := record(t, func(t testing.TB) { Start(t, Redis) })
	if want := "kit redis: redis-server is missing: scripts/servers up installs it"; r.skipped != want {
		t.Errorf("Start skipped with %q, want %q", r.skipped, want)
	}
	t.Setenv("CI", "true")
	r = record(t, func(t testing.TB) { Start(t, Redis) })
	if !strings.Contains(r.failed, "redis-server is missing") {
		t.Errorf("Start in CI failed with %q", r.failed)
	}
}

// dial connects to addr for the time of the test.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, command string) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

// read reads one line of a reply.
func read(conn net.Conn, within time.Duration) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// expect sends a command and compares the first line of the reply.
func expect(t *testing.T, conn net.Conn, command, want string) {
	t.Helper()
	send(t, conn, command)
	if got, err := read(conn, 10*time.Second); got != want {
		t.Fatalf("%s = %q, %v, want %q", command, got, err, want)
	}
}

// createQueue creates a queue and returns its ARN.
func createQueue(t *testing.T, s *Server, kind Kind, name string) string {
	t.Helper()
	out, err := call(s, kind, "CreateQueue", fmt.Sprintf(`{"QueueName":%q}`, name), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(out, `"QueueUrl":`)
	queueURL := strings.Split(rest, `"`)[1]
	out, err = call(s, kind, "GetQueueAttributes", fmt.Sprintf(`{"QueueUrl":%q,"AttributeNames":["QueueArn"]}`, queueURL), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// call calls one action of SQS without an SDK. The servers check no signature, but take the
// Region from it.
func call(s *Server, kind Kind, action, body string, within time.Duration) (string, error) {
	req, err := http.NewRequest(http.MethodPost, s.Addr()+"/", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/"+region(kind)+"/sqs/aws4_request, SignedHeaders=host, Signature=0")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: within}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return string(out), err
}
