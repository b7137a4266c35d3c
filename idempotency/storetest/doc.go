// Package storetest checks implementations of idempotency.Store: every row of the state machine that a store
// can show, resent steps, owners that freeze, emptied stores, and random histories against a model.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Subject {
//			return storetest.Subject{Store: mystore.New(startServer(t))}
//		})
//	}
//
// A store whose clock is this process's runs in virtual time: wrap each case of [All] in synctest.Test.
// A store with a clock that can be moved says so in [Subject.Advance]; otherwise the kit really waits, for a
// tenth of a second at a time.
package storetest
