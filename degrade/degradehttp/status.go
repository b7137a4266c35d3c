package degradehttp

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
)

// Status shows c to operators: JSON, or a page for a browser. It names dependencies and people: do not serve it to the public.
func Status(c *degrade.Controller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !readsOnly(w, r) {
			return
		}
		show(w, r, page{Status: c.Status()})
	})
}

// Readiness answers 200 as long as the service does anything at all: also while degraded, since a load balancer that takes degraded
// instances out ends up with none. It answers 503 while flags or an override put everything ([degrade.All]) Offline, and no feature is
// kept better by its FeatureConfig.Never or by an override.
func Readiness(c *degrade.Controller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !readsOnly(w, r) {
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		level := c.Level()
		if level == degrade.Offline && !serves(c) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte(level.String() + "\n"))
	})
}

// serves reports whether any feature of c does.
func serves(c *degrade.Controller) bool {
	return slices.ContainsFunc(c.Status().Features, func(f degrade.FeatureStatus) bool { return f.Level < degrade.Offline })
}

// readsOnly refuses methods other than GET and HEAD.
func readsOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}

// page is what the template shows.
type page struct {
	degrade.Status
	Admin  bool   // with forms
	By     string // who is looking, if Admin
	Failed string // what the last form was refused for
}

// Ago says how long before the status was taken t was.
func (p page) Ago(t time.Time) string { return brief(p.At.Sub(t)) }

// Left says how long after the status was taken t is.
func (p page) Left(t *time.Time) string {
	if t == nil {
		return "until cleared"
	}
	return brief(t.Sub(p.At)) + " left"
}

// Newest returns the events, the newest first.
func (p page) Newest() []degrade.Event {
	events := slices.Clone(p.Recent)
	slices.Reverse(events)
	return events
}

// brief prints a duration by its two largest units.
func brief(d time.Duration) string {
	d = max(0, d).Round(time.Second)
	switch {
	case d >= 24*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + " d " + strconv.Itoa(int(d%(24*time.Hour)/time.Hour)) + " h"
	case d >= time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h " + strconv.Itoa(int(d%time.Hour/time.Minute)) + " min"
	case d >= time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + " min " + strconv.Itoa(int(d%time.Minute/time.Second)) + " s"
	}
	return strconv.Itoa(int(d/time.Second)) + " s"
}

//go:embed status.html
var statusHTML string

var statusPage = template.Must(template.New("status").Parse(statusHTML))

// show answers with p as r wishes.
func show(w http.ResponseWriter, r *http.Request, p page) {
	var body bytes.Buffer
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept")
	var err error
	if wantsHTML(r) {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		err = statusPage.Execute(&body, p)
	} else {
		h.Set("Content-Type", "application/json")
		encoder := json.NewEncoder(&body)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(p.Status)
	}
	if err != nil {
		Error(w, r, err)
		return
	}
	if p.Failed != "" {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}

// wantsHTML reports whether r prefers a page: it accepts text/html by name, and not JSON with a higher weight.
func wantsHTML(r *http.Request) bool {
	html, ok := weight(r, "text/html")
	asJSON, _ := weight(r, "application/json")
	return ok && html > 0 && html >= asJSON
}

// weight is what r's Accept fields give to a media type by name.
func weight(r *http.Request, media string) (q float64, ok bool) {
	for _, line := range r.Header.Values("Accept") {
		for item := range strings.SplitSeq(line, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			if !strings.EqualFold(strings.TrimSpace(name), media) {
				continue
			}
			q, ok = 1, true
			for parameter := range strings.SplitSeq(parameters, ";") {
				if value, found := strings.CutPrefix(strings.TrimSpace(parameter), "q="); found {
					q, _ = strconv.ParseFloat(value, 64)
				}
			}
		}
	}
	return q, ok
}
