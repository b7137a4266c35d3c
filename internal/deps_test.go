// Package internal_test pins who may import whom.
package internal_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/holdfast-go/holdfast"

// cores are the packages users import first. Each lists the modules it is built on; besides those a
// core may link the standard library, internal/ and the OpenTelemetry API.
var cores = map[string][]string{
	"retry":       {"github.com/cenkalti/backoff/v4"},
	"breaker":     {"github.com/sony/gobreaker/v2"},
	"idempotency": nil,
	"queue":       nil,
	"degrade":     nil,
	"failover":    nil,
}

// The vendor SDKs, with what each links itself.
var (
	goRedis     = []string{"github.com/redis/go-redis/v9", "go.uber.org/atomic", "github.com/cespare/xxhash/v2", "golang.org/x/sys"}
	awsSDK      = []string{"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"}
	openFeature = []string{"github.com/open-feature/go-sdk", "go.uber.org/mock"}
)

// leaves bring vendor SDKs, named here, and may import cores. A leaf that is not listed brings none.
var leaves = map[string][]string{
	"retry/retryaws":                awsSDK,
	"breaker/limit":                 {"golang.org/x/time"},
	"idempotency/redisstore":        goRedis,
	"idempotency/storetest":         {"github.com/anishathalye/porcupine"},
	"queue/sqsqueue":                awsSDK,
	"degrade/redisflags":            goRedis,
	"degrade/openfeatureflags":      openFeature,
	"failover/rediscoord":           goRedis,
	"failover/dynamocoord":          awsSDK,
	"failover/runbook/redisjournal": goRedis,
}

// telemetryModules are the OpenTelemetry API and what it links.
var telemetryModules = []string{"go.opentelemetry.io", "github.com/go-logr", "github.com/cespare/xxhash/v2"}

// free are trees that may import anything: they are test support and examples.
var free = []string{"drtest", "examples"}

// copied are trees that users copy into programs of their own, where nothing under internal/ can be imported.
var copied = []string{"examples/orders/service"}

// A pkg is one line of go list: a package of ours with what it imports and links.
type pkg struct {
	path    string // below the module; "" is the root
	imports []string
	deps    []string
}

func TestImportRules(t *testing.T) {
	for _, p := range list(t) {
		for _, problem := range check(p) {
			t.Error(problem)
		}
	}
}

func TestCheckFindsWhatIsForbidden(t *testing.T) {
	otel := "go.opentelemetry.io/otel"
	tests := []struct {
		name string
		p    pkg
		want string
	}{
		{"sibling", pkg{path: "retry", imports: []string{module + "/breaker"}}, "retry imports breaker"},
		{"root from a core", pkg{path: "queue", imports: []string{module}}, "queue imports the root"},
		{"leaf from a core", pkg{path: "queue", imports: []string{module + "/queue/spool"}}, "queue imports queue/spool"},
		{"vendor SDK in a core", pkg{path: "queue", deps: []string{"github.com/aws/aws-sdk-go-v2/service/sqs"}}, "queue links"},
		{"vendor SDK in a leaf not listed", pkg{path: "queue/spool", deps: []string{"go.etcd.io/bbolt"}}, "queue/spool links"},
		{"root otel outside telemetry", pkg{path: "retry", imports: []string{otel}}, "retry imports " + otel},
		{"internal imports a core", pkg{path: "internal/outcome", imports: []string{module + "/retry"}}, "internal/outcome imports retry"},
		{"internal imports the root", pkg{path: "internal/outcome", imports: []string{module}}, "internal/outcome imports the root"},
		{"root imports a core", pkg{path: "", imports: []string{module + "/retry"}}, "the root imports retry"},
		{"library imports test support", pkg{path: "failover", imports: []string{module + "/drtest"}}, "failover imports drtest"},
		{"users' copy imports internal", pkg{path: "examples/orders/service", imports: []string{module + "/internal/planted"}}, "examples/orders/service imports internal/planted"},
		{"leaf imports test support", pkg{path: "failover/coordtest", imports: []string{module + "/drtest"}}, "failover/coordtest imports drtest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := check(tt.p)
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("check = %q, want one problem with %q", got, tt.want)
			}
		})
	}
	allowed := []pkg{
		{path: "retry", imports: []string{module + "/internal/outcome", otel + "/metric"}, deps: []string{"github.com/cenkalti/backoff/v4"}},
		{path: "queue/sqsqueue", imports: []string{module + "/queue"}, deps: []string{"github.com/aws/aws-sdk-go-v2/aws"}},
		{path: "examples/orders", imports: []string{module + "/queue", module}, deps: []string{"example.com/anything"}},
		{path: "internal/telemetry", imports: []string{otel}, deps: []string{otel}},
	}
	for _, p := range allowed {
		if got := check(p); len(got) != 0 {
			t.Errorf("check(%s) = %q, want nothing", p.path, got)
		}
	}
}

