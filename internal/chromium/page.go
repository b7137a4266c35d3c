//go:build unix

package chromium

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// A View is how a page is shown.
type View struct {
	Width, Height int  // in CSS pixels; 0 = 1280 by 800
	Dark          bool // what prefers-color-scheme says
	Mobile        bool // a touch screen, and a viewport as the page's meta tag asks for
}

// A Page is one tab. Its methods may be called from one goroutine at a time. Each call ends within a minute.
type Page struct {
	b       *Browser
	ctx     context.Context
	target  string
	session string

	mu       sync.Mutex // guards all below
	loaded   chan struct{}
	problems []string
}

// Page opens an empty tab, whose calls end with ctx.
func (b *Browser) Page(ctx context.Context, view View) (*Page, error) {
	p := &Page{b: b, ctx: ctx, loaded: make(chan struct{}, 1)}
	var made struct {
		TargetID string `json:"targetId"`
	}
	if err := b.wire.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &made); err != nil {
		return nil, fmt.Errorf("chromium: %w", err)
	}
	p.target = made.TargetID
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	if err := b.wire.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": p.target, "flatten": true}, &attached); err != nil {
		return nil, fmt.Errorf("chromium: %w", err)
	}
	p.session = attached.SessionID
	b.wire.listen(p.session, p.hear)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		if err := p.call(domain+".enable", nil, nil); err != nil {
			return nil, err
		}
	}
	return p, p.Show(view)
}

const callTimeout = time.Minute

func (p *Page) call(method string, params, result any) error {
	ctx, cancel := context.WithTimeout(p.ctx, callTimeout)
	defer cancel()
	if err := p.b.wire.call(ctx, p.session, method, params, result); err != nil {
		return fmt.Errorf("chromium: %w", err)
	}
	return nil
}

// Show changes the view; the page lays itself out anew.
func (p *Page) Show(v View) error {
	if v.Width == 0 || v.Height == 0 {
		v.Width, v.Height = 1280, 800
	}
	err := p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": v.Width, "height": v.Height, "deviceScaleFactor": 1, "mobile": v.Mobile}, nil)
	if err != nil {
		return err
	}
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	return p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// hear notes what the page reports.
func (p *Page) hear(method string, params json.RawMessage) {
	switch method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Runtime.consoleAPICalled":
		var e struct {
			Type string
			Args []struct {
				Value       any
				Description string
			}
		}
		if json.Unmarshal(params, &e) == nil && (e.Type == "error" || e.Type == "assert") {
			text := "console." + e.Type + ":"
			for _, a := range e.Args {
				if a.Description != "" {
					text += " " + a.Description
				} else {
					text += fmt.Sprintf(" %v", a.Value)
				}
			}
			p.problem(text)
		}
	case "Runtime.exceptionThrown":
		var e struct{ ExceptionDetails exception }
		if json.Unmarshal(params, &e) == nil {
			p.problem("uncaught " + e.ExceptionDetails.String())
		}
	case "Log.entryAdded":
		var e struct {
			Entry struct{ Level, Text, URL string }
		}
		if json.Unmarshal(params, &e) == nil && e.Entry.Level == "error" {
			p.problem("error: " + e.Entry.Text + " " + e.Entry.URL)
		}
	}
}

func (p *Page) problem(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, text)
}

// Problems returns the console errors, uncaught exceptions and failed loads since the page was opened.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.problems)
}

// Goto loads a URL and waits for its load event.
func (p *Page) Goto(url string) error {
	select {
	case <-p.loaded: // of an earlier page
	default:
	}
	var nav struct{ ErrorText string }
	if err := p.call("Page.navigate", map[string]any{"url": url}, &nav); err != nil {
		return err
	}
	if nav.ErrorText != "" {
		return fmt.Errorf("chromium: %s: %s", url, nav.ErrorText)
	}
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case <-p.loaded:
		return nil
	case <-p.ctx.Done():
		return fmt.Errorf("chromium: %s: %w", url, context.Cause(p.ctx))
	case <-timer.C:
		return fmt.Errorf("chromium: %s: not loaded within %v", url, callTimeout)
	}
}

// An exception is what a script threw.
type exception struct {
	Text      string
	Exception struct{ Description string }
}

func (e exception) String() string {
	if e.Exception.Description != "" {
		return e.Exception.Description
	}
	return e.Text
}

