package sqstest_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The digests of the sample attributes, computed by another program.
const (
	sampleDigest = "35ee509f49619b2107ed0453c5d95180"
	traceDigest  = "62a56dd927315f2b2e12832b84617ea5"
)

// A deviation is a rule that a server is known to break.
type deviation struct {
	seen string // part of the complaint
	does string // what it does, for the table in docs/sqstest.md
}

// deviations lists what each server does against the documentation. A rule that is on a server's
// list must fail there in just that way.
func deviations() map[string]map[string]deviation {
	return map[string]map[string]deviation{
		"fauxqs": {
			"create with a bad name":                        {"= success", "accepts any queue name"},
			"FIFO needs its attribute":                      {"= success", "makes a standard queue with a .fifo name"},
			"unknown queue attribute":                       {"= success", "accepts unknown attributes"},
			"no attribute names, no attributes":             {"want 0", "returns all attributes when none is named"},
			"get an unknown queue attribute":                {"= success", "ignores unknown names"},
			"a deleted name rests 60 s":                     {"= success", "a deleted name is free at once"},
			"second purge within 60 s":                      {"= success", "purges as often as asked"},
			"digests of a message":                          {"MD5 of the system attributes = ,", "no digest of system attributes"},
			"trace header":                                  {"AWSTraceHeader = ,", "does not return AWSTraceHeader"},
			"characters that no message may have":           {"Invalid characters found", "refuses characters above U+FFFF, such as emoji"},
			"ten message attributes at most":                {"= success", "no limit"},
			"reserved attribute names":                      {"= success", "accepts any name"},
			"attribute types":                               {"= success", "accepts any type and value"},
			"delay of 15 minutes at most":                   {"= success", "no limit"},
			"deduplication id on a standard queue":          {"= success", "ignores it"},
			"batch with a bad id":                           {"81 characters = success", "no limit of length"},
			"batch with one bad delay":                      {"2 successes", "accepts any delay"},
			"digest covers the attributes returned":         {"want 35ee509f49619b2107ed0453c5d95180", "always the digest of all attributes"},
			"delete with garbage":                           {"= success", "any handle is success"},
			"delete a batch with one bad handle":            {"2 successes", "any handle is success"},
			"leases beyond 12 h in all":                     {"= success", "counts each lease alone"},
			"change a lease with garbage":                   {"= MessageNotInflight", "answers MessageNotInflight"},
			"a dead letter names its source":                {"DeadLetterQueueSourceArn = ,", "does not return it"},
			"list the sources of a dead-letter queue":       {"Unknown action", "does not have the action"},
			"no dead-letter queue of that name":             {"= success", "does not look"},
			"a FIFO dead-letter queue for a standard queue": {"= success", "does not look"},
			"a dead-letter queue that allows nobody":        {"= success", "ignores RedriveAllowPolicy"},
			"maxReceiveCount out of range":                  {"= success", "no limit"},
			"FIFO gives several of a group at once":         {"messages = 1", "one message of a group per receive"},
			"FIFO deduplicates by group":                    {"messages = 1", "always by queue"},
			"FIFO repeats a receive attempt":                {"received 0 messages", "ignores ReceiveRequestAttemptId"},
			"FIFO refuses a late delete":                    {"= success", "deletes"},
			"group id on a standard queue":                  {"MessageGroupId = ,", "accepts it and does not return it"},
			"quiet tenants go before a noisy one":           {"not among the first", "strictly by age"},
		},
		"moto": {
			"FIFO needs its attribute":                      {"= success", "makes a standard queue with a .fifo name"},
			"unknown queue attribute":                       {"= success", "accepts unknown attributes"},
			"queue attribute out of range":                  {"DelaySeconds=901 = success", "checks MaximumMessageSize only"},
			"set and get queue attributes":                  {"bad value = success", "accepts any value"},
			"a deleted name rests 60 s":                     {"= success", "a deleted name is free at once"},
			"digests of a message":                          {"MD5 of the system attributes = ,", "no digest of system attributes"},
			"empty body":                                    {"= success", "accepts it"},
			"characters that no message may have":           {"= success", "accepts any character"},
			"attributes count in the size":                  {"= success", "only the body counts"},
			"ten message attributes at most":                {"= success", "no limit"},
			"reserved attribute names":                      {"AWS.x = success", "accepts reserved prefixes"},
			"attribute types":                               {"= success", "accepts empty values"},
			"deduplication id on a standard queue":          {"= success", "ignores it"},
			"batch with one bad character":                  {"2 successes", "accepts any character"},
			"delete with an old handle":                     {"received 0 messages", "deletes the message"},
			"change the lease of a visible message":         {"= success", "accepts it"},
			"change a lease with an old handle":             {"= success", "changes the lease"},
			"a dead letter names its source":                {"DeadLetterQueueSourceArn = ,", "does not return it"},
			"a FIFO dead-letter queue for a standard queue": {"= success", "does not look"},
			"a dead-letter queue that allows nobody":        {"= success", "ignores RedriveAllowPolicy"},
			"maxReceiveCount out of range":                  {"= success", "no limit"},
			"FIFO wakes a poll when a group opens":          {"received 0 messages", "the poll goes on sleeping"},
			"FIFO deduplicates what was deleted":            {"[second]", "forgets a deduplication id with its message"},
			"FIFO deduplicates by group":                    {"messages = 1", "always by queue"},
			"FIFO sequence numbers grow":                    {" after ", "random sequence numbers"},
			"FIFO repeats a receive attempt":                {"received 0 messages", "ignores ReceiveRequestAttemptId"},
			"FIFO refuses a late delete":                    {"= success", "deletes"},
			"quiet tenants go before a noisy one":           {"not among the first", "strictly by age"},
		},
	}
}

// TestTable holds docs/sqstest.md to the suite: the table of deviations there is this one.
func TestTable(t *testing.T) {
	const file = "../../docs/sqstest.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- deviations -->\n", "<!-- end of deviations -->"
	head, rest, _ := strings.Cut(string(doc), begin)
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no part between %q and %q", file, begin, end)
	}
	want := head + begin + table() + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(doc) != want {
		t.Errorf("%s is not up to date; run: go test ./drtest/sqstest -run TestTable -update", file)
	}
}

var update = flag.Bool("update", false, "rewrite the generated part of docs/sqstest.md")

func table() string {
	var b strings.Builder
	b.WriteString("| rule | source | sqstest | fauxqs 2.4.1 | moto 5.2.5 |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rules() {
		fmt.Fprintf(&b, "| %s | %s |", r.name, r.says)
		for _, server := range []string{"sqstest", "fauxqs", "moto"} {
			d, deviates := deviations()[server][r.name]
			switch {
			case deviates:
				fmt.Fprintf(&b, " **no**: %s |", d.does)
			case server != "sqstest" && r.takes > longest:
				b.WriteString(" not tried, takes " + strings.TrimSuffix(r.takes.String(), "0s") + " |")
			default:
				b.WriteString(" yes |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestDeviationsAreRules(t *testing.T) {
	for server, list := range deviations() {
		for name := range list {
			if !slices.ContainsFunc(rules(), func(r rule) bool { return r.name == name }) {
				t.Errorf("%s: no rule %q", server, name)
			}
		}
	}
	seen := map[string]bool{}
	for _, r := range rules() {
		if seen[r.name] {
			t.Errorf("two rules %q", r.name)
		}
		seen[r.name] = true
	}
}
