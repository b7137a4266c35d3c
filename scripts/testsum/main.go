// Command testsum runs go test in each module of the repository and says at the end what was
// skipped, why, and how much has run.
//
//	testsum <module folder> ... -- <arguments of go test>
//
// It prints a line per package, the output of what failed, and nothing of what passed. It fails
// when go test fails, and when a test is skipped without a reason.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	i := slices.Index(os.Args, "--")
	if i < 2 {
		fmt.Fprintln(os.Stderr, "usage: testsum <module folder> ... -- <arguments of go test>")
		os.Exit(2)
	}
	// A ctrl-C reaches go test as well; wait for it, so that what has run is still reported.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	start := time.Now()
	sum := newSummary(os.Stdout)
	ok := true
	for _, dir := range os.Args[1:i] {
		if err := goTest(dir, os.Args[i+1:], sum); err != nil {
			fmt.Printf("testsum: go test in %s: %v\n", dir, err)
			ok = false
		}
	}
	if !sum.report(time.Since(start)) || !ok {
		os.Exit(1)
	}
}

// goTest runs go test in dir and feeds its events to sum.
func goTest(dir string, args []string, sum *summary) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := sum.read(out); err != nil {
		return err
	}
	return cmd.Wait()
}

// read takes every event of one go test. A line that is no event is printed as it is.
func (s *summary) read(in io.Reader) error {
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				s.out.Write(line) //nolint:errcheck // the terminal
			} else {
				s.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// An event is one line of go test -json; go doc test2json describes it.
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
}

// module is cut off package names in the report.
const module = "github.com/holdfast-go/holdfast"

func short(pkg string) string {
	if rest := strings.TrimPrefix(strings.TrimPrefix(pkg, module), "/"); rest != "" {
		return rest
	}
	return "holdfast"
}