// Eval runs an expression in the page, waits for it if it is a promise, and decodes its value into result, unless
// that is nil.
func (p *Page) Eval(expression string, result any) error {
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *exception
	}
	err := p.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &got)
	switch {
	case err != nil:
		return err
	case got.ExceptionDetails != nil:
		return fmt.Errorf("chromium: %s: %v", expression, got.ExceptionDetails)
	case result == nil || got.Result.Value == nil:
		return nil
	}
	return json.Unmarshal(got.Result.Value, result)
}

// waitEvery is how often Wait looks.
const waitEvery = 20 * time.Millisecond

// Wait waits up to limit until an expression is true in the page.
func (p *Page) Wait(expression string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		var ok bool
		if err := p.Eval("!!("+expression+")", &ok); err != nil {
			return err
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("chromium: not true within %v: %s", limit, expression)
		}
		timer := time.NewTimer(waitEvery)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			return fmt.Errorf("chromium: %w", context.Cause(p.ctx))
		}
	}
}

// Text returns what the first element a CSS selector finds shows.
func (p *Page) Text(selector string) (string, error) {
	var text *string
	if err := p.Eval(fmt.Sprintf("document.querySelector(%s)?.innerText ?? null", quote(selector)), &text); err != nil {
		return "", err
	}
	if text == nil {
		return "", fmt.Errorf("chromium: %s: %w", selector, errNoElement)
	}
	return *text, nil
}

// Click presses the mouse in the middle of the first element a CSS selector finds, after scrolling it into view.
// It fails if another element lies over that point.
func (p *Page) Click(selector string) error {
	var at *struct {
		X, Y  float64
		Cover string
	}
	err := p.Eval(fmt.Sprintf(`(() => {
		const e = document.querySelector(%s); if (!e) return null;
		e.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
		const r = e.getBoundingClientRect(), x = r.x + r.width/2, y = r.y + r.height/2;
		const top = document.elementFromPoint(x, y);
		return {x, y, cover: top && (top === e || e.contains(top) || top.contains(e)) ? "" : (top ? top.outerHTML.slice(0, 120) : "nothing, it is not visible")};
	})()`, quote(selector)), &at)
	switch {
	case err != nil:
		return err
	case at == nil:
		return fmt.Errorf("chromium: %s: %w", selector, errNoElement)
	case at.Cover != "":
		return fmt.Errorf("chromium: %s: in its place is %s", selector, at.Cover)
	}
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		event := map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}
		if kind == "mouseMoved" {
			event["button"] = "none"
		}
		if err := p.call("Input.dispatchMouseEvent", event, nil); err != nil {
			return err
		}
	}
	return nil
}

// Press presses one key, such as "Tab" or "Enter", on what has the focus.
func (p *Page) Press(key string) error {
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
	texts := map[string]string{"Enter": "\r", " ": " "}
	down := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": codes[key], "text": texts[key]}
	if err := p.call("Input.dispatchKeyEvent", down, nil); err != nil {
		return err
	}
	return p.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "windowsVirtualKeyCode": codes[key]}, nil)
}

// Type enters text where the focus is.
func (p *Page) Type(text string) error {
	return p.call("Input.insertText", map[string]any{"text": text}, nil)
}

// Screenshot returns the whole page, as far as it scrolls, as PNG.
func (p *Page) Screenshot() ([]byte, error) {
	var layout struct {
		Size struct{ Width, Height float64 } `json:"cssContentSize"`
	}
	if err := p.call("Page.getLayoutMetrics", nil, &layout); err != nil {
		return nil, err
	}
	clip := map[string]any{"x": 0, "y": 0, "width": layout.Size.Width, "height": layout.Size.Height, "scale": 1}
	var shot struct{ Data string }
	if err := p.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": clip}, &shot); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(shot.Data)
}

// SaveScreenshot writes [Page.Screenshot] to a file.
func (p *Page) SaveScreenshot(path string) error {
	png, err := p.Screenshot()
	if err != nil {
		return err
	}
	return os.WriteFile(path, png, 0o644)
}

// Close closes the tab.
func (p *Page) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), callTimeout)
	defer cancel()
	if err := p.b.wire.call(ctx, "", "Target.closeTarget", map[string]any{"targetId": p.target}, nil); err != nil {
		return fmt.Errorf("chromium: %w", err)
	}
	return nil
}

// quote makes a JavaScript string.
func quote(s string) string {
	data, _ := json.Marshal(s) // a string always can be
	return string(data)
}
