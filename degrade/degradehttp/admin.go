package degradehttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/internal/problem"
)

// maxAdminBody bounds what is read of a request.
const maxAdminBody = 64 << 10

// Admin returns the status page of c with forms, and what they do:
//
//	GET  /                        the page, or JSON
//	POST /overrides               set: feature or dependency, level or state, ttl, reason, and the other members of degrade.Override
//	POST /overrides/{id}/extend   ttl, reason
//	POST /overrides/{id}/clear    reason
//
// Bodies are forms or JSON objects of strings and booleans; ttl is as [time.ParseDuration] has it. authorize is called for every
// request and returns the name that goes into the audit log, never one from the request itself; its error is answered with 403. There is no Admin without it.
// Requests that a browser makes for another site are refused. Mount it with a slash:
//
//	mux.Handle("/admin/degrade/", http.StripPrefix("/admin/degrade", admin))
func Admin(c *degrade.Controller, authorize func(*http.Request) (by string, err error)) (http.Handler, error) {
	if c == nil {
		return nil, errors.New("degradehttp: Admin: a nil Controller")
	}
	if authorize == nil {
		return nil, errNoAuthorize
	}
	a := &admin{c, authorize}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.HandleFunc("POST /overrides", a.action(a.set))
	mux.HandleFunc("POST /overrides/{id}/extend", a.action(a.extend))
	mux.HandleFunc("POST /overrides/{id}/clear", a.action(a.clear))
	return http.NewCrossOriginProtection().Handler(mux), nil
}

type admin struct {
	c         *degrade.Controller
	authorize func(*http.Request) (string, error)
}

// who asks authorize, and answers r if it refuses.
func (a *admin) who(w http.ResponseWriter, r *http.Request) (by string, ok bool) {
	by, err := a.authorize(r)
	if err == nil && by == "" {
		err = errors.New("authorize named nobody")
	}
	if err != nil {
		problem.Write(w, r, problem.Problem{Type: problem.Prefix + "forbidden", Title: "Not authorized", Status: http.StatusForbidden})
	}
	return by, err == nil
}

func (a *admin) page(w http.ResponseWriter, r *http.Request) {
	if by, ok := a.who(w, r); ok {
		show(w, r, page{Status: a.c.Status(), Admin: true, By: by})
	}
}

// action wraps what a form does: authorization, reading, and the answer.
func (a *admin) action(do func(r *http.Request, f fields, by string) (id string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by, ok := a.who(w, r)
		if !ok {
			return
		}
		f, err := read(w, r)
		id := ""
		if err == nil {
			id, err = do(r, f, by)
		}
		switch {
		case err == nil && f.form:
			back := "./" // not http.Redirect: it would resolve against the path that StripPrefix has left
			if r.PathValue("id") != "" {
				back = "../../"
			}
			w.Header().Set("Location", back)
			w.WriteHeader(http.StatusSeeOther)
		case err == nil:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"id": id})
		case errors.Is(err, errBadRequest) || errors.Is(err, degrade.ErrOverride):
			a.refuse(w, r, f, by, err)
		default: // the store's
			problem.Write(w, r, problem.Problem{
				Type: problem.Prefix + "unavailable", Title: "The override store could not be used", Status: http.StatusServiceUnavailable, Detail: err.Error(), RetryAfter: 1,
			})
		}
	}
}

// refuse says why: on the page to a form, as a problem to others.
func (a *admin) refuse(w http.ResponseWriter, r *http.Request, f fields, by string, err error) {
	if f.form && wantsHTML(r) && r.PathValue("id") == "" { // relative links of the page hold only here
		show(w, r, page{Status: a.c.Status(), Admin: true, By: by, Failed: err.Error()})
		return
	}
	problem.Write(w, r, problem.Problem{Type: problem.Prefix + "refused", Title: "Refused", Status: http.StatusUnprocessableEntity, Detail: err.Error()})
}

