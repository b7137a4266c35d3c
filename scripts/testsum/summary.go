package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A name is a test, or with an empty test its package.
type name struct{ pkg, test string }

// A summary collects the events of any number of runs of go test.
type summary struct {
	out      io.Writer
	held     map[name][]string   // output of what has not ended
	skipped  map[string][]string // tests by the reason that they gave
	noReason []string            // tests that were skipped and did not say why
	packages int                 // with tests, that have passed
	tests    int                 // that have passed, without their subtests
	subtests int
	failed   int // tests and packages
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, held: map[name][]string{}, skipped: map[string][]string{}}
}

func (s *summary) take(e event) {
	at := name{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.held[at] = append(s.held[at], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(e)
		}
		delete(s.held, at)
	}
}

func (s *summary) endTest(e event) {
	at := name{e.Package, e.Test}
	sub := strings.Contains(e.Test, "/")
	switch {
	case e.Action == "skip":
		s.skip(at)
	case e.Action == "fail":
		s.failed++
		s.print(at)
	case sub:
		s.subtests++
	default:
		s.tests++
	}
}

func (s *summary) skip(at name) {
	test := short(at.pkg) + " " + at.test
	if why := reason(s.held[at]); why != "" {
		s.skipped[why] = append(s.skipped[why], test)
	} else {
		s.noReason = append(s.noReason, test)
	}
}

// position is what testing puts before the text of a log line.
var position = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// reason returns what a skipped test logged, without the lines of go test itself.
func reason(output []string) string {
	var words []string
	for _, line := range output {
		text := strings.TrimSpace(position.ReplaceAllString(line, ""))
		if text != "" && !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- ") {
			words = append(words, text)
		}
	}
	return strings.Join(words, " ")
}

func (s *summary) endPackage(e event) {
	switch e.Action {
	case "pass":
		s.packages++
		fmt.Fprintf(s.out, "ok    %-40s %6.1fs\n", short(e.Package), e.Elapsed)
	case "fail":
		s.failed++
		s.printPackage(e.Package)
		fmt.Fprintf(s.out, "FAIL  %-40s %6.1fs\n", short(e.Package), e.Elapsed)
	}
	maps.DeleteFunc(s.held, func(at name, _ []string) bool { return at.pkg == e.Package })
}

// printPackage prints the output of a failed package, and of its tests that never ended: those
// that were running when it panicked or ran out of time.
func (s *summary) printPackage(pkg string) {
	names := slices.SortedFunc(maps.Keys(s.held), func(a, b name) int { return cmp.Compare(a.test, b.test) })
	for _, at := range names {
		if at.pkg == pkg {
			s.print(at)
		}
	}
}

func (s *summary) print(at name) {
	for _, line := range s.held[at] {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(s.out, line)
		}
	}
}

// report prints the end and reports whether all is well.
func (s *summary) report(took time.Duration) bool {
	skipped := 0
	for _, why := range slices.Sorted(maps.Keys(s.skipped)) {
		tests := s.skipped[why]
		if skipped == 0 {
			fmt.Fprintln(s.out, "\nskipped:")
		}
		skipped += len(tests)
		fmt.Fprintf(s.out, "  %s\n      %s\n", why, shorten(tests))
	}
	if skipped == 0 {
		fmt.Fprintln(s.out, "\nskipped: nothing")
	}
	for _, test := range s.noReason {
		fmt.Fprintf(s.out, "testsum: %s was skipped without a reason\n", test)
	}
	fmt.Fprintf(s.out, "%d tests (%d with subtests) passed in %d packages, %d skipped, %d failed; %v\n",
		s.tests, s.tests+s.subtests, s.packages, skipped+len(s.noReason), s.failed, took.Round(time.Second))
	return s.failed == 0 && len(s.noReason) == 0
}

// shorten lists the first few tests.
func shorten(tests []string) string {
	const most = 4
	if len(tests) <= most {
		return strings.Join(tests, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(tests[:most], ", "), len(tests)-most)
}
