package scripts

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/internal/servertest"
)

// The addresses in compose.env are those that compose.yaml publishes, for every shared server.
func TestComposeEnvMatchesComposeYAML(t *testing.T) {
	t.Parallel()
	env := read(t, "compose.env")
	published := find(read(t, "../compose.yaml"), `"(127\.0\.0\.1:\d+):`)
	if used := find(env, `(127\.0\.0\.1:\d+)`); !slices.Equal(used, published) {
		t.Errorf("compose.env names %v, compose.yaml publishes %v", used, published)
	}
	var want []string
	for _, shared := range servertest.AllShared() {
		want = append(want, string(shared))
	}
	slices.Sort(want)
	if got := find(env, `export (\w+)=`); !slices.Equal(got, want) {
		t.Errorf("compose.env sets %v, want %v", got, want)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find returns the first group of every match, sorted.
func find(text, pattern string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return found
}
