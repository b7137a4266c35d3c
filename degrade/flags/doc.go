// Package flags has providers of degrade that need no backend: a fixed set, the environment, a file, and
// a chain of others.
//
//	provider, err := flags.Chain(flags.File("/etc/shop/flags.json"), flags.Env("SHOP_LEVEL_"))
//	c, err := degrade.New(degrade.Config{Provider: provider, LastKnownGood: "/var/lib/shop/flags.state"})
//
// Every provider refuses a set it does not understand as a whole; degrade then keeps the last good one.
package flags
