package outcome

import (
	"errors"
	"fmt"
	"testing"
)

type local bool

func (l local) Error() string      { return "local" }
func (l local) LocalRefusal() bool { return bool(l) }

func TestLocalRefusal(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"plain", errPlain, false},
		{"not run is not enough", notRun, false},
		{"local", local(true), true},
		{"wrapped", fmt.Errorf("call: %w", local(true)), true},
		{"the outermost answers", fmt.Errorf("%w", errors.Join(local(false), local(true))), false},
		{"all branches", errors.Join(local(true), local(true)), true},
		{"one branch was sent", errors.Join(local(true), errPlain), false},
	}
	for _, tt := range tests {
		if got := LocalRefusal(tt.err); got != tt.want {
			t.Errorf("%s: LocalRefusal(%v) = %t, want %t", tt.name, tt.err, got, tt.want)
		}
	}
}
