package holdfast_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/doctest"
	"github.com/holdfast-go/holdfast/retry"
)

func TestReadmeIsCompiled(t *testing.T) { doctest.Snippets(t, "README.md", "readme_test.go") }

type (
	Order   struct{ ID string }
	Receipt struct{ ID string }
)

type fakeAPI struct{}

func (fakeAPI) Charge(context.Context, Order) (Receipt, error) { return Receipt{"r-1"}, nil }

func Example() {
	var api fakeAPI
	ctx, order := context.Background(), Order{"o-1"}

	payments := holdfast.Must(breaker.New(breaker.Config{Name: "payments"}))
	policy := &retry.Policy{Name: "payments", Retryable: retry.IfNotRun} // repeat only what had no effect

	charge := func(ctx context.Context, order Order) (Receipt, error) {
		return retry.Do(ctx, policy, func(ctx context.Context) (Receipt, error) {
			return breaker.Do(ctx, payments, func(ctx context.Context) (Receipt, error) {
				return api.Charge(ctx, order)
			})
		})
	}
	receipt, err := charge(ctx, order)
	switch holdfast.OutcomeOf(err) {
	case holdfast.OutcomeNotRun: // safe to try again, here or in another Region
	case holdfast.OutcomeUnknown: // the reply was lost: only a keyed call may be repeated
	}
	fmt.Println(receipt.ID, err)
	// Output: r-1 <nil>
}