func (a *admin) set(r *http.Request, f fields, by string) (string, error) {
	o := degrade.Override{
		Feature: f.text("feature"), Dependency: f.text("dependency"), Reason: f.text("reason"), Ticket: f.text("ticket"), Region: f.text("region"), By: by,
	}
	err := errors.Join(
		f.parse("level", o.Level.UnmarshalText), f.parse("state", o.State.UnmarshalText), f.parse("scope", o.Scope.UnmarshalText),
		f.duration("ttl", &o.TTL), f.flag("at_most", &o.AtMost), f.flag("unsafe", &o.Unsafe), f.flag("maintenance", &o.Maintenance),
		f.flag("until_cleared", &o.UntilCleared), f.unknown(),
	)
	if err != nil {
		return "", err
	}
	return a.c.Override(r.Context(), o)
}

func (a *admin) extend(r *http.Request, f fields, by string) (string, error) {
	var ttl time.Duration
	if err := errors.Join(f.duration("ttl", &ttl), f.unknown("reason")); err != nil {
		return "", err
	}
	id := r.PathValue("id")
	return id, a.c.Extend(r.Context(), id, ttl, degrade.Request{Reason: f.text("reason"), By: by})
}

func (a *admin) clear(r *http.Request, f fields, by string) (string, error) {
	if err := f.unknown("reason"); err != nil {
		return "", err
	}
	id := r.PathValue("id")
	return id, a.c.Clear(r.Context(), id, degrade.Request{Reason: f.text("reason"), By: by})
}

var errBadRequest = errors.New("degradehttp: bad request")

// fields are the members of a body; those that were asked for are taken out.
type fields struct {
	values map[string]string
	form   bool
}

// read reads a form or an object.
func read(w http.ResponseWriter, r *http.Request) (fields, error) {
	f := fields{values: map[string]string{}}
	r.Body = http.MaxBytesReader(w, r.Body, maxAdminBody)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		members := map[string]any{}
		if err := json.NewDecoder(r.Body).Decode(&members); err != nil {
			return f, fmt.Errorf("%w: %w", errBadRequest, err)
		}
		for name, value := range members {
			switch value.(type) {
			case string, bool:
				f.values[name] = fmt.Sprint(value)
			default:
				return f, fmt.Errorf("%w: %q is neither a string nor a boolean", errBadRequest, name)
			}
		}
	case "application/x-www-form-urlencoded":
		f.form = true
		if err := r.ParseForm(); err != nil {
			return f, fmt.Errorf("%w: %w", errBadRequest, err)
		}
		for name, values := range r.PostForm {
			if len(values) != 1 {
				return f, fmt.Errorf("%w: %q is there %d times", errBadRequest, name, len(values))
			}
			f.values[name] = values[0]
		}
	default:
		return f, fmt.Errorf("%w: Content-Type %q is neither JSON nor a form", errBadRequest, media)
	}
	return f, nil
}

func (f fields) text(name string) string {
	value := f.values[name]
	delete(f.values, name)
	return value
}

func (f fields) parse(name string, unmarshal func([]byte) error) error {
	text := f.text(name)
	if text == "" {
		return nil
	}
	if err := unmarshal([]byte(text)); err != nil {
		return fmt.Errorf("%w: %s: %w", errBadRequest, name, err)
	}
	return nil
}

func (f fields) duration(name string, to *time.Duration) error {
	return f.parse(name, func(text []byte) (err error) {
		*to, err = time.ParseDuration(string(text))
		return err
	})
}

func (f fields) flag(name string, to *bool) error {
	return f.parse(name, func(text []byte) error {
		*to = string(text) == "true"
		if !*to && string(text) != "false" {
			return errors.New("want true or false")
		}
		return nil
	})
}

// unknown refuses what nobody asked for, but for those named.
func (f fields) unknown(but ...string) error {
	for name := range f.values {
		if len(but) == 0 || name != but[0] {
			return fmt.Errorf("%w: unknown member %.70q", errBadRequest, name)
		}
	}
	return nil
}
