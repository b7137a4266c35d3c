// Package drill loses the writer Region of the order service under load, moves the writer, heals, moves it back, and closes the
// account: what was acknowledged and is nowhere, what was charged or mailed twice, and what nobody can know.
//
//	result, err := drill.Run(ctx, fleet.System(), drill.Config{Rate: 200})
//	result.Print(os.Stdout)
//	if !result.Passed() { os.Exit(1) }
//
// It runs on anything that a [System] describes: embedded parts in virtual time (a go test), embedded parts in real time (the command), and
// real servers. The load is open: orders arrive when they are due, whether or not earlier ones have ended, and latency counts from then.
//
// # What is judged
//
//   - RTO: from the loss of the Region until 99 % of the orders of every second succeed again.
//   - RPO: how far back the acknowledged orders that are lost reach. Their number and age must be within the exposure that the
//     controller printed at the switch.
//   - The pause of the planned move home: the longest time in which no order was acknowledged. Writes stop for a lease and MaxFlight, the copy of the keys
//     and the promotion; users who repeat their orders see that as a delay.
//   - The account: every acknowledged order is in the writer's database or in the loss list; none is charged twice, and each is charged
//     or its charge waits; every deferred call is done or held; a mail that went out twice has its reason, and a run of its call for each.
//   - At most one Region writes at a time.
//
// Unknown outcomes, orders for which the user never got an answer, are listed: also one whose last try was refused, if an earlier one may
// have been run. They break nothing: they are what the user is told.
package drill
