package telemetry

import (
	"fmt"
	"strings"
)

// Markdown renders docs/metrics.md.
func Markdown(packages []*Package) string {
	var b strings.Builder
	b.WriteString("# Metrics\n\nGenerated from the table in `internal/telemetry`; do not edit. Regenerate: `go test ./internal/telemetry -run TestMetricsDoc -update`.\n\n")
	b.WriteString("Names, kinds and units are OpenTelemetry's. A Prometheus exporter turns dots into underscores and adds `_total` to counters and `_seconds` to durations.\n")
	b.WriteString("Every attribute is a closed set: listed here, or taken from configuration. Keys, URLs and messages are never attributes.\n")
	for _, p := range packages {
		fmt.Fprintf(&b, "\n## %s\n\n| name | kind | unit | attributes | description |\n|---|---|---|---|---|\n", p.Name)
		for _, inst := range p.Instruments {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", inst.Name, inst.Kind, code(inst.Unit), attributes(inst), inst.Description)
		}
	}
	return b.String()
}

func attributes(inst *Instrument) string {
	var parts []string
	for _, a := range inst.Attributes {
		values := a.From
		if a.Values != nil {
			values = strings.Join(a.Values, ", ")
		}
		parts = append(parts, fmt.Sprintf("`%s` (%s)", a.Key, values))
	}
	return strings.Join(parts, "; ")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