// check returns what p imports or links against the rules.
func check(p pkg) (problems []string) {
	if below(p.path, copied...) {
		for _, imp := range p.imports {
			if below(ours(imp), "internal") {
				problems = append(problems, fmt.Sprintf("%s imports %s: users copy it, and cannot", label(p.path), label(ours(imp))))
			}
		}
	}
	if below(p.path, free...) {
		return problems
	}
	for _, imp := range p.imports {
		if why := forbidden(p.path, imp); why != "" {
			problems = append(problems, fmt.Sprintf("%s imports %s: %s", label(p.path), label(ours(imp)), why))
		}
	}
	may := slices.Concat(telemetryModules, cores[p.path], leaves[p.path], ofCoreAbove(p.path))
	for _, dep := range p.deps {
		if !isStandard(dep) && !isOurs(dep) && !below(dep, may...) {
			problems = append(problems, fmt.Sprintf("%s links %s: not one of its building blocks", label(p.path), dep))
		}
	}
	return problems
}

// forbidden says why the package at path may not import imp; "" if it may.
func forbidden(path, imp string) string {
	if imp == "go.opentelemetry.io/otel" && path != "internal/telemetry" {
		return "only internal/telemetry imports the root otel package"
	}
	if !isOurs(imp) {
		return ""
	}
	target := ours(imp)
	_, toCore := cores[target]
	switch {
	case below(target, "internal"):
		return ""
	case path == "" || below(path, "internal"):
		return "the root and internal/ import only internal/"
	case below(target, free...):
		return "test support must not link into programs"
	case target == "":
		return "packages meet the root through methods of errors, not imports"
	case strings.Contains(path, "/") && (toCore || below(target, strings.SplitN(path, "/", 2)[0])):
		return "" // a leaf may import cores and what lies in its own tree
	}
	return "cores import no sibling and no leaf"
}

// ofCoreAbove lists the modules of the cores that a leaf may import.
func ofCoreAbove(path string) (modules []string) {
	if strings.Contains(path, "/") && !below(path, "internal") {
		for _, m := range cores {
			modules = append(modules, m...)
		}
	}
	return modules
}

// below reports whether path is one of the trees or lies in one.
func below(path string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return path == tree || strings.HasPrefix(path, tree+"/")
	})
}

func isOurs(path string) bool { return below(path, module) }

// isStandard: import paths of the standard library have no dot in their first element.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// ours shortens a path of ours to the part below the module.
func ours(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func label(path string) string {
	if path == "" {
		return "the root"
	}
	return path
}

// list asks the go command for every package of the module, without its tests.
func list(t *testing.T) (packages []pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}|{{join .Imports " "}}|{{join .Deps " "}}`, module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Split(lines.Text(), "|")
		packages = append(packages, pkg{ours(f[0]), strings.Fields(f[1]), strings.Fields(f[2])})
	}
	if len(packages) < 2 {
		t.Fatalf("go list found %d packages: %s", len(packages), out)
	}
	return packages
}
