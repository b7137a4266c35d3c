//go:build unix

package page_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/internal/chromium"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// update writes the README's pictures.
var update = flag.Bool("update", false, "write docs/images/page-*.png")

// soon is how long the browser may take to show something on a busy machine.
const soon = 30 * time.Second

// A site is the demo behind a server whose page can be exchanged, as when a process begins anew.
type site struct {
	*httptest.Server
	demo    *demo
	now     atomic.Pointer[page.Page]
	resumed atomic.Int32 // streams that named the last frame seen
}

func newSite(t *testing.T, beat time.Duration) *site {
	s := &site{demo: newDemo(beat)}
	go s.demo.follow(t.Context())
	s.begin(t)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Last-Event-ID") != "" {
			s.resumed.Add(1)
		}
		s.now.Load().ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections() // streams
		s.Close()
	})
	return s
}

// begin starts a new page for the same demo.
func (s *site) begin(t *testing.T) {
	p := newPage(t, page.Config{
		Parts: "embedded parts, both Regions in one process", Every: 500 * time.Millisecond, State: s.demo.state, Events: s.demo.log,
		Actions: s.demo.actions(), Authorize: page.Loopback("ada", "grace"), People: []string{"ada", "grace"},
	})
	go func() { _ = p.Run(t.Context()) }()
	s.now.Store(p)
}

// A tab is a page of the browser, with the test that it belongs to.
type tab struct {
	*chromium.Page
	t *testing.T
}

// open shows the site and waits until it is live.
func (s *site) open(t *testing.T, b *chromium.Browser, view chromium.View) *tab {
	t.Helper()
	p, err := b.Page(t.Context(), view)
	if err != nil {
		t.Fatal(err)
	}
	tab := &tab{p, t}
	tab.must(p.Goto(s.URL + "/"))
	tab.until(`document.querySelector("#live").textContent == "Live" && document.querySelectorAll("article").length == 2`)
	tab.must(p.Eval(`window.shift = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) shift += e.value }).observe({type: "layout-shift", buffered: true})`, nil))
	return tab
}

func (p *tab) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// until waits for something to be true in the page.
func (p *tab) until(expression string) {
	p.t.Helper()
	if err := p.Wait(expression, soon); err != nil {
		p.t.Fatalf("%v\nproblems: %q", err, p.Problems())
	}
}

// usable waits until a button can be used.
func (p *tab) usable(id string) {
	p.t.Helper()
	p.until("!document.querySelector(`[data-action=" + id + "]`).hasAttribute(`aria-disabled`)")
}

func (p *tab) text(expression string) (s string) {
	p.t.Helper()
	p.must(p.Eval(expression, &s))
	return s
}

// clean checks that nothing was complained of, and that nothing jumped.
func (p *tab) clean() {
	p.t.Helper()
	if problems := p.Problems(); len(problems) != 0 {
		p.t.Errorf("the console says %q", problems)
	}
	var shift float64
	p.must(p.Eval("shift", &shift))
	if shift > 0.02 { // 0.1 counts as good
		p.t.Errorf("cumulative layout shift is %.3f, want at most 0.02", shift)
	}
}

const (
	writer   = `document.querySelector("#decision .big").textContent`
	inFaults = `document.querySelector("#faults").textContent`
)

func TestInChromium(t *testing.T) {
	browser := servertest.Chromium(t)
	t.Run("mouse", func(t *testing.T) { testMouse(t, browser) })
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, browser) })
	t.Run("screen reader", func(t *testing.T) { testScreenReader(t, browser) })
	t.Run("reconnect", func(t *testing.T) { testReconnect(t, browser) })
	t.Run("views", func(t *testing.T) { testViews(t, browser) })
	t.Run("policy", func(t *testing.T) { testPolicy(t, browser) })
}

