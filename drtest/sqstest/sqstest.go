package sqstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A Server is an SQS endpoint. It is an [http.Handler], safe for concurrent use; it starts no
// goroutine, and has a timer only while a long poll is open.
type Server struct {
	region   string
	account  string
	endpoint string
	inFlight int // limit of a queue
	seed     uint64
	stamp    func() time.Time // what consumers are told; leases and delays run on plain time
	done     chan struct{}
	close    sync.Once

	mu      sync.Mutex // guards regions, faults, draws and calls
	regions map[string]*region
	faults  []*active
	draws   *rand.Rand
	calls   map[string]*Calls
}

// Config configures a [Server]. The zero value is ready to use.
type Config struct {
	// Region is the one Region this server serves; a request signed for another one is refused, as
	// AWS does. Empty means every Region on one endpoint: the signature says which, and Regions
	// share nothing. Then the home Region, which [Server.Queue] means, is us-east-1.
	Region string

	// Account is the account id in ARNs and queue URLs, twelve digits. Empty means 000000000000.
	Account string

	// Endpoint is the base of queue URLs, such as "https://sqs.eu-west-1.amazonaws.com". A request
	// with the URL of another endpoint is then refused with InvalidAddress. Empty means the host
	// of each request, and no refusal.
	Endpoint string

	// InFlight is how many messages of one queue may be in flight. Zero means 120,000, AWS's
	// quota. Beyond it, ReceiveMessage fails with OverLimit on a standard queue and brings
	// nothing on a FIFO queue.
	InFlight int

	// Seed fixes message ids and the draws of faults. Zero means a random seed.
	Seed uint64
}

// New returns a server. Its errors name the field of cfg that is wrong.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Account != "" && (len(cfg.Account) != 12 || !only(cfg.Account, "0123456789")):
		return nil, fmt.Errorf("sqstest: Config.Account: %q is not twelve digits", cfg.Account)
	case cfg.Region != "" && !only(cfg.Region, wordDash):
		return nil, fmt.Errorf("sqstest: Config.Region: %q has characters that no Region has", cfg.Region)
	case cfg.Endpoint != "" && !strings.Contains(cfg.Endpoint, "://"):
		return nil, fmt.Errorf("sqstest: Config.Endpoint: %q is not an absolute URL", cfg.Endpoint)
	case cfg.InFlight < 0:
		return nil, fmt.Errorf("sqstest: Config.InFlight: %d is negative", cfg.InFlight)
	}
	s := &Server{
		region: cfg.Region, account: cfg.Account, endpoint: strings.TrimSuffix(cfg.Endpoint, "/"),
		inFlight: cfg.InFlight, seed: cfg.Seed, stamp: time.Now,
		done: make(chan struct{}), regions: map[string]*region{}, calls: map[string]*Calls{},
	}
	if s.account == "" {
		s.account = "000000000000"
	}
	if s.inFlight == 0 {
		s.inFlight = inFlightMessages
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	s.draws = simnet.Stream(s.seed, "faults")
	return s, nil
}

// Close ends every open poll, delay and hang; later requests are answered with 503. Call it before
// the close of an [net/http/httptest.Server] in front, which waits for open requests. A second
// call does nothing.
func (s *Server) Close() {
	s.close.Do(func() { close(s.done) })
	for _, g := range s.all() {
		g.mu.Lock()
		for _, q := range g.queues {
			q.arm(time.Now())
		}
		g.mu.Unlock()
	}
}

func (s *Server) closed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// home is the Region that introspection means.
func (s *Server) home() string {
	if s.region == "" {
		return "us-east-1"
	}
	return s.region
}

// in returns the Region's state, made at its first use.
func (s *Server) in(name string) *region {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.regions[name]
	if g == nil {
		g = &region{
			server: s, name: name, queues: map[string]*queue{}, deleted: map[string]time.Time{},
			ids: simnet.Stream(s.seed, "ids/"+name),
		}
		s.regions[name] = g
	}
	return g
}

func (s *Server) all() []*region {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*region
	for _, g := range s.regions {
		all = append(all, g)
	}
	return all
}

// ServeHTTP answers one request in the AWS JSON 1.0 protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := s.accept(r)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	p := s.plan(c.op, c.queueName())
	s.delay(p.latency)
	c.twice, c.poison = p.twice, p.poison
	var out any
	switch {
	case p.hang:
		s.hang(r)
	case p.refusal != nil:
		err = p.refusal
	default:
		out, err = c.run()
	}
	if err != nil {
		s.countError(c.op)
	}
	switch {
	case p.hangReply:
		s.hang(r)
	case p.dropReply:
		panic(http.ErrAbortHandler)
	}
	s.reply(w, out, err)
}

// target is what comes before the action's name in the X-Amz-Target header.
const target = "AmazonSQS."

// accept reads the request: which action, in which Region, with what.
func (s *Server) accept(r *http.Request) (*call, *apiError) {
	if s.closed() {
		return nil, errUnavailable.with("The server is closed.")
	}
	op, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), target)
	if r.Method != http.MethodPost || !ok || !slices.Contains(Operations(), op) {
		return nil, errUnknownOperation.with("The action %q is not valid for this endpoint.", op)
	}
	key, region := signer(r.Header.Get("Authorization"))
	if region == "" {
		region = s.home()
	}
	if s.region != "" && region != s.region {
		return nil, errSignature.with("Credential should be scoped to a valid region: %q, not %q.", s.region, region)
	}
	body, err := readAll(r)
	if err != nil {
		return nil, errSerialization.with("The request cannot be read: %v", err)
	}
	in, bad := decode(body)
	if bad != nil {
		return nil, bad
	}
	return &call{op: op, in: in, region: s.in(region), base: s.base(r), sender: key}, nil
}

var errTooLong = errors.New("request body too long")

func readAll(r *http.Request) ([]byte, error) {
	if r.ContentLength > requestBytes {
		return nil, errTooLong
	}
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(r.Body, requestBytes+1))
	if n > requestBytes {
		return nil, errTooLong
	}
	return buf.Bytes(), err
}

// signer reads the access key and the Region out of a version 4 signature, which is not verified.
func signer(authorization string) (key, region string) {
	_, rest, ok := strings.Cut(authorization, "Credential=")
	if !ok {
		return "ANONYMOUS", ""
	}
	rest, _, _ = strings.Cut(rest, ",")
	scope := strings.Split(strings.TrimSpace(rest), "/")
	if len(scope) != 5 || !only(scope[2], wordDash) {
		return "ANONYMOUS", ""
	}
	return scope[0], scope[2]
}

func (s *Server) base(r *http.Request) string {
	if s.endpoint != "" {
		return s.endpoint
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// reply writes the result or the error.
func (s *Server) reply(w http.ResponseWriter, out any, err *apiError) {
	status := http.StatusOK
	h := w.Header()
	if err != nil {
		out = errorOutput{Type: err.kind.shape, Message: err.message}
		status = err.kind.status
		h.Set("X-Amzn-Query-Error", err.kind.code+";"+err.kind.fault())
	}
	body, _ := json.Marshal(out) // our own types: it cannot fail
	h.Set("Content-Type", "application/x-amz-json-1.0")
	h.Set("Date", s.stamp().UTC().Format(http.TimeFormat))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; the action has been done all the same
}
