//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/chromium"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// update writes the pictures of the documentation.
var update = flag.Bool("update", false, "write docs/images/page-*.png")

// asCommand makes this test binary the command.
const asCommand = "ORDERS_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// soon is how long a busy machine may take to show something, and late how long a move of the writer may take there.
const (
	soon = time.Minute
	late = 4 * time.Minute
)

// patient are settings for a busy machine: shorter than production's, longer than the command's own.
var patient = []string{"-addr", "127.0.0.1:0", "-rate", "6", "-lease", "4s", "-probe", "500ms"}

var printedURL = regexp.MustCompile(`http://[0-9.:]+/`)

// urlIn reads what the command prints until it says where the page is.
func urlIn(t *testing.T, out io.Reader) string {
	t.Helper()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if url := printedURL.FindString(lines.Text()); url != "" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return url
		}
	}
	t.Fatal("the command printed no URL")
	return ""
}

// start runs the command in this process until stop is called, which returns its exit code.
func start(t *testing.T) (url string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	var errs bytes.Buffer // of the command until it ends
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, patient, write, &errs)
		_ = write.Close()
		ended <- code
	}()
	stop = func() int {
		cancel()
		select {
		case code := <-ended:
			ended <- code
			if code != 0 {
				t.Logf("the command said: %s", &errs)
			}
			return code
		case <-time.After(soon):
			t.Fatal("the command did not end")
		}
		return -1
	}
	t.Cleanup(func() { stop() })
	return urlIn(t, read), stop
}

// A tab is a page of the browser, with the test that it belongs to.
type tab struct {
	*chromium.Page
	t *testing.T
}

func (p *tab) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// until waits for something to be true in the page.
func (p *tab) until(expression string, limit time.Duration) {
	p.t.Helper()
	if err := p.Wait(expression, limit); err != nil {
		var text string
		_ = p.Eval("document.body.innerText", &text)
		p.t.Fatalf("%v\nproblems: %q\n%s", err, p.Problems(), text)
	}
}

func (p *tab) press(action string) {
	p.t.Helper()
	p.until("!document.querySelector(`[data-action="+action+"]`).hasAttribute(`aria-disabled`)", soon)
	p.must(p.Click("[data-action=" + action + "]"))
}

// What the page shows.
const (
	decided = `document.querySelector("#decision").textContent`
	writer  = `document.querySelector("#decision .big").textContent`
	east    = `document.querySelector("article[aria-labelledby=region-us-east-1]").textContent`
	faults  = `document.querySelector("#faults").textContent`
	ledger  = `document.querySelector("#ledger").textContent`
)

// open starts the command and shows its page, once all is well.
func open(t *testing.T) (p *tab, stop func() int) {
	t.Helper()
	browser := servertest.Chromium(t)
	url, stop := start(t)
	page, err := browser.Page(t.Context(), chromium.View{Width: 1280, Height: 900})
	if err != nil {
		t.Fatal(err)
	}
	p = &tab{page, t}
	p.must(p.Goto(url))
	p.until(`document.querySelector("#live").textContent == "Live" && document.querySelectorAll("article").length == 2`, soon)
	p.until(writer+` == "us-east-1" && `+east+`.includes("Healthy")`, soon)
	return p, stop
}

// TestPageOfTheService loses the writer Region on the page of the whole command, sees the standby take over, and puts all right again.
func TestPageOfTheService(t *testing.T) {
	p, stop := open(t)
	var before string
	p.must(p.Eval(ledger, &before))
	p.until(ledger+" != `"+before+"`", soon) // users order, and the page hears of it
	p.look("steady")
	p.picturesque(45 * time.Second)

	p.press("blackhole-us-east-1")
	p.until(faults+`.includes("Region down: Black hole · us-east-1")`, soon)
	p.until(writer+` == "us-west-2"`, late)
	p.until(`document.querySelector("#timeline").textContent.includes("us-west-2 writes")`, soon)
	p.until(decided+`.includes("Last move: us-east-1 → us-west-2")`, late)
	p.picturesque(15 * time.Second)
	p.shots()

	p.press("heal")
	p.until(faults+` == "None injected"`, soon)
	p.until(east+`.includes("Healthy")`, late)
	p.until(east+`.includes("Former writer")`, late)
	p.confirm("rebuild-us-east-1")
	p.until(east+`.includes("Standby")`, soon)
	p.look("healed")
	if problems := p.Problems(); len(problems) != 0 {
		t.Errorf("the console says %q", problems)
	}
	p.failBack()
	if code := stop(); code != 0 {
		t.Errorf("the command's exit code is %d", code)
	}
}

