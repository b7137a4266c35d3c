// Package linear checks that a shared object of a World is linearizable: that all its callers could have been served one
// after the other, each between its call and its answer.
//
//	orders := linear.NewRegisters(w, "orders")
//	w.Load(drtest.Load{Name: "writers", Clients: 3, Rate: drtest.Poisson(1), Do: func(ctx context.Context, op *drtest.Op) error {
//		return orders.Write(op.Client(), "stock", op.Key(), func() error { return db.Put(ctx, "stock", op.Key(), 0) })
//	}})
//	w.Check(linear.Check("orders"))
//
// # What is recorded
//
// [Registers] are for stores of keys and values; [Record] is for any object that a [porcupine.Model] describes. Calls are
// recorded with the times of the World. The search is porcupine's.
//
// # Unknown outcomes
//
// A call that failed may have had its effect, or may have it later: a request that timed out is perhaps still in a
// buffer. Such a call is taken to last until the end of the World and to have any answer that fits. Only errors that say
// that nothing was done (NotRun, [drtest.ErrReadOnly], [drtest.ErrFenced], a refused connection) count as calls that did not
// happen. Reads without an answer are left out. A call that has not returned when the World ends is of unknown outcome, too.
//
// Many unknown calls make the search slow. It ends after a time, and the check is inconclusive then, which fails a test.
// Where the outcome of every call is unknown there is nothing to judge. Values that are written should differ: a write of
// unknown outcome is left out if nobody has seen its value and no swap was refused.
//
// # Not promised
//
// A history without a violation proves nothing about other seeds. Keys are checked one by one: what an object
// promises about several keys together needs a model of its own.
package linear