func testMouse(t *testing.T, b *chromium.Browser) {
	s := newSite(t, 700*time.Millisecond)
	p := s.open(t, b, chromium.View{})
	p.until(writer + ` == "us-east-1"`)
	before := p.text(`document.querySelector("article .spark path").getAttribute("d")`)
	p.until(`document.querySelector("article .spark path").getAttribute("d") != ` + "`" + before + "`")

	p.must(p.Click("[data-action=down-us-east-1-blackhole]"))
	p.until(`document.querySelector("[data-action=down-us-east-1-blackhole]").getAttribute("aria-pressed") == "true"`)
	p.until(inFaults + `.includes("Region down: Black hole · us-east-1")`)
	p.until(writer + ` == "nobody"`)
	p.until(writer + ` == "us-west-2"`)
	p.until(`document.querySelector("#timeline").textContent.includes("us-west-2 writes")`)
	p.must(p.Click("[data-action=down-us-east-1-blackhole]")) // again: it heals
	p.until(inFaults + ` == "None injected"`)

	p.usable("fail-back")
	p.must(p.Click("[data-action=fail-back]"))
	p.until(`document.querySelector(".move").textContent.startsWith("A move to us-east-1 waits for approval")`)
	p.must(p.Eval(`document.querySelector("#as").value = "grace"`, nil))
	p.must(p.Click("[data-action=approve]"))
	p.until(writer + ` == "us-east-1"`)
	p.until(`document.querySelector(".move").textContent.startsWith("Last move: us-west-2 → us-east-1, planned")`)
	p.clean()

	p.must(p.Click("[data-action=deny]")) // cannot be used now: it says why, and asks nobody
	p.until(`document.querySelector("#said").textContent == "Deny: no move waits for approval"`)
	p.clean()
}

func testKeyboard(t *testing.T, b *chromium.Browser) {
	s := newSite(t, 700*time.Millisecond)
	p := s.open(t, b, chromium.View{})
	p.until(writer + ` == "us-east-1"`)
	p.must(p.Press("Tab"))
	if first := p.text(`document.activeElement.textContent`); first != "Skip to the decision" {
		t.Errorf("the first Tab stops at %q, want the skip link", first)
	}
	stops := p.tabThrough(`[data-action=slow-us-west-2], [data-action=down-us-west-2-slow]`)
	for _, want := range []string{"as", "approve", "deny", "fail-over", "fail-back", "heal", "down-us-east-1-refuse", "lag-us-east-1", "down-us-west-2-slow"} {
		if !slices.Contains(stops, want) {
			t.Errorf("Tab does not stop at %q but at %q", want, stops)
		}
	}
	p.must(p.Press(" "))
	p.until(`document.activeElement.getAttribute("aria-pressed") == "true" && !document.activeElement.hasAttribute("aria-busy")`) // while it is busy it takes no press
	p.must(p.Press(" "))
	p.until(`document.activeElement.getAttribute("aria-pressed") == "false"`)

	p.usable("fail-over")
	p.must(p.Eval(`document.querySelector("[data-action=fail-over]").focus()`, nil))
	p.must(p.Press("Enter"))
	p.until(`document.querySelector("#ask").open && document.activeElement.id == "ask-no"`)
	p.must(p.Press("Escape"))
	p.until(`!document.querySelector("#ask").open && document.activeElement.dataset.action == "fail-over"`)
	p.must(p.Press("Enter"))
	p.must(p.Press("Tab"))
	p.until(`document.activeElement.id == "ask-yes"`)
	p.must(p.Press("Enter"))
	p.until(`document.querySelector(".pending").dataset.waiting == "true"`)
	p.must(p.Eval(`document.querySelector("#as").focus()`, nil))
	p.must(p.Eval(`document.querySelector("#as").value = "grace"`, nil))
	p.tabThrough(`[data-action=approve]`)
	p.must(p.Press("Enter"))
	p.until(writer + ` == "us-west-2"`)
	p.clean()
}

// tabThrough presses Tab until an element has the focus, which must be visible at every stop, and returns where it stopped.
func (p *tab) tabThrough(selector string) (stops []string) {
	p.t.Helper()
	for range 80 {
		p.must(p.Press("Tab"))
		var stop struct {
			Name, Outline string
			Inside, There bool
		}
		p.must(p.Eval(`(() => {
			const e = document.activeElement, box = e.getBoundingClientRect();
			return {Name: e.dataset.action ?? e.id, Outline: getComputedStyle(e).outlineStyle, There: e.matches(`+"`"+selector+"`"+`),
				Inside: box.bottom > 0 && box.top < innerHeight && box.width > 0};
		})()`, &stop))
		if stop.Name != "" && (stop.Outline == "none" || !stop.Inside) {
			p.t.Errorf("the focus on %q cannot be seen: %+v", stop.Name, stop)
		}
		if stops = append(stops, stop.Name); stop.There {
			return stops
		}
	}
	p.t.Fatalf("Tab never stops at %s but at %q", selector, stops)
	return nil
}

