package page_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/page"
)

func nothing(context.Context, page.Action, string) error { return nil }

// pressing is a POST of a button's form.
func pressing(id, form string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/actions/"+id, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// running returns a page that has read its State, in the bubble of t, with which it ends.
func running(t *testing.T, cfg page.Config) *page.Page {
	t.Helper()
	p := newPage(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	synctest.Wait()
	return p
}

func TestPress(t *testing.T) {
	var did []string
	do := func(what string, err error) func(context.Context, page.Action, string) error {
		return func(_ context.Context, a page.Action, by string) error {
			did = append(did, strings.TrimSpace(what+" "+a.ID+" "+by+" "+a.Move))
			return err
		}
	}
	state := waitingState("m-7")
	state.Faults = []page.Fault{{ID: "sqs"}, {ID: "lag"}}
	cfg := page.Config{
		State: func() page.State { return state },
		Authorize: func(r *http.Request) (string, error) {
			switch as := r.FormValue("as"); as {
			case "mallory":
				return "", errors.New("mallory may not")
			case "crash":
				panic("no such directory service")
			default:
				return as, nil
			}
		},
		Actions: []page.Action{
			{ID: "plain", Label: "Plain", Do: do("did", nil)},
			{ID: "broken", Label: "Broken", Do: do("tried", errBroken)},
			{ID: "panics", Label: "Panics", Do: func(context.Context, page.Action, string) error { panic("oh") }},
			{ID: "never", Label: "Never", Do: do("did", nil), Unavailable: func(page.State) string { return "it is Sunday" }},
			{ID: "redis", Label: "Redis", Fault: "redis", Do: do("broke", nil), Undo: do("healed", nil)},
			{ID: "sqs", Label: "SQS", Fault: "sqs", Do: do("broke", nil), Undo: do("healed", nil)},
			{ID: "lag", Label: "Lag", Fault: "lag", Do: do("broke", nil)},
			{ID: "approve", Label: "Approve", Pending: true, Do: do("did", nil)},
		},
	}
	tests := []struct {
		name, id, form string
		status         int
		answer, did    string
	}{
		{"done", "plain", "as=ada", 200, "Plain: done", "did plain ada"},
		{"Do fails", "broken", "as=ada", 422, "the part is broken", "tried broken ada"},
		{"Do panics", "panics", "as=ada", 500, "panic: oh", ""},
		{"not authorized", "plain", "as=mallory", 403, "mallory may not", ""},
		{"nobody", "plain", "", 403, "returned no name", ""},
		{"the authorizer panics", "plain", "as=crash", 403, "no such directory service", ""},
		{"no such button", "nothing", "as=ada", 404, "no such button", ""},
		{"no such button for one who may not know", "nothing", "as=mallory", 403, "mallory", ""},
		{"unavailable", "never", "as=ada", 409, "it is Sunday", ""},
		{"breaks", "redis", "as=ada", 200, "done", "broke redis ada"},
		{"breaks what is broken", "sqs", "as=ada", 409, "it is active already", ""},
		{"heals", "sqs", "as=ada&undo=1", 200, "Heal SQS: done", "healed sqs ada"},
		{"heals what is whole", "redis", "as=ada&undo=1", 409, "nothing to heal", ""},
		{"heals with a button that cannot", "lag", "as=ada&undo=1", 409, "heals nothing", ""},
		{"approves what was on the screen", "approve", "as=ada&move=m-7", 200, "done", "did approve ada m-7"},
		{"approves another move", "approve", "as=ada&move=m-6", 409, "another one waits", ""},
		{"approves no move", "approve", "as=ada", 409, "another one waits", ""},
		{"too large", "plain", "as=" + strings.Repeat("a", 5000), 413, "too large", ""},
		{"not a form", "plain", "as=%zz", 400, "invalid URL escape", ""},
		{"an ID that is a path", "%2e%2e%2fplain", "as=ada", 404, "", ""},
	}
	synctest.Test(t, func(t *testing.T) {
		p := running(t, cfg)
		for _, tt := range tests {
			did = nil
			w := serve(p, pressing(tt.id, tt.form))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.answer) || strings.Join(did, ", ") != tt.did {
				t.Errorf("%s: POST = %d %s, did %q, want %d with %q, did %q", tt.name, w.Code, w.Body, did, tt.status, tt.answer, tt.did)
			}
			if kind := w.Header().Get("Content-Type"); tt.status >= 400 && tt.status != 404 && kind != "application/problem+json" {
				t.Errorf("%s: Content-Type = %q, want problem details", tt.name, kind)
			}
		}
		r := httptest.NewRequest(http.MethodPost, "/actions/plain", strings.NewReader(`{"as":"ada"}`))
		r.Header.Set("Content-Type", "application/json")
		if w := serve(p, r); w.Code != http.StatusUnsupportedMediaType {
			t.Errorf("POST of JSON = %d, want 415", w.Code)
		}
	})
}

func TestApproveIsRefusedWhenNothingWaits(t *testing.T) {
	cfg := page.Config{State: emptyState, Authorize: anybody, Actions: []page.Action{{ID: "approve", Label: "Approve", Pending: true, Do: nothing}}}
	synctest.Test(t, func(t *testing.T) {
		p := running(t, cfg)
		if w := serve(p, pressing("approve", "move=m-1")); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "no move waits") {
			t.Errorf("POST = %d %s, want 409", w.Code, w.Body)
		}
	})
}

