package drtest

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// A goroutine is one entry of a stack dump.
type goroutine struct {
	id, parent int64
	state      string // without "(durable)"
	durable    bool
	bubble     int64 // 0 = none
	frames     []frame
	creator    frame
}

type frame struct {
	function, file string
	line           int
}

func (f frame) String() string { return fmt.Sprintf("%s:%d in %s", f.file, f.line, f.function) }

// allGoroutines returns a snapshot of the process. It stops the world.
func allGoroutines() []goroutine {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return parseGoroutines(string(buf[:n]))
		}
	}
}

// ownGoroutine returns the calling goroutine.
func ownGoroutine() goroutine {
	buf := make([]byte, 1<<12)
	return parseGoroutine(string(buf[:runtime.Stack(buf, false)]))
}

func bubbleOf(g goroutine) int64 { return g.bubble }

func parseGoroutines(dump string) []goroutine {
	var gs []goroutine
	for text := range strings.SplitSeq(strings.TrimSpace(dump), "\n\n") {
		gs = append(gs, parseGoroutine(text))
	}
	return gs
}

var (
	headExpr    = regexp.MustCompile(`^goroutine (\d+)(?: [^\[]*)? \[([^\]]*)\]:`)
	bubbleExpr  = regexp.MustCompile(`synctest bubble (\d+)`)
	creatorExpr = regexp.MustCompile(`^created by (.*?)(?: in goroutine (\d+))?$`)
	fileExpr    = regexp.MustCompile(`^\t(.*):(\d+)`)
)

func parseGoroutine(text string) goroutine {
	lines := strings.Split(text, "\n")
	var g goroutine
	if m := headExpr.FindStringSubmatch(lines[0]); m != nil {
		g.id, _ = strconv.ParseInt(m[1], 10, 64)
		state, _, _ := strings.Cut(m[2], ",")
		g.state, g.durable = strings.CutSuffix(state, " (durable)")
	}
	if m := bubbleExpr.FindStringSubmatch(lines[0]); m != nil {
		g.bubble, _ = strconv.ParseInt(m[1], 10, 64)
	}
	for i := 1; i+1 < len(lines); i += 2 {
		f := parseFrame(lines[i], lines[i+1])
		if m := creatorExpr.FindStringSubmatch(lines[i]); m != nil {
			f.function = m[1]
			g.creator = f
			g.parent, _ = strconv.ParseInt(m[2], 10, 64)
			break
		}
		g.frames = append(g.frames, f)
	}
	return g
}

func parseFrame(call, position string) frame {
	f := frame{function: call}
	if i := strings.LastIndex(call, "("); i > 0 {
		f.function = call[:i]
	}
	if m := fileExpr.FindStringSubmatch(position); m != nil {
		f.file = m[1]
		f.line, _ = strconv.Atoi(m[2])
	}
	return f
}

// inBubble returns the goroutines of a bubble.
func inBubble(gs []goroutine, bubble int64) []goroutine {
	var out []goroutine
	for _, g := range gs {
		if g.bubble == bubble && bubble != 0 {
			out = append(out, g)
		}
	}
	return out
}

// stdRoot is the directory of the standard library's sources in stack dumps; empty under -trimpath.
var stdRoot = sync.OnceValue(func() string {
	pc := reflect.ValueOf(http.NewRequest).Pointer()
	file, _ := runtime.FuncForPC(pc).FileLine(pc)
	root, _, _ := strings.Cut(file, "net/http/")
	return root
})

const ownPackages = "github.com/holdfast-go/holdfast/drtest"

// foreign reports whether a frame belongs to the code under test rather than to the standard library or to
// the simulation.
func (f frame) foreign() bool {
	if own, ok := strings.CutPrefix(f.function, ownPackages); ok && (own[:1] == "." || strings.HasPrefix(own, "/simnet.")) {
		return false
	}
	if root := stdRoot(); root != "" {
		return f.file != "" && !strings.HasPrefix(f.file, root)
	}
	first, _, _ := strings.Cut(f.file, "/")
	return strings.Contains(first, ".") // with -trimpath the standard library has paths like net/http/x.go
}

// place returns the frame that tells a reader most: the innermost of the code under test, else that of the
// nearest ancestor, else the innermost of all.
func (g goroutine) place(all []goroutine) frame {
	byID := map[int64]goroutine{}
	for _, x := range all {
		byID[x.id] = x
	}
	for at, seen := g, map[int64]bool{}; !seen[at.id]; at = byID[at.parent] {
		seen[at.id] = true
		for _, f := range append(at.frames, at.creator) {
			if f.foreign() {
				return f
			}
		}
	}
	if len(g.frames) > 0 {
		return g.frames[0]
	}
	return g.creator
}

// ownBubbleMachinery reports whether the goroutine is part of every bubble.
func (g goroutine) ownBubbleMachinery() bool {
	for _, f := range g.frames {
		if f.function == "testing/synctest.testingSynctestTest" || f.function == "internal/synctest.Run" {
			return true
		}
	}
	return false
}

// describe lists goroutines, one to a line.
func describe(gs []goroutine) string {
	var b strings.Builder
	for _, g := range gs {
		if g.ownBubbleMachinery() {
			continue
		}
		fmt.Fprintf(&b, "  goroutine %d [%s] at %v", g.id, g.state, g.place(gs))
		if g.creator.file != "" {
			fmt.Fprintf(&b, "\n    started at %v", g.creator)
		}
		b.WriteString("\n")
	}
	return b.String()
}