// TestEveryButtonOnThePage presses what TestPageOfTheService does not: each fault of each Region, twice; and a move without a plan, which is denied, asked for
// again and approved.
func TestEveryButtonOnThePage(t *testing.T) {
	p, _ := open(t)
	for _, id := range []string{
		"gray-us-east-1", "redis-us-east-1", "sqs-us-east-1", "payments-us-east-1", "slow-us-east-1",
		"gray-us-west-2", "redis-us-west-2", "sqs-us-west-2", "lag-us-west-2", "slow-us-west-2", "blackhole-us-west-2", "refuse-us-west-2",
	} {
		p.breakAndMend(id)
	}

	p.press("refuse-us-east-1")
	p.until(writer+` == "us-west-2"`, late)
	p.press("refuse-us-east-1")
	p.until(faults+` == "None injected"`, soon)
	p.until(east+`.includes("Former writer")`, late)
	p.confirm("rebuild-us-east-1")
	p.until(east+`.includes("Standby")`, soon)
	p.breakAndMend("lag-us-east-1")
	if problems := p.Problems(); len(problems) != 0 {
		t.Errorf("the console says %q", problems)
	}

	const waits = `document.querySelector(".move").textContent.startsWith("A move to us-east-1 waits for approval")`
	p.insistBy(p.confirm, "fail-over-us-east-1", waits)
	p.press("deny")
	p.until(`!(`+waits+`)`, soon)
	p.insistBy(p.confirm, "fail-over-us-east-1", waits)
	p.must(p.Eval(`document.querySelector("#as").value = "grace"`, nil))
	p.insist("approve", `!(`+waits+`)`)
	p.until(writer+` == "us-east-1"`, late)
}

// breakAndMend presses a fault's button, sees it active, and presses it again.
func (p *tab) breakAndMend(id string) {
	p.t.Helper()
	button := "document.querySelector(`[data-action=" + id + "]`)"
	pressed := button + ".getAttribute(`aria-pressed`) == "
	p.press(id)
	p.until(pressed+"`true` && !"+button+".hasAttribute(`aria-busy`) && "+faults+` != "None injected"`, soon) // while it is busy it takes no press
	p.press(id)
	p.until(pressed+"`false` && "+faults+` == "None injected"`, soon)
}

// confirm presses a button that asks whether one is sure.
func (p *tab) confirm(action string) {
	p.t.Helper()
	p.press(action)
	p.until(`document.querySelector("#ask").open`, soon)
	p.must(p.Click("#ask-yes"))
}

// failBack asks as one person and approves as another. Both ask again while a guard refuses, as people do.
func (p *tab) failBack() {
	p.t.Helper()
	const waits = `document.querySelector(".move").textContent.startsWith("A move to us-east-1 waits for approval")`
	p.insist("fail-back", waits)
	p.must(p.Eval(`document.querySelector("#as").value = "grace"`, nil))
	p.insist("approve", `!(`+waits+`)`)
	p.until(decided+`.includes("Last move: us-west-2 → us-east-1, planned")`, late)
	p.look("back")
}

// insist presses a button until something is true.
func (p *tab) insist(action, condition string) {
	p.t.Helper()
	p.insistBy(p.press, action, condition)
}

// insistBy is insist in a way of its own.
func (p *tab) insistBy(press func(string), action, condition string) {
	p.t.Helper()
	for deadline := time.Now().Add(late); ; {
		press(action)
		err := p.Wait(condition, 5*time.Second)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: %v", action, err)
		}
	}
}

// look keeps a picture of what is there.
func (p *tab) look(name string) []byte {
	p.t.Helper()
	p.until("document.getAnimations().length == 0", soon)
	shot, err := p.Screenshot()
	p.must(err)
	p.must(os.WriteFile(filepath.Join(p.t.ArtifactDir(), name+".png"), shot, 0o644))
	var over int
	p.must(p.Eval("document.documentElement.scrollWidth - innerWidth", &over))
	if over > 0 {
		p.t.Errorf("%s: the page is %d pixels wider than the screen", name, over)
	}
	return shot
}

// shots looks at the page in all ways.
func (p *tab) shots() {
	p.t.Helper()
	wide := chromium.View{Width: 1280, Height: 900}
	for name, view := range map[string]chromium.View{
		"page-light": wide, "page-dark": {Width: 1280, Height: 900, Dark: true},
		"phone-light": {Width: 360, Height: 740, Mobile: true}, "phone-dark": {Width: 360, Height: 740, Mobile: true, Dark: true},
	} {
		p.must(p.Show(view))
		shot := p.look(name)
		if *update && strings.HasPrefix(name, "page-") {
			p.must(chromium.SavePicture("../../docs/images/"+name+".png", shot))
		}
	}
	p.must(p.Show(wide))
}

// picturesque lets the curves grow, for the documentation's pictures only.
func (p *tab) picturesque(d time.Duration) {
	if *update {
		time.Sleep(d)
	}
}

// TestInterrupt sends the command the signal that Ctrl-C sends.
func TestInterrupt(t *testing.T) {
	t.Run("in peace", func(t *testing.T) { interrupt(t, "") })
	t.Run("during an outage", func(t *testing.T) { interrupt(t, "blackhole-us-east-1") })
}