func TestButtonsOfOtherSitesAreRefused(t *testing.T) {
	pressed := 0
	p := newPage(t, page.Config{State: emptyState, Authorize: anybody, Actions: []page.Action{{ID: "heal", Label: "Heal", Do: func(context.Context, page.Action, string) error {
		pressed++
		return nil
	}}}})
	tests := []struct {
		name   string
		header http.Header
		want   int
	}{
		{"the page itself", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://orders.test"}}, 200},
		{"an old browser, the page itself", http.Header{"Origin": {"http://orders.test"}}, 200},
		{"no browser", nil, 200},
		{"another site", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}, 403},
		{"another site that hides its name", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"null"}}, 403},
		{"a sibling of the same site", http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		{"an old browser, another site", http.Header{"Origin": {"https://evil.example"}}, 403},
		{"an old browser, another port", http.Header{"Origin": {"http://orders.test:81"}}, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pressed = 0
			r := pressing("heal", "")
			r.Host = "orders.test"
			for name, values := range tt.header {
				r.Header[name] = values
			}
			w := serve(p, r)
			if w.Code != tt.want || pressed != map[int]int{200: 1, 403: 0}[tt.want] {
				t.Errorf("POST = %d, pressed %d times, want %d: %s", w.Code, pressed, tt.want, w.Body)
			}
		})
	}
}

func TestDoHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, causes := make(chan struct{}), make(chan error)
		p := running(t, page.Config{State: emptyState, Authorize: anybody, ActionTimeout: 3 * time.Second, Actions: []page.Action{{
			ID: "slow", Label: "Slow", Do: func(ctx context.Context, _ page.Action, _ string) error {
				close(begun)
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return ctx.Err()
			},
		}}})
		request, hangUp := context.WithCancel(t.Context())
		start := time.Now()
		go serve(p, pressing("slow", "").WithContext(request))
		<-begun
		hangUp() // the browser goes away: a failover does not stop half-way for that
		synctest.Wait()
		if w := serve(p, pressing("slow", "")); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "has not ended yet") {
			t.Errorf("POST while it is under way = %d %s, want 409", w.Code, w.Body)
		}
		if err := <-causes; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("Do's context ended with %v after %v, want its deadline after 3s", err, time.Since(start))
		}
	})
}

func TestDoEndsWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 1)
		p := newPage(t, page.Config{State: emptyState, Authorize: anybody, Actions: []page.Action{{
			ID: "slow", Label: "Slow", Do: func(ctx context.Context, _ page.Action, _ string) error {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return ctx.Err()
			},
		}}})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = p.Run(ctx) }()
		go serve(p, pressing("slow", ""))
		synctest.Wait()
		start := time.Now()
		cancel()
		if err := <-causes; !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("when Run ended Do's context ended with %v after %v, want canceled at once", err, time.Since(start))
		}
	})
}
