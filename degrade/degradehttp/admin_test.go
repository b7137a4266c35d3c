package degradehttp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/degrade"
)

func TestStatusByContentNegotiation(t *testing.T) {
	c := newController(t, degrade.Config{Name: "shop"})
	c.Feature("checkout", degrade.FeatureConfig{})
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html; charset=utf-8",
		"text/html;q=0.5, application/json":                               "application/json",
		"text/html;q=0":                                                   "application/json",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		Status(c).ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); got != want || w.Header().Get("Vary") != "Accept" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("Accept %q: %q %v, want %q", accept, got, w.Header(), want)
		}
		if want == "application/json" {
			var s degrade.Status
			if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Features[0].Name != "checkout" {
				t.Errorf("JSON = %+v, %v", s, err)
			}
		}
	}
	if w := send(Status(c), "POST", "/"); w.Code != 405 {
		t.Errorf("POST = %d", w.Code)
	}
}

// TestPageEscapesEverything puts markup into every text that people or backends control.
func TestPageEscapesEverything(t *testing.T) {
	const evil = `<script>alert("x")</script>'"&`
	c := newController(t, degrade.Config{Name: evil, Instance: evil, Region: evil})
	c.Feature("checkout", degrade.FeatureConfig{})
	d := c.Dependency("db", degrade.DependencyConfig{Home: evil, Stubbed: true})
	_, err := c.Override(t.Context(), degrade.Override{Feature: "checkout", Level: degrade.Limited, TTL: time.Hour, Reason: evil, By: evil, Ticket: evil})
	if err != nil {
		t.Fatal(err)
	}
	d.Report(degrade.StateDown)
	admin, err := Admin(c, func(*http.Request) (string, error) { return evil, nil })
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]http.Handler{"status": Status(c), "admin": admin} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		page := w.Body.String()
		if w.Code != 200 || strings.Contains(page, "<script") || strings.Contains(page, evil) || !strings.Contains(page, "&lt;script&gt;") {
			t.Errorf("%s: %d, markup is not escaped:\n%s", name, w.Code, page)
		}
		for _, want := range []string{`name="viewport"`, "prefers-color-scheme: dark", `lang="en"`, "1 h 0 min left"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", name, csp)
		}
	}
}

func TestReadinessStaysWhileDegraded(t *testing.T) {
	c := newController(t, degrade.Config{})
	c.Feature("f", degrade.FeatureConfig{})
	hold(t, c, degrade.All, degrade.ReadOnly)
	if w := send(Readiness(c), "GET", "/"); w.Code != 200 || w.Body.String() != "read-only\n" {
		t.Errorf("answer = %d %q at ReadOnly", w.Code, w.Body)
	}
	hold(t, c, degrade.All, degrade.Offline)
	if w := send(Readiness(c), "GET", "/"); w.Code != 503 {
		t.Errorf("answer = %d at Offline", w.Code)
	}
}

func TestAdminRefusesToExistWithoutAuthorize(t *testing.T) {
	if _, err := Admin(newController(t, degrade.Config{}), nil); err == nil || !strings.Contains(err.Error(), "authorize is nil") {
		t.Errorf("Admin = %v", err)
	}
	if _, err := Admin(nil, func(*http.Request) (string, error) { return "ana", nil }); err == nil {
		t.Error("a nil Controller was accepted")
	}
}

