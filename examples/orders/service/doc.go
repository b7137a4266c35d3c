// Package service is an order API over two Regions that uses every package of Holdfast, each in one place:
//
//	parts.go       what the service is given: clients and addresses, chosen by main
//	wiring.go      how the packages fit together; read this first
//	server.go      the order of middleware around the handlers
//	run.go         what runs, and the order in which it stops
//	database.go    failover, failoversql: the order tables, written in the writer Region, read near
//	place.go       POST /orders; idempotency, degrade.Write, queue.Try
//	payments.go    breaker, retry, stub: a service that exists in one Region
//	mail.go        a deferred call to something that forgets
//	settlement.go  a deferred call into the database
//	stock.go       reads near the user, of bounded age, from a copy when nothing else is left
//	modes.go       degrade: what needs what
//	promotion.go   runbook: how a Region becomes the writer
//	admin.go       overrides and moves by people
//	health.go      what load balancers ask
//	metrics.go     OpenTelemetry to Prometheus
//	witness.go     the vote from a third Region
//
// # What a client may rely on
//
// An order answered with 201 is committed in the writer's database. Repeating the request with its Idempotency-Key gives the same
// answer and the same order, also in the other Region after a failover. The order is charged once, now or later; its status says
// which. When a Region is lost, orders of the last moments may be lost with it: at most those within the exposure that the
// controller prints at the switch.
//
// Every step of placing an order may run again with the same key: the order's ID, the charge's and those of the deferred calls
// follow from the key. That is why a key whose owner died, or whose outcome is unknown, is simply run again (wiring.go).
package service
