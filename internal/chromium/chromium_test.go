//go:build unix

package chromium_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/chromium"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

const page = `<!doctype html><title>t</title><link rel=icon href="data:,"><meta name="viewport" content="width=device-width">
<style>body{margin:0;background:#fff}@media(prefers-color-scheme:dark){body{background:#000}}</style>
<button id=b onclick="document.getElementById('out').textContent='clicked'">press</button><p id=out>-</p><input id=i>
<div style="height:1500px"></div><button id=low onclick="setTimeout(()=>{document.getElementById('out').textContent='late'},50)">low</button>
<div style="position:relative"><button id=covered>c</button><div style="position:absolute;inset:0;background:red"></div></div>
<script>if (location.search) { console.error("complains", 7); setTimeout(() => { throw new Error("thrown") }) }</script>`

func TestPage(t *testing.T) {
	browser := servertest.Chromium(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, page)
	}))
	defer server.Close()
	p, err := browser.Page(t.Context(), chromium.View{Width: 360, Height: 740, Mobile: true})
	must(t, err)
	must(t, p.Goto(server.URL+"/"))

	if text, err := p.Text("#out"); err != nil || text != "-" {
		t.Fatalf("Text = %q, %v", text, err)
	}
	must(t, p.Click("#b"))
	if text, _ := p.Text("#out"); text != "clicked" {
		t.Errorf("after Click: %q", text)
	}
	must(t, p.Click("#low")) // below the fold
	must(t, p.Wait(`document.querySelector("#out").textContent == "late"`, 10*time.Second))
	if err := p.Wait("false", 50*time.Millisecond); err == nil {
		t.Error("Wait for what never comes did not fail")
	}
	for selector, want := range map[string]string{"#none": "no such element", "#covered": "in its place is <div"} {
		if err := p.Click(selector); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Click(%s) = %v, want %q", selector, err, want)
		}
	}
	must(t, p.Eval(`document.querySelector("#i").focus()`, nil))
	must(t, p.Type("hello"))
	var value string
	must(t, p.Eval(`document.querySelector("#i").value`, &value))
	if value != "hello" {
		t.Errorf("Type left %q", value)
	}
	if err := p.Eval("nothing.at.all", nil); err == nil || !strings.Contains(err.Error(), "ReferenceError") {
		t.Errorf("Eval of nonsense = %v", err)
	}

	light, height := corner(t, p)
	must(t, p.Show(chromium.View{Width: 360, Height: 740, Mobile: true, Dark: true}))
	dark, _ := corner(t, p)
	if light != 0xffff || dark != 0 || height < 1500 {
		t.Errorf("background %x light, %x dark, height %d; want white, black, the whole page", light, dark, height)
	}
	if problems := p.Problems(); len(problems) != 0 {
		t.Errorf("problems of a page without: %q", problems)
	}
	must(t, p.Goto(server.URL+"/?"+"bad"))
	must(t, p.Eval(`fetch("/missing").then(() => 0)`, nil))
	must(t, p.Wait("true", time.Second))
	for _, want := range []string{"complains 7", "Error: thrown", "404"} {
		if !soon(func() bool {
			return slices.ContainsFunc(p.Problems(), func(s string) bool { return strings.Contains(s, want) })
		}) {
			t.Errorf("problems %q lack %q", p.Problems(), want)
		}
	}
	if err := p.Goto("http://127.0.0.1:1/"); err == nil {
		t.Error("Goto where nobody listens did not fail")
	}
	must(t, p.Close())
}

// corner returns the red of the last pixel of the first line, and the height.
func corner(t *testing.T, p *chromium.Page) (red uint32, height int) {
	t.Helper()
	data, err := p.Screenshot()
	must(t, err)
	img, err := png.Decode(bytes.NewReader(data))
	must(t, err)
	red, _, _, _ = img.At(img.Bounds().Dx()-1, 0).RGBA()
	return red, img.Bounds().Dy()
}

func soon(f func() bool) bool {
	for range 500 {
		if f() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestBrowserEnds(t *testing.T) {
	program := servertest.ChromiumProgram(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b, err := chromium.Open(ctx, program)
	must(t, err)
	pid := b.PID()
	p, err := b.Page(ctx, chromium.View{})
	must(t, err)
	must(t, b.Close())
	if err := p.Goto("about:blank"); err == nil {
		t.Error("Goto after Close did not fail")
	}
	if err := syscall.Kill(-pid, 0); err == nil {
		t.Errorf("processes of group %d are left", pid)
	}
	if _, err := chromium.Open(t.Context(), "/bin/false"); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("Open of a program that ends = %v", err)
	}
	if _, err := chromium.Open(t.Context(), os.DevNull); err == nil {
		t.Error("Open of no program did not fail")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
