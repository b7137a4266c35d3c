package degradehttp

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/internal/request"
)

// A Kind says what a route does.
type Kind uint8

const (
	KindByMethod Kind = iota // GET and QUERY read, others write
	KindRead                 // such as a POST that searches
	KindWrite                // such as a GET that is called back by another service and stores something
	KindOptional             // work nobody misses at once
	KindPass                 // neither refused nor marked: health, logout, what ends an outage
)

// A Route says which feature a pattern belongs to and what it does.
type Route struct {
	Feature *degrade.Feature // nil = Config.Feature
	Kind    Kind
}

// Config configures [Middleware].
type Config struct {
	// Feature is the feature of requests that no route names; nil = they pass.
	Feature *degrade.Feature

	// Routes by pattern, with the syntax and the precedence of [http.ServeMux].
	Routes map[string]Route

	// Pass are patterns of requests that always pass. Nil = GET of /healthz, /readyz, /livez, /metrics and /debug/pprof/. Routes with
	// the same pattern win.
	Pass []string
}

// Middleware returns a middleware that refuses what the level of its feature forbids and marks answers that are degraded. An
// admitted request costs two allocations; one whose path may be meant by several routes, or by one with a wildcard or a host,
// also costs what ServeMux takes to match it, unless a ServeMux around the middleware has found that route already (Request.Pattern).
// Errors name the field.
func Middleware(c *degrade.Controller, cfg Config) (func(http.Handler) http.Handler, error) {
	if c == nil {
		return nil, errors.New("degradehttp: Middleware: a nil Controller")
	}
	m := middleware{c: c, fallback: Route{Feature: cfg.Feature}, routes: map[string]Route{}, mux: http.NewServeMux()}
	if cfg.Feature == nil {
		m.fallback.Kind = KindPass
	}
	if cfg.Pass == nil {
		cfg.Pass = []string{"GET /healthz", "GET /readyz", "GET /livez", "GET /metrics", "GET /debug/pprof/"}
	}
	for _, pattern := range cfg.Pass {
		m.routes[pattern] = Route{Kind: KindPass}
	}
	for pattern, route := range cfg.Routes {
		if route.Feature == nil {
			route.Feature = cfg.Feature
		}
		if route.Kind > KindPass {
			return nil, fmt.Errorf("degradehttp: Config.Routes[%q]: %d is not a Kind", pattern, route.Kind)
		}
		if route.Feature == nil && route.Kind != KindPass {
			return nil, fmt.Errorf("degradehttp: Config.Routes[%q]: no Feature", pattern)
		}
		m.routes[pattern] = route
	}
	for _, pattern := range slices.Sorted(maps.Keys(m.routes)) {
		if err := m.handle(pattern); err != nil {
			return nil, err
		}
	}
	return func(next http.Handler) http.Handler {
		m := m
		m.next = next
		return &m
	}, nil
}

type middleware struct {
	c          *degrade.Controller
	fallback   Route
	routes     map[string]Route
	mux        *http.ServeMux // only matches
	candidates []candidate    // of mux
	next       http.Handler
}

// handle turns ServeMux's panic about a malformed or conflicting pattern into an error.
func (m *middleware) handle(pattern string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("degradehttp: Config: pattern %q: %v", pattern, p)
		}
	}()
	m.mux.Handle(pattern, http.NotFoundHandler())
	m.candidates = append(m.candidates, newCandidate(pattern, m.routes[pattern]))
	return nil
}

// route finds the route of r.
func (m *middleware) route(r *http.Request) Route {
	if r.URL.RawPath != "" { // what is escaped in it is not what it looks like
		return m.ask(r)
	}
	if route, ok := m.matched(r); ok {
		return route
	}
	var found *candidate
	for i := range m.candidates {
		c := &m.candidates[i]
		if !c.mayMatch(r) {
			if c.plain && !c.whole && len(r.URL.Path)+1 == len(c.literal) && strings.HasPrefix(c.literal, r.URL.Path) { // ServeMux leads it to the folder
				return m.ask(r)
			}
			continue
		}
		if found != nil || !c.plain {
			return m.ask(r)
		}
		found = c
	}
	if found != nil {
		return found.route
	}
	return m.fallback
}

