// Package lab runs the order service on real servers of its own, to break them: a PostgreSQL primary with its streaming standby, two Redis and two SQS servers.
//
//	world, err := drtest.NewReal(ctx, drtest.Config{Name: "orders"})
//	l, err := lab.Start(ctx, world, lab.Config{Dir: dir, Settings: settings, Say: log.Printf})
//	defer l.Close()
//	result, err := drill.Run(ctx, l.System(), drill.Config{})
//
// The service is that of package real, two processes in each Region and a witness in a third. What they send passes through the World, so that its faults
// (latency, loss, a cut between Regions) act on it, the replication of PostgreSQL included; what a network cannot do to a server a signal does: SIGKILL to the
// primary, SIGSTOP and SIGCONT to the others. Signals go to processes that the lab has started, and to no other: it names them by pid and start. When
// this process ends, however it does, they end.
//
// Payments, mail relays, the coordinator in the third Region and the users' way in are those of package embedded.
package lab
