package page

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Config configures a [Page]. State is required, and Authorize with Actions.
type Config struct {
	// Title is the heading of the page. Empty means "Orders".
	Title string

	// Parts says in a few words what the service runs on, such as "embedded parts".
	Parts string

	// State returns what to show. It is called by Run, every Every and after a button, never twice at once. It should be
	// quick: what takes a round trip, such as a queue's depth, belongs in a loop of its own. While it hangs the page shows
	// the last State and its age; a panic is shown too.
	State func() State

	// Events is the timeline. Nil means a new Log, which only buttons write to.
	Events *Log

	// Actions are the buttons, in order. They are fixed; [Action.Unavailable] says which can be used.
	Actions []Action

	// Authorize returns the name of the person who sent a button's request; its error is answered with 403. It may read
	// the form: "as" is the one of People who was chosen. Required with Actions: without it anybody could press them.
	Authorize func(*http.Request) (by string, err error)

	// People are offered as who is pressing, for demonstrations of moves that take two. Empty offers no choice.
	People []string

	// Every is how often State is called. Zero means 1 s. Values below 100 ms are an error of [New].
	Every time.Duration

	// Heartbeat is how long a stream may be quiet. Zero means 15 s. Values below 1 s are an error of [New].
	Heartbeat time.Duration

	// WriteTimeout is how long a client may take to accept a frame. Zero means 10 s. Values below 1 s are an error of [New].
	WriteTimeout time.Duration

	// MaxStreams is how many browsers may watch at once; more are answered with 503. Zero means 64. Negative values are an
	// error of [New].
	MaxStreams int

	// ActionTimeout is how long a button's Do may take. Zero means 30 s. Values below 1 s are an error of [New].
	ActionTimeout time.Duration

	// Logger gets a line for every button pressed, and for a State that panics or hangs. Nil is silent.
	Logger *slog.Logger
}

// check fills in the defaults and names the first field that is wrong.
func (c *Config) check() error {
	if c.State == nil {
		return errors.New("page: Config.State: nil")
	}
	if len(c.Actions) > 0 && c.Authorize == nil {
		return errors.New("page: Config.Authorize: nil: it would let anybody press the buttons")
	}
	if c.MaxStreams < 0 {
		return fmt.Errorf("page: Config.MaxStreams: %d is negative", c.MaxStreams)
	}
	for _, d := range []struct {
		name      string
		value     *time.Duration
		least, or time.Duration
	}{
		{"Every", &c.Every, 100 * time.Millisecond, time.Second},
		{"Heartbeat", &c.Heartbeat, time.Second, 15 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, time.Second, 10 * time.Second},
		{"ActionTimeout", &c.ActionTimeout, time.Second, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.or
		}
		if *d.value < d.least {
			return fmt.Errorf("page: Config.%s: %v is below the minimum %v", d.name, *d.value, d.least)
		}
	}
	return checkActions(c.Actions)
}

// A Page serves the page, its stream and its buttons. Make it with [New], run [Page.Run]. It is safe for concurrent use.
type Page struct {
	cfg     Config
	handler http.Handler
	buttons map[string]*button
	feed    *feed
	again   chan struct{} // of capacity 1: read the State now

	ran  atomic.Bool
	done chan struct{} // closed when Run ends
}

// New returns a Page. Its errors name the field of cfg that is wrong.
func New(cfg Config) (*Page, error) {
	cfg.Actions, cfg.People = slices.Clone(cfg.Actions), slices.Clone(cfg.People)
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Title == "" {
		cfg.Title = "Orders"
	}
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = 64
	}
	if cfg.Events == nil {
		cfg.Events = NewLog(0)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Page{cfg: cfg, buttons: map[string]*button{}, again: make(chan struct{}, 1), done: make(chan struct{})}
	for _, a := range cfg.Actions {
		p.buttons[a.ID] = &button{Action: a}
	}
	p.feed = newFeed(cfg)
	var err error
	p.handler, err = p.routes()
	return p, err
}

// ServeHTTP serves the page. Until Run begins it shows that there is nothing to show yet; after Run ended streams are
// answered with 503.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// routes returns the handler of everything. Requests that a browser makes for another site are refused first.
func (p *Page) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	if err := p.serveAssets(mux); err != nil {
		return nil, err
	}
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, p.feed.snapshot()) })
	mux.HandleFunc("GET /events", p.stream)
	mux.HandleFunc("POST /actions/{id}", p.press)
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusForbidden, "Another site's request", "buttons are pressed on the page itself")
	}))
	return secured(sameOrigin.Handler(mux)), nil
}