// matched is the route of the pattern that a ServeMux around has found for r, unless there is a route that may be more specific: that
// one's path is literal at least as far.
func (m *middleware) matched(r *http.Request) (Route, bool) {
	if r.Pattern == "" {
		return Route{}, false
	}
	outer := slices.IndexFunc(m.candidates, func(c candidate) bool { return c.pattern == r.Pattern })
	if outer < 0 {
		return Route{}, false
	}
	for i := range m.candidates {
		if c := &m.candidates[i]; i != outer && len(c.literal) >= len(m.candidates[outer].literal) && c.mayMatch(r) {
			return Route{}, false
		}
	}
	return m.candidates[outer].route, true
}

// ask lets ServeMux decide between several candidates, which allocates.
func (m *middleware) ask(r *http.Request) Route {
	_, pattern := m.mux.Handler(r)
	if route, ok := m.routes[pattern]; ok {
		return route
	}
	return m.fallback
}

// A candidate is a pattern as far as it can be told without ServeMux that it does not match.
type candidate struct {
	pattern string // as given
	method  string // "" = any
	literal string // the path up to the first wildcard
	whole   bool   // literal is the whole path, not its beginning
	plain   bool   // there is nothing more to it: no host, no wildcard
	route   Route
}

func newCandidate(pattern string, route Route) candidate {
	c := candidate{pattern: pattern, route: route, plain: true}
	rest := pattern
	if method, after, found := strings.Cut(pattern, " "); found {
		c.method, rest = method, strings.TrimLeft(after, " \t")
	}
	if slash := strings.IndexByte(rest, '/'); slash > 0 {
		c.plain, rest = false, rest[slash:]
	}
	literal, _, wild := strings.Cut(rest, "{")
	c.literal, c.whole = literal, !wild && !strings.HasSuffix(literal, "/")
	c.plain = c.plain && !wild
	return c
}

func (c *candidate) mayMatch(r *http.Request) bool {
	if c.method != "" && c.method != r.Method && (c.method != http.MethodGet || r.Method != http.MethodHead) {
		return false
	}
	if c.whole {
		return r.URL.Path == c.literal
	}
	return strings.HasPrefix(r.URL.Path, c.literal)
}

// op is what r wants; pass if it may do so at any level.
func (k Kind) op(r *http.Request) (op degrade.Op, pass bool) {
	switch {
	case k == KindPass || r.Method == http.MethodHead || r.Method == http.MethodOptions:
		return 0, true
	case k == KindRead:
		return degrade.OpRead, false
	case k == KindWrite:
		return degrade.OpWrite, false
	case k == KindOptional:
		return degrade.OpOptional, false
	case r.Method == http.MethodGet || r.Method == "QUERY" || r.Method == http.MethodTrace:
		return degrade.OpRead, false
	}
	return degrade.OpWrite, false
}

func (m *middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route := m.route(r)
	op, pass := route.Kind.op(r)
	if pass {
		m.next.ServeHTTP(w, r)
		return
	}
	e := &exchange{feature: route.Feature}
	e.ResponseWriter = w
	e.request.Context, e.request.Owner, e.request.Outer = r.Context(), request.Open{}, request.From(r.Context())
	ctx := m.c.Pin(&e.request)
	if err := route.Feature.Allow(ctx, op); err != nil {
		Error(w, r, err)
		return
	}
	m.next.ServeHTTP(e, r.WithContext(ctx))
	e.begin() // an answer without a body is begun by the server after this
}

// Guard returns h behind feature's level: a request is refused if op is not allowed. HEAD and OPTIONS pass.
func Guard(f *degrade.Feature, op degrade.Op, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead && r.Method != http.MethodOptions {
			if err := f.Allow(r.Context(), op); err != nil {
				Error(w, r, err)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}
