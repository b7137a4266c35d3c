package page_test

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/failover"
)

func emptyState() page.State { return page.State{} }

func anybody(*http.Request) (string, error) { return "ada", nil }

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	good := page.Action{ID: "heal", Label: "Heal", Do: nothing}
	with := func(change func(*page.Action)) page.Config {
		a := good
		change(&a)
		return page.Config{State: emptyState, Authorize: anybody, Actions: []page.Action{a}}
	}
	tests := map[string]page.Config{
		"Config.State: nil":                                {},
		"Config.Authorize: nil":                            {State: emptyState, Actions: []page.Action{good}},
		"Config.Every: 99ms":                               {State: emptyState, Every: 99 * time.Millisecond},
		"Config.Every: -1s":                                {State: emptyState, Every: -time.Second},
		"Config.Heartbeat: 1ms is below the minimum 1s":    {State: emptyState, Heartbeat: time.Millisecond},
		"Config.WriteTimeout: 1ms is below the minimum":    {State: emptyState, WriteTimeout: time.Millisecond},
		"Config.ActionTimeout: 1ms is below the minimum":   {State: emptyState, ActionTimeout: time.Millisecond},
		"Config.MaxStreams: -1 is negative":                {State: emptyState, MaxStreams: -1},
		`Config.Actions[1].ID: "heal" is there twice`:      {State: emptyState, Authorize: anybody, Actions: []page.Action{good, good}},
		`Config.Actions[0].ID: "Heal all"`:                 with(func(a *page.Action) { a.ID = "Heal all" }),
		`Config.Actions[0].ID: "../x"`:                     with(func(a *page.Action) { a.ID = "../x" }),
		"Config.Actions[0].Label: empty":                   with(func(a *page.Action) { a.Label = "" }),
		"Config.Actions[0].Do: nil":                        with(func(a *page.Action) { a.Do = nil }),
		"Config.Actions[0].Undo: there is no Fault to end": with(func(a *page.Action) { a.Undo = nothing }),
		"Config.Actions[0].Move: it is set by the page":    with(func(a *page.Action) { a.Move = "m-1" }),
	}
	for want, cfg := range tests {
		if p, err := page.New(cfg); err == nil || p != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, %v, want an error with %q", p, err, want)
		}
	}
	if _, err := page.New(page.Config{State: emptyState}); err != nil {
		t.Errorf("New with the defaults = %v", err)
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	h := newPage(t, page.Config{State: emptyState, Title: `<img src=x onerror="alert(1)">`, People: []string{"</select><script>"}})
	for path, want := range map[string]struct {
		status int
		kind   string
	}{
		"/":            {200, "text/html; charset=utf-8"},
		"/page.css":    {200, "text/css; charset=utf-8"},
		"/page.js":     {200, "text/javascript; charset=utf-8"},
		"/icon.svg":    {200, "image/svg+xml"},
		"/state":       {200, "application/json"},
		"/index.html":  {404, ""},
		"/assets/":     {404, ""},
		"/nothing":     {404, ""},
		"/actions/x":   {405, ""}, // GET
		"/../page.css": {307, ""},
	} {
		w := serve(h, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want.status || want.kind != "" && w.Header().Get("Content-Type") != want.kind {
			t.Errorf("GET %s = %d, %q, want %v", path, w.Code, w.Header().Get("Content-Type"), want)
		}
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, part) || strings.Contains(policy, "unsafe") {
				t.Errorf("GET %s: policy %q, want it with %q and nothing unsafe", path, policy, part)
			}
		}
		if path == "/" && (strings.Contains(w.Body.String(), "<img src=x") || strings.Contains(w.Body.String(), "</select><script>")) {
			t.Errorf("GET / does not escape what it is configured with: %s", w.Body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		if w := serve(h, httptest.NewRequest(method, "/", nil)); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s / = %d, want 405", method, w.Code)
		}
	}
}

func TestAssetsAreKeptByTheBrowser(t *testing.T) {
	h := newPage(t, page.Config{State: emptyState})
	first := serve(h, httptest.NewRequest(http.MethodGet, "/page.js", nil))
	again := httptest.NewRequest(http.MethodGet, "/page.js", nil)
	again.Header.Set("If-None-Match", first.Header().Get("ETag"))
	if w := serve(h, again); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("GET with the ETag = %d with %d bytes, want 304 with none", w.Code, w.Body.Len())
	}
}

// The page must work where there is no internet, and under its own policy.
func TestAssetsNeedNothingElse(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]|@import|innerHTML|insertAdjacentHTML|\beval\(|new Function|document\.write|\son[a-z]+="|\sstyle="|<style|<script>`)
	size := 0
	err := fs.WalkDir(os.DirFS("assets"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile("assets/" + path)
		size += len(data)
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "") // a name, not an address
		for _, found := range forbidden.FindAllString(text, -1) {
			t.Errorf("assets/%s has %q", path, found)
		}
		return err
	})
	styles, _ := os.ReadFile("assets/page.css")
	if calm, _, _ := strings.Cut(string(styles), "@media (prefers-reduced-motion: no-preference)"); strings.Contains(calm, "transition:") || strings.Contains(calm, "animation") {
		t.Error("assets/page.css moves things for who asked for less motion")
	}
	if err != nil || size > 64<<10 {
		t.Errorf("assets are %d bytes, %v, want at most 64 KiB", size, err)
	}
}

func TestLoopback(t *testing.T) {
	tests := []struct {
		name, from, host, form, want string
	}{
		{"the first of the people", "127.0.0.1:5", "localhost:8080", "", "ada"},
		{"the one who was chosen", "[::1]:5", "[::1]:8080", "as=grace", "grace"},
		{"mapped address", "[::ffff:127.0.0.1]:5", "127.0.0.1:8080", "as=ada", "ada"},
		{"host without a port", "127.0.0.1:5", "orders.localhost", "", "ada"},
		{"somebody else", "127.0.0.1:5", "localhost", "as=mallory", ""},
		{"another machine", "192.0.2.7:5", "localhost", "", ""},
		{"another site's name that leads here", "127.0.0.1:5", "evil.example:8080", "", ""},
		{"a name that only begins well", "127.0.0.1:5", "localhost.evil.example", "", ""},
		{"no address", "pipe", "localhost", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tt.form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.RemoteAddr, r.Host = tt.from, tt.host
			if by, err := page.Loopback("ada", "grace")(r); by != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("Loopback = %q, %v, want %q", by, err, tt.want)
			}
		})
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:5", "localhost"
	if by, err := page.Loopback()(r); by != "operator" || err != nil {
		t.Errorf("Loopback without people = %q, %v, want operator", by, err)
	}
}

// waitingState has a move that waits for approval.
func waitingState(id string) page.State {
	return page.State{Decision: failover.Status{
		DecisionID: "d-1", Epoch: failover.FormatEpoch(1<<48 | 7), Phase: failover.PhaseAwaitApproval, Writer: east,
		Transition: &failover.Transition{ID: id, From: east, To: west, By: "ada", Reason: "test"},
	}}
}

var errBroken = errors.New("the part is broken")

func newPage(t *testing.T, cfg page.Config) *page.Page {
	t.Helper()
	p, err := page.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
