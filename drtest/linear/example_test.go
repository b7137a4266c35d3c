package linear_test

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
	"github.com/holdfast-go/holdfast/drtest/linear"
)

// A history that a World recorded, or that was made by hand with the same types, is judged after its end.
func ExampleCheck() {
	h := history.New()
	h.Finish(time.Second)
	fmt.Println(linear.Check("orders").Evaluate(h))
	// Output:
	// inconclusive Linear(orders): nothing to judge, want one order of all calls
	//     no call of "orders" was recorded: use linear.NewRegisters or linear.Record
}