// newAdmin serves Admin below a prefix, as services do. Whoever sends the header User is that user.
func newAdmin(t *testing.T, c *degrade.Controller) *httptest.Server {
	t.Helper()
	admin, err := Admin(c, func(r *http.Request) (string, error) {
		if r.Header.Get("User") == "" {
			return "", errors.New("who are you")
		}
		return strings.TrimSpace(r.Header.Get("User")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/degrade/", http.StripPrefix("/admin/degrade", admin))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

type headers map[string]string

func post(t *testing.T, target, body string, h headers) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range h {
		r.Header.Set(name, value)
	}
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestAdminByJSON(t *testing.T) {
	c := newController(t, degrade.Config{Hold: degrade.NoWait})
	f := c.Feature("checkout", degrade.FeatureConfig{})
	c.Dependency("db", degrade.DependencyConfig{})
	base := newAdmin(t, c).URL + "/admin/degrade"
	as := headers{"User": "ana", "Content-Type": "application/json"}
	response := post(t, base+"/overrides", `{"feature":"checkout","level":"read-only","ttl":"30m","reason":"test","maintenance":true}`, as)
	var answer map[string]string
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != 200 || answer["id"] == "" {
		t.Fatalf("set = %d %v, %v", response.StatusCode, answer, err)
	}
	if o := c.Overrides(); len(o) != 1 || o[0].By != "ana" || o[0].ID != answer["id"] || !o[0].Maintenance || f.Level() != degrade.ReadOnly {
		t.Errorf("overrides = %+v, level %v", o, f.Level())
	}
	if response := post(t, base+"/overrides/"+answer["id"]+"/extend", `{"ttl":"2h","reason":"longer"}`, as); response.StatusCode != 200 {
		t.Errorf("extend = %d", response.StatusCode)
	}
	if left := time.Until(*c.Overrides()[0].Until); left < 119*time.Minute {
		t.Errorf("%v left after extend", left)
	}
	if response := post(t, base+"/overrides/"+answer["id"]+"/clear", `{"reason":"over"}`, as); response.StatusCode != 200 || f.Level() != degrade.Normal {
		t.Errorf("clear = %d, level %v", response.StatusCode, f.Level())
	}
	if response := post(t, base+"/overrides", `{"dependency":"db","state":"down","ttl":"30m","reason":"test"}`, as); response.StatusCode != 200 {
		t.Errorf("dependency = %d", response.StatusCode)
	}
}

func TestAdminRefusals(t *testing.T) {
	c := newController(t, degrade.Config{})
	c.Feature("checkout", degrade.FeatureConfig{})
	base := newAdmin(t, c).URL + "/admin/degrade"
	const good = `{"feature":"checkout","level":"read-only","ttl":"30m","reason":"test"}`
	js := headers{"User": "ana", "Content-Type": "application/json"}
	with := func(name, value string) headers {
		h := headers{}
		for n, v := range js {
			h[n] = v
		}
		h[name] = value
		return h
	}
	tests := []struct {
		path, body string
		h          headers
		status     int
	}{
		{"/overrides", good, with("User", ""), 403},
		{"/overrides", good, with("User", " "), 403},
		{"/overrides", good, with("Sec-Fetch-Site", "cross-site"), 403},
		{"/overrides", good, with("Origin", "https://evil.example"), 403},
		{"/overrides", good, with("Content-Type", "text/plain"), 422},
		{"/overrides", `{`, js, 422},
		{"/overrides", `{"feature":7}`, js, 422},
		{"/overrides", `{"feature":"checkout","level":"read-only","ttl":"30m","reason":"test","by":"eve"}`, js, 422},
		{"/overrides", `{"feature":"checkout","level":"worse","ttl":"30m","reason":"test"}`, js, 422},
		{"/overrides", `{"feature":"checkout","level":"read-only","ttl":"half an hour","reason":"test"}`, js, 422},
		{"/overrides", `{"feature":"checkout","level":"read-only","ttl":"30m","reason":""}`, js, 422},
		{"/overrides", `{"feature":"checkout","level":"read-only","ttl":"30m","reason":"x","unsafe":"maybe"}`, js, 422},
		{"/overrides", strings.Repeat(" ", maxAdminBody+1) + good, js, 422},
		{"/overrides/nope/clear", `{"reason":"x"}`, js, 422},
		{"/overrides/nope/clear", `{"reason":"x","ttl":"1h"}`, js, 422},
		{"/overrides/nope/extend", `{"ttl":"x"}`, js, 422},
		{"/overrides", "feature=a&feature=b", with("Content-Type", "application/x-www-form-urlencoded"), 422},
	}
	for _, tt := range tests {
		if response := post(t, base+tt.path, tt.body, tt.h); response.StatusCode != tt.status {
			t.Errorf("POST %s %.60s %v = %d, want %d", tt.path, tt.body, tt.h, response.StatusCode, tt.status)
		}
	}
	if n := len(c.Overrides()); n != 0 {
		t.Errorf("%d overrides were set", n)
	}
	response, err := http.Get(base + "/")
	if err != nil || response.StatusCode != 403 {
		t.Errorf("GET without a user = %v, %v", response, err)
	}
}

// TestAdminByForm follows what a browser does, without scripts.
func TestAdminByForm(t *testing.T) {
	c := newController(t, degrade.Config{Hold: degrade.NoWait})
	f := c.Feature("checkout", degrade.FeatureConfig{})
	base := newAdmin(t, c).URL + "/admin/degrade/"
	as := headers{"User": "ana", "Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
	form := url.Values{"feature": {"checkout"}, "level": {"read-only"}, "scope": {"instance"}, "ttl": {"30m"}, "reason": {"test"}, "ticket": {""}}
	submit := func(path string, form url.Values) (status int, to string) {
		response := post(t, base+path, form.Encode(), as)
		to = response.Header.Get("Location")
		if to != "" {
			at, err := response.Location()
			if err != nil {
				t.Fatal(err)
			}
			to = at.String()
		}
		return response.StatusCode, to
	}
	if status, to := submit("overrides", form); status != 303 || to != base || f.Level() != degrade.ReadOnly {
		t.Fatalf("set = %d to %q, level %v", status, to, f.Level())
	}
	id := c.Overrides()[0].ID
	if status, to := submit("overrides/"+id+"/clear", url.Values{"reason": {"over"}}); status != 303 || to != base || f.Level() != degrade.Normal {
		t.Errorf("clear = %d to %q, level %v", status, to, f.Level())
	}
	form.Set("reason", "")
	response := post(t, base+"overrides", form.Encode(), as)
	body := new(strings.Builder)
	if _, err := io.Copy(body, response.Body); err != nil || response.StatusCode != 422 || !strings.Contains(body.String(), `role="alert"`) || !strings.Contains(body.String(), "no reason given") {
		t.Errorf("a form without a reason = %d %v", response.StatusCode, err)
	}
}

func TestAdminWhenTheStoreFails(t *testing.T) {
	c := newController(t, degrade.Config{Overrides: broken{}})
	c.Feature("checkout", degrade.FeatureConfig{})
	base := newAdmin(t, c).URL + "/admin/degrade"
	response := post(t, base+"/overrides", `{"feature":"checkout","level":"read-only","ttl":"30m","reason":"test","scope":"fleet"}`, headers{"User": "ana", "Content-Type": "application/json"})
	if response.StatusCode != 503 {
		t.Errorf("answer = %d, want 503", response.StatusCode)
	}
}

type broken struct{}

func (broken) LoadOverrides(context.Context) (degrade.OverrideSet, error) {
	return degrade.OverrideSet{}, errors.New("unreachable")
}

func (broken) SwapOverrides(context.Context, uint64, degrade.OverrideSet) error {
	return errors.New("unreachable")
}

// TestReadinessFollowsWhatIsServed: as long as one feature is not Offline the instance is of use.
func TestReadinessFollowsWhatIsServed(t *testing.T) {
	c := newController(t, degrade.Config{})
	c.Feature("f", degrade.FeatureConfig{})
	hold(t, c, degrade.All, degrade.Offline)
	_, err := c.Override(t.Context(), degrade.Override{
		Feature: degrade.All, Level: degrade.Limited, AtMost: true, Unsafe: true, TTL: time.Hour, Reason: "cannot be cleared", By: "ana",
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := send(Readiness(c), "GET", "/"); w.Code != 200 || w.Body.String() != "limited\n" {
		t.Errorf("answer = %d %q, want the way out of an override to be one", w.Code, w.Body)
	}

	c = newController(t, degrade.Config{})
	c.Feature("f", degrade.FeatureConfig{})
	c.Feature("vital", degrade.FeatureConfig{Never: degrade.Offline})
	hold(t, c, degrade.All, degrade.Offline)
	if w := send(Readiness(c), "GET", "/"); w.Code != 200 {
		t.Errorf("answer = %d while a feature is served", w.Code)
	}
}
