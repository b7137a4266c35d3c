package breaker

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	tests := []struct {
		want string
		cfg  Config
	}{
		{"Config.Window: 99ms is below the minimum 100ms", Config{Window: 99 * time.Millisecond}},
		{"Config.Window: -1s is below", Config{Window: -time.Second}},
		{"Config.MinCalls: -1 is negative", Config{MinCalls: -1}},
		{"Config.FailureRate: 1.1 is outside (0, 1]", Config{FailureRate: 1.1}},
		{"Config.FailureRate: -0.5 is outside (0, 1]", Config{FailureRate: -0.5}},
		{"Config.FailureRate: NaN is outside (0, 1]", Config{FailureRate: math.NaN()}},
		{"Config.ConsecutiveFailures: -1 is negative", Config{ConsecutiveFailures: -1}},
		{"Config.SlowCall: -1ns is negative", Config{SlowCall: -1}},
		{"Config.SlowRate: 2 is outside (0, 1]", Config{SlowRate: 2, SlowCall: 1}},
		{"Config.SlowRate: -1 is outside (0, 1]", Config{SlowRate: Off, SlowCall: 1}},
		{"Config.SlowRate: 0.5 without SlowCall", Config{SlowRate: 0.5}},
		{"Config.OpenFor: 3ms is below the minimum 10ms", Config{OpenFor: 3 * time.Millisecond}},
		{"Config.MaxOpenFor: 1s is below OpenFor 5s", Config{MaxOpenFor: time.Second}},
		{"Config.OpenFor: 8760h0m0.000000001s is above the maximum", Config{OpenFor: longest + 1}},
		{"Config.Jitter: 1.5 is outside (0, 1]", Config{Jitter: 1.5}},
		{"Config.Probes: -1 is negative", Config{Probes: -1}},
		{"Config.Probes: 1048577 is above", Config{Probes: maxProbes + 1}},
		{"Config.ProbeTimeout: -1ns is negative", Config{ProbeTimeout: -1}},
		{"Config.DeadlineCounts: -1ns is negative", Config{DeadlineCounts: -1}},
		{"Config.RampStep: -1ns is negative", Config{RampStep: -1}},
		{"Config.Ramp: [0.5 0.5]: shares must grow", Config{Ramp: []float64{0.5, 0.5}}},
		{"Config.Ramp: [0]: shares must grow", Config{Ramp: []float64{0}}},
		{"Config.Ramp: [2]: shares must grow", Config{Ramp: []float64{2}}},
		{"Config.Mode: open is not", Config{Mode: ModeOpen}},
		{"Config.Mode: Mode(9) is not", Config{Mode: 9}},
	}
	for _, tt := range tests {
		tt.cfg.Name = "x"
		if _, err := New(tt.cfg); err == nil || !strings.HasPrefix(err.Error(), `breaker "x": `+tt.want) {
			t.Errorf("New: %v, want %s", err, tt.want)
		}
		if _, err := NewGroup(tt.cfg, GroupConfig{}); err == nil {
			t.Errorf("NewGroup takes what New refuses with %s", tt.want)
		}
	}
}

func TestOtherConfigErrorsNameTheField(t *testing.T) {
	group := func(cfg GroupConfig) error { _, err := NewGroup(Config{Name: "x"}, cfg); return err }
	bulkhead := func(cfg BulkheadConfig) error { cfg.Name = "x"; _, err := NewBulkhead(cfg); return err }
	tests := []struct {
		want string
		err  error
	}{
		{`breaker "x": GroupConfig.Max: -1 is negative`, group(GroupConfig{Max: -1})},
		{`breaker "x": GroupConfig.Idle: 1ms is below the minimum 1s`, group(GroupConfig{Idle: time.Millisecond})},
		{`breaker "x": GroupConfig.MaxOpenShare: 2 is outside (0, 1]`, group(GroupConfig{MaxOpenShare: 2})},
		{`bulkhead "x": BulkheadConfig.MaxInFlight: -1 is negative`, bulkhead(BulkheadConfig{MaxInFlight: -1})},
		{`bulkhead "x": BulkheadConfig.MaxQueue: -1 is negative`, bulkhead(BulkheadConfig{MaxQueue: -1})},
		{`bulkhead "x": BulkheadConfig.MaxQueue: 1073741825 is above the maximum 1073741824`, bulkhead(BulkheadConfig{MaxQueue: maxCalls + 1})},
		{`bulkhead "x": BulkheadConfig.MaxWait: -2ns is negative`, bulkhead(BulkheadConfig{MaxWait: -2})},
		{`bulkhead "x": BulkheadConfig.Order: Order(2) is unknown`, bulkhead(BulkheadConfig{Order: 2})},
	}
	for _, tt := range tests {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("error %v, want %s", tt.err, tt.want)
		}
	}
}

func TestNamesOfValues(t *testing.T) {
	tests := map[string]interface{ String() string }{
		"half-open": StateHalfOpen, "State(9)": State(9), "observe": ModeObserve,
		"trip now": VerdictTripNow, "lifo": OrderLIFO,
	}
	for want, v := range tests {
		if got := v.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
}
