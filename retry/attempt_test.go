package retry

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestFromNumbersTheAttempts(t *testing.T) {
	var got []Attempt
	p := &Policy{Name: "db", MaxAttempts: 3, Backoff: Constant(0)}
	_ = p.Do(t.Context(), func(ctx context.Context) error {
		got = append(got, From(ctx))
		return errDown
	})
	want := []Attempt{{Number: 1}, {Name: "db", Number: 2}, {Name: "db", Number: 3}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("From = %v, want %v", got, want)
	}
}

func TestWithAttempt(t *testing.T) {
	ctx := WithAttempt(t.Context(), Attempt{Name: "q", Number: 3})
	if got := From(ctx); got != (Attempt{Name: "q", Number: 3}) {
		t.Errorf("From = %v", got)
	}
	if got := WithAttempt(ctx, Attempt{Number: 0}); got != ctx {
		t.Error("an attempt 0 changed the context")
	}
	type key struct{}
	if got := WithAttempt(context.WithValue(t.Context(), key{}, 7), Attempt{Number: 2}).Value(key{}); got != 7 {
		t.Errorf("a mark hides other values: %v", got)
	}
}

// attemptsBelow counts the attempts of a policy named inner inside ctx.
func attemptsBelow(ctx context.Context, inner string) (n int) {
	p := &Policy{Name: inner, MaxAttempts: 3, Backoff: Constant(0), Budget: NoBudget}
	_ = p.Do(ctx, func(context.Context) error { n++; return errDown })
	return n
}

func TestMarksCoverTheirOwnName(t *testing.T) {
	mark := func(ctx context.Context, name string, number int) context.Context {
		return WithAttempt(ctx, Attempt{Name: name, Number: number})
	}
	ctx := t.Context()
	tests := []struct {
		name  string
		ctx   context.Context
		inner string
		want  int
	}{
		{"no mark", ctx, "a", 3},
		{"first attempt", mark(ctx, "a", 1), "a", 3},
		{"same name", mark(ctx, "a", 2), "a", 1},
		{"another name", mark(ctx, "b", 2), "a", 3},
		{"another name inside", mark(mark(ctx, "a", 2), "b", 2), "a", 1},
		{"a first attempt inside", mark(mark(ctx, "a", 2), "a", 1), "a", 1},
		{"an unnamed repetition covers all", mark(ctx, "", 2), "a", 1},
		{"a named one does not cover the unnamed", mark(ctx, "a", 2), "", 3},
		{"both unnamed", mark(ctx, "", 5), "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := attemptsBelow(tt.ctx, tt.inner); got != tt.want {
				t.Errorf("%d attempts, want %d", got, tt.want)
			}
		})
	}
}

func TestNestedLayersAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for m := 1; m <= 5; m++ {
			for n := 1; n <= 5; n++ {
				calls := 0
				outer := &Policy{Name: "db", MaxAttempts: m, Budget: NoBudget}
				inner := &Policy{Name: "db", MaxAttempts: n, Budget: NoBudget}
				err := outer.Do(t.Context(), func(ctx context.Context) error {
					return inner.Do(ctx, func(context.Context) error { calls++; return errDown })
				})
				if want := m + n - 1; calls != want || err == nil {
					t.Errorf("%d and %d attempts make %d calls, want %d", m, n, calls, want)
				}
			}
		}
	})
}
