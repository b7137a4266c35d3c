//go:build unix

package report_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-go/holdfast/internal/chromium"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// The page is looked at as people see it: on a phone, on a desk, light and dark.
func TestHTMLInABrowser(t *testing.T) {
	browser := servertest.Chromium(t)
	dir := t.TempDir()
	if keep := os.Getenv("HOLDFAST_SCREENSHOTS"); keep != "" {
		dir = keep
	}
	path := filepath.Join(dir, "report.html")
	if err := os.WriteFile(path, []byte(outage(t).HTML()), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := browser.Page(t.Context(), chromium.View{Width: 360, Height: 740, Mobile: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Goto("file://" + path); err != nil {
		t.Fatal(err)
	}
	backgrounds := map[string]bool{}
	for name, view := range map[string]chromium.View{
		"phone":      {Width: 360, Height: 740, Mobile: true},
		"phone-dark": {Width: 360, Height: 740, Mobile: true, Dark: true},
		"desk":       {Width: 1280, Height: 900},
		"desk-dark":  {Width: 1280, Height: 900, Dark: true},
	} {
		if err := p.Show(view); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Wide, Small, Low float64
			Background       string
			Pictures         int
			Unnamed, Cut     []string
		}
		if err := p.Eval(look, &got); err != nil {
			t.Fatal(err)
		}
		backgrounds[got.Background] = true
		if got.Wide > float64(view.Width) || len(got.Cut) > 0 {
			t.Errorf("%s: the page is %v wide, beyond the edge: %q", name, got.Wide, got.Cut)
		}
		if got.Small < 12 {
			t.Errorf("%s: smallest text is %v px", name, got.Small)
		}
		if got.Low < 4.5 {
			t.Errorf("%s: lowest contrast of text is %.2f, want 4.5", name, got.Low)
		}
		if got.Pictures < 15 || len(got.Unnamed) > 0 {
			t.Errorf("%s: %d pictures, without title or description: %q", name, got.Pictures, got.Unnamed)
		}
		if err := p.SaveScreenshot(filepath.Join(dir, name+".png")); err != nil {
			t.Fatal(err)
		}
	}
	if len(backgrounds) != 2 {
		t.Errorf("backgrounds %v, want one light and one dark", backgrounds)
	}
	if problems := p.Problems(); len(problems) > 0 {
		t.Errorf("the browser complains: %q", problems)
	}
}

// look measures the page.
const look = `(() => {
	const lum = c => { const [r, g, b] = c.match(/[\d.]+/g).map(Number).map(v => { v /= 255; return v <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4 }); return .2126*r + .7152*g + .0722*b };
	const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\)$|transparent/.test(c)) return c } return "rgb(255,255,255)" };
	const out = {wide: document.documentElement.scrollWidth, small: 99, low: 99, background: getComputedStyle(document.body).backgroundColor, pictures: 0, unnamed: [], cut: []};
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; n = walk.nextNode();) {
		const e = n.parentElement;
		if (!n.data.trim() || e.closest("svg") || !e.checkVisibility()) continue;
		const s = getComputedStyle(e), a = lum(s.color), b = lum(behind(e));
		out.small = Math.min(out.small, parseFloat(s.fontSize));
		out.low = Math.min(out.low, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
		const r = e.getBoundingClientRect();
		if ((r.right > innerWidth + 1 || r.left < -1) && !e.closest(".scroll")) out.cut.push(n.data.trim());
	}
	for (const s of document.querySelectorAll("svg[role=img]")) {
		out.pictures++;
		if (s.getAttribute("aria-labelledby").split(" ").some(id => !document.getElementById(id)?.textContent.trim())) out.unnamed.push(s.outerHTML.slice(0, 100));
	}
	return out;
})()`