func interrupt(t *testing.T, fault string) {
	c := exec.CommandContext(t.Context(), os.Args[0], patient...)
	c.Env = append(os.Environ(), asCommand+"=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	page := urlIn(t, out)
	if fault != "" {
		await(t, page, "a writer", func(s shown) bool { return s.Decision.Writer == "us-east-1" })
		if status := pressed(t, page, fault, url.Values{}); status != http.StatusOK {
			t.Errorf("%s = %d, want 200", fault, status)
		}
	}
	time.Sleep(2 * time.Second) // not a race: users are at it, wherever they are
	asked := time.Now()
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("after SIGINT the command at %s ends with %v: %s", page, err, &errs)
	}
	if took := time.Since(asked); took > 20*time.Second {
		t.Errorf("it took %v to end, want seconds", took)
	}
}

// A shown is what the test reads of the page's state.
type shown struct {
	Decision struct {
		Writer string
		Move   *struct {
			ID      string
			Waiting bool
		}
	}
	Faults []struct{ ID string }
}

// await reads the page's state until it is as it should be.
func await(t *testing.T, url, what string, holds func(shown) bool) (s shown) {
	t.Helper()
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(url + "state")
		if err != nil {
			t.Fatal(err)
		}
		s = shown{}
		err = json.NewDecoder(resp.Body).Decode(&s)
		_ = resp.Body.Close()
		if err == nil && holds(s) {
			return s
		}
	}
	t.Fatalf("the page does not show %s but %+v", what, s)
	return s
}

// pressed presses a button and returns the status of the answer.
func pressed(t *testing.T, page, button string, form url.Values) int {
	t.Helper()
	resp, err := http.PostForm(page+"actions/"+button, form)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(resp.Body)
	t.Logf("%s: %d %s", button, resp.StatusCode, answer)
	return resp.StatusCode
}

// TestButtons presses every fault once, and asks for a move that is denied.
func TestButtons(t *testing.T) {
	page, _ := start(t)
	await(t, page, "a writer", func(s shown) bool { return s.Decision.Writer == "us-east-1" })
	for _, id := range []string{"redis-us-west-2", "sqs-us-east-1", "sqs-us-west-2", "payments-us-east-1", "lag-us-west-2", "gray-us-east-1", "slow-us-west-2", "redis-us-east-1", "refuse-us-west-2"} {
		if status := pressed(t, page, id, url.Values{}); status != http.StatusOK {
			t.Errorf("%s = %d, want 200", id, status)
			continue
		}
		await(t, page, id, func(s shown) bool { return len(s.Faults) == 1 && s.Faults[0].ID == id })
		if status := pressed(t, page, id, url.Values{"undo": {"1"}}); status != http.StatusOK {
			t.Errorf("healing %s = %d, want 200", id, status)
		}
		await(t, page, "no fault", func(s shown) bool { return len(s.Faults) == 0 })
	}
	if status := pressed(t, page, "lag-us-east-1", url.Values{}); status != http.StatusConflict {
		t.Errorf("replication lag of the writer = %d, want 409", status)
	}
	if status := pressed(t, page, "rebuild-us-west-2", url.Values{}); status != http.StatusConflict {
		t.Errorf("rebuilding a copy = %d, want 409", status)
	}
	asked := time.Now() // a guard may refuse until West is well again
	for pressed(t, page, "fail-over-us-west-2", url.Values{"as": {"ada"}}) != http.StatusOK {
		if time.Since(asked) > late {
			t.Fatal("every request is refused")
		}
		time.Sleep(time.Second)
	}
	s := await(t, page, "a move that waits", func(s shown) bool { return s.Decision.Move != nil && s.Decision.Move.Waiting })
	move := url.Values{"as": {"ada"}, "move": {s.Decision.Move.ID}}
	if status := pressed(t, page, "approve", move); status != http.StatusUnprocessableEntity {
		t.Errorf("approving one's own request = %d, want 422", status)
	}
	if status := pressed(t, page, "deny", move); status != http.StatusOK {
		t.Errorf("deny = %d, want 200", status)
	}
	await(t, page, "that nothing waits", func(s shown) bool { return s.Decision.Move == nil && s.Decision.Writer == "us-east-1" })
}

// TestNothingIsLeft looks for goroutines of the command after its end.
func TestNothingIsLeft(t *testing.T) {
	before := ours()
	url, stop := start(t)
	for range 20 { // users are at it meanwhile
		resp, err := http.Get(url + "state")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		time.Sleep(100 * time.Millisecond)
	}
	http.DefaultClient.CloseIdleConnections()
	if code := stop(); code != 0 {
		t.Errorf("the command's exit code is %d", code)
	}
	var left []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if left = ours(); len(left) <= len(before) {
			return
		}
	}
	t.Errorf("%d goroutines are left, %d were there before:\n%s", len(left), len(before), strings.Join(left, "\n\n"))
}

// ours are the stacks of goroutines but those of tests and of the runtime.
func ours() (stacks []string) {
	buf := make([]byte, 4<<20)
	for _, s := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if !strings.Contains(s, "testing.") && !strings.Contains(s, "internal/chromium") && !strings.Contains(s, "os/signal.") {
			stacks = append(stacks, s)
		}
	}
	return stacks
}