func testScreenReader(t *testing.T, b *chromium.Browser) {
	s := newSite(t, 300*time.Millisecond)
	p := s.open(t, b, chromium.View{})
	p.must(p.Click("[data-action=sqs-us-west-2]"))
	p.until(`document.querySelector("[data-action=sqs-us-west-2]").getAttribute("aria-pressed") == "true"`)
	nodes, err := p.Accessibility()
	p.must(err)
	names := map[string][]string{}
	for _, n := range nodes {
		names[n.Role] = append(names[n.Role], n.Name)
		switch n.Role {
		case "button", "link", "combobox", "article", "region", "image", "dialog", "group":
			if n.Name == "" {
				t.Errorf("a %s has no name: %+v", n.Role, n)
			}
		}
		if n.Role == "button" && n.Name == "us-west-2: SQS" && n.Properties["pressed"] != "true" {
			t.Errorf("the pressed button is told as %+v", n)
		}
		if n.Role == "button" && n.Name == "Deny" && (n.Properties["disabled"] != true || !strings.Contains(n.Description, "no move waits for approval")) {
			t.Errorf("a button that cannot be used is told as %+v", n)
		}
	}
	for role, want := range map[string][]string{
		"banner": {""}, "main": {""}, "status": {""},
		"heading":  {"Orders", "Decision", "Regions", east, west, "Ledger", "Timeline", "Faults"},
		"article":  {east, west},
		"combobox": {"Acting as"},
		"button":   {"Approve", "Fail over to us-west-2", "us-east-1: Black hole", "us-west-2: Black hole"},
	} {
		for _, name := range want {
			if !slices.ContainsFunc(names[role], func(got string) bool { return name == "" || got == name }) {
				t.Errorf("no %s %q among %q", role, name, names[role])
			}
		}
	}
	if buttons := slices.Sorted(slices.Values(names["button"])); len(slices.Compact(slices.Clone(buttons))) != len(buttons) {
		t.Errorf("two buttons have one name: %q", buttons)
	}
	// A failover is spoken, politely and not line by line.
	p.must(p.Eval(`window.spoken = []; new MutationObserver(() => spoken.push({At: performance.now(), Text: document.querySelector("#news").textContent})).observe(document.querySelector("#news"), {childList: true})`, nil))
	p.must(p.Click("[data-action=down-us-east-1-refuse]"))
	p.until(writer + ` == "us-west-2"`)
	p.until("spoken.length == 1")
	p.must(p.Click("[data-action=down-us-east-1-refuse]"))
	p.until("spoken.length == 2")
	var spoken []struct {
		At   float64
		Text string
	}
	p.must(p.Eval("spoken", &spoken))
	for i, s := range spoken[1:] {
		if gap := s.At - spoken[i].At; s.Text == "" || gap < 4900 {
			t.Errorf("%q was spoken %.0f ms after %q, want 5 s", s.Text, gap, spoken[i].Text)
		}
	}
	p.clean()
}

func testReconnect(t *testing.T, b *chromium.Browser) {
	s := newSite(t, 300*time.Millisecond)
	p := s.open(t, b, chromium.View{})
	s.CloseClientConnections()
	p.until(`document.querySelector("#live").textContent == "Live"`)
	p.must(p.Click("[data-action=redis-us-east-1]"))
	p.until(inFaults + `.includes("Redis")`)
	for deadline := time.Now().Add(soon); s.resumed.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream was not resumed where it was cut")
		}
	}
	s.begin(t) // another process: its IDs are others
	s.CloseClientConnections()
	p.must(p.Click("[data-action=heal]"))
	p.until(inFaults + ` == "None injected"`)
	p.until(`document.querySelector("#live").textContent == "Live"`)
	if lines := p.text(`String(document.querySelectorAll("article").length)`); lines != "2" {
		t.Errorf("after the new process's snapshot there are %s Regions", lines)
	}
	var shift float64
	p.must(p.Eval("shift", &shift))
	if shift > 0.02 {
		t.Errorf("reconnecting shifts the layout by %.3f", shift)
	}
}

