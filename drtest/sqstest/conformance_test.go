package sqstest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// A rule is one thing that the documentation of SQS says.
type rule struct {
	name  string
	says  string        // where
	takes time.Duration // virtual time beyond what a test may wait for in real time
	check func(*kit)
}

// A kit is what a rule has in hand: a client of the server under test, time and names.
type kit struct {
	ctx       context.Context
	client    *sqs.Client
	elsewhere *sqs.Client // the same endpoint, another Region
	prefix    string
	slack     time.Duration // zero in virtual time
}

// A broken is the panic of a rule that does not hold.
type broken string

func (k *kit) fail(format string, args ...any) { panic(broken(fmt.Sprintf(format, args...))) }

func (k *kit) must(what string, err error) {
	if err != nil {
		k.fail("%s: %v", what, err)
	}
}

// run applies the rule and returns how it is broken, or "".
func (r rule) run(k *kit) (complaint string) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case broken:
			complaint = string(p)
		default:
			panic(p)
		}
	}()
	r.check(k)
	return ""
}

// What a rule may take on a server in real time, and how much later than at once things may
// happen on a busy machine.
const (
	longest = 5 * time.Second
	slack   = 1500 * time.Millisecond
)

func TestConformanceVirtual(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, sqstest.Config{})
				defer s.Close()
				judge(t, "sqstest", r, r.run(newKit(t, inProcess{s}, "http://sqs.test")))
				s.Close()
				synctest.Wait()
			})
		})
	}
}

func TestConformanceLoopback(t *testing.T) {
	s := newServer(t, sqstest.Config{})
	ts := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); ts.Close() })
	conform(t, "sqstest", ts.URL)
}

func TestConformanceFauxqs(t *testing.T) { conform(t, "fauxqs", servertest.Env(t, servertest.SQSA)) }

func TestConformanceMoto(t *testing.T) { conform(t, "moto", servertest.Env(t, servertest.SharedMoto)) }

// atOnce is how many rules run at a time against a server: they mostly wait.
const atOnce = 16

// conform holds a server in real time to the rules. They run side by side before the subtests
// that report them, as parallel subtests would run only one per core.
func conform(t *testing.T, server, url string) {
	transport := &sqstest.Transport{Base: &http.Transport{MaxIdleConnsPerHost: 100}}
	t.Cleanup(transport.CloseIdleConnections)
	all := rules()
	complaints := make([]string, len(all))
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i, r := range all {
		if r.takes > longest {
			continue
		}
		k := newKit(t, transport, url)
		k.slack = slack
		running.Go(func() {
			slots <- struct{}{}
			complaints[i] = r.run(k)
			<-slots
		})
	}
	running.Wait()
	for i, r := range all {
		t.Run(r.name, func(t *testing.T) {
			if r.takes > longest {
				t.Skipf("takes %v, too long in real time; sqstest is held to it in virtual time", r.takes)
			}
			judge(t, server, r, complaints[i])
		})
	}
}

// judge holds the server to the rule, or to its declared deviation: a deviation that is gone must
// leave the list.
func judge(t *testing.T, server string, r rule, complaint string) {
	t.Helper()
	d, declared := deviations()[server][r.name]
	switch {
	case !declared && complaint != "":
		t.Errorf("%s (%s): %s", r.name, r.says, complaint)
	case declared && complaint == "":
		t.Errorf("%s: declared deviation %q is gone; take it off the list", r.name, d.does)
	case declared && !strings.Contains(complaint, d.seen):
		t.Errorf("%s: deviates as %q, declared as %q", r.name, complaint, d.seen)
	case declared:
		t.Logf("deviates as declared: %s", d.does)
	}
}

var kits atomic.Int64

func newKit(t *testing.T, transport http.RoundTripper, url string) *kit {
	client := func(region string) *sqs.Client {
		return sqs.New(sqs.Options{
			Region: region, BaseEndpoint: aws.String(url), Retryer: aws.NopRetryer{},
			HTTPClient: &http.Client{Transport: transport}, Credentials: credentials{},
		})
	}
	return &kit{
		ctx: t.Context(), client: client("us-east-1"), elsewhere: client("eu-west-1"),
		prefix: fmt.Sprintf("h%d-%d", os.Getpid(), kits.Add(1)),
	}
}

type credentials struct{}

func (credentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "secret"}, nil
}

func newServer(t testing.TB, cfg sqstest.Config) *sqstest.Server {
	t.Helper()
	s, err := sqstest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inProcess calls a handler without a network. Like a server over a network it goes on when the
// caller gave up.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	served, stop := context.WithCancel(context.WithoutCancel(r.Context()))
	in := r.Clone(served)
	in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	replied := make(chan *http.Response, 1)
	go func() {
		defer close(replied)
		defer stop()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, in)
		replied <- w.Result()
	}()
	select {
	case resp, ok := <-replied:
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		return resp, nil
	case <-r.Context().Done():
		stop() // the connection is closed
		return nil, r.Context().Err()
	}
}

// code is the code of an API error, shape and query code alike, or the error's text.
func code(err error) string {
	if err == nil {
		return "success"
	}
	if api, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok {
		return api.ErrorCode()
	}
	return err.Error()
}