func testViews(t *testing.T, b *chromium.Browser) {
	s := newSite(t, 900*time.Millisecond)
	p := s.open(t, b, chromium.View{Width: 1280, Height: 900})
	p.must(p.Click("[data-action=payments-us-west-2]"))
	p.picturesque(40 * time.Second)
	p.must(p.Click("[data-action=down-us-east-1-blackhole]"))
	p.until(writer + ` == "us-west-2"`)
	p.picturesque(6 * time.Second)
	p.until(`document.querySelector("#said").textContent == ""`)
	phone := func(dark bool, width int) chromium.View {
		return chromium.View{Width: width, Height: 740, Dark: dark, Mobile: true}
	}
	for _, v := range []struct {
		name string
		view chromium.View
	}{
		{"page-light", chromium.View{Width: 1280, Height: 900}},
		{"page-dark", chromium.View{Width: 1280, Height: 900, Dark: true}},
		{"phone-light", phone(false, 360)},
		{"phone-dark", phone(true, 360)},
		{"smallest", phone(false, 320)},
		{"tablet", chromium.View{Width: 768, Height: 1024}},
	} {
		p.must(p.Show(v.view))
		p.until("document.getAnimations().length == 0")
		p.look(v.name)
		shot, err := p.Screenshot()
		p.must(err)
		p.must(os.WriteFile(filepath.Join(t.ArtifactDir(), v.name+".png"), shot, 0o644))
		if *update && strings.HasPrefix(v.name, "page-") {
			p.must(chromium.SavePicture("../../../docs/images/"+v.name+".png", shot))
		}
	}
	if problems := p.Problems(); len(problems) != 0 {
		t.Errorf("the console says %q", problems)
	}
}

// picturesque lets the curves grow, for the README's pictures only.
func (p *tab) picturesque(d time.Duration) {
	if *update {
		time.Sleep(d)
	}
}

// faint finds texts whose contrast is below 4.5, and small finds buttons that fingers miss.
const (
	faint = `(() => {
		const parse = c => c.match(/[\d.]+/g).map(Number);
		const light = ([r, g, b]) => { const l = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * l(r) + .7152 * l(g) + .0722 * l(b) };
		const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] == 1) return c } return [255, 255, 255] };
		return [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.closest("svg") && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())).flatMap(e => {
			const a = light(parse(getComputedStyle(e).color)), b = light(ground(e)), contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
			return contrast < 4.5 ? [e.className + " " + e.textContent.slice(0, 40) + " " + contrast.toFixed(2)] : [];
		});
	})()`
	small = `[...document.querySelectorAll("button, select, a")].filter(e => e.checkVisibility() && !e.classList.contains("skip")).filter(e => { const b = e.getBoundingClientRect(); return b.width < 24 || b.height < 24 }).map(e => e.textContent)`
	wide  = `[...document.querySelectorAll("main *, header *")].filter(e => e.checkVisibility() && !e.closest("#faults, svg, .vh") && e.getBoundingClientRect().right > (e.parentElement.closest(".card")?.getBoundingClientRect().right ?? innerWidth) + 1).map(e => e.outerHTML.slice(0, 80))`
)

// look checks what can be measured of how the page looks now.
func (p *tab) look(name string) {
	p.t.Helper()
	for what, expression := range map[string]string{"too faint": faint, "too small": small, "too wide": wide} {
		var found []string
		p.must(p.Eval(expression, &found))
		if len(found) > 0 {
			p.t.Errorf("%s: %s: %q", name, what, found)
		}
	}
	var over int
	p.must(p.Eval("document.documentElement.scrollWidth - innerWidth", &over))
	if over > 0 {
		p.t.Errorf("%s: the page is %d pixels wider than the screen", name, over)
	}
}

// testPolicy breaks the policy, to show that the console would tell.
func testPolicy(t *testing.T, b *chromium.Browser) {
	p := newSite(t, time.Second).open(t, b, chromium.View{})
	for _, crime := range []string{
		`const s = document.createElement("style"); s.textContent = "body { color: red }"; document.head.append(s)`,
		`document.body.setAttribute("style", "color: red")`,
		`fetch("http://127.0.0.2:1/").catch(() => 0)`,
		`try { document.body.insertAdjacentHTML("beforeend", "<p>x</p>") } catch {}`,
		`const i = document.createElement("img"); i.src = "data:,x"; document.body.append(i)`,
	} {
		before := len(p.Problems())
		p.must(p.Eval("(() => {"+crime+"})()", nil))
		for deadline := time.Now().Add(soon); len(p.Problems()) == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the policy allows %s", crime)
			}
		}
	}
}
