// Package sqstest is an SQS server for tests: it speaks AWS JSON 1.0 over HTTP with the limits,
// the typed errors and the semantics of the real service, in one process with the test.
//
// Promise: code that works against this server has met every documented limit, refusal and
// awkwardness of SQS that the conformance suite names (docs/sqstest.md): leases that end, polls
// that swallow a message when they are cancelled, batches that fail in part, groups that block,
// duplicates. And it meets them in virtual time: twelve hours of leases take microseconds.
//
// # In a World
//
//	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
//		east, app := w.Region("us-east-1"), w.Region("app")
//		server := sqstest.Start(east)
//		orders := server.Queue("orders")
//		client := server.Client(app) // the real SDK client, over the World's network
//		...
//		if n := orders.Depth(); n != 0 {
//			t.Errorf("%d messages left", n)
//		}
//	})
//
// # With httptest alone
//
//	server, err := sqstest.New(sqstest.Config{})
//	...
//	ts := httptest.NewServer(server)
//	defer ts.Close()
//	defer server.Close() // first: it ends open polls
//	client := sqs.New(server.Options(ts.URL))
//
// One server without Config.Region serves every Region, told apart by the signature of a request.
//
// # Time
//
// The server uses package time: in a testing/synctest bubble its leases, delays, polls and
// retention are virtual, outside they are real. It starts no goroutine, holds no lock while it
// waits, has no package-level state, and has a timer only while a long poll is open. A bubble can
// end once [Server.Close] was called; [Start] arranges that.
//
// A receive that its client cancelled goes on to its end, as on AWS, and a message that arrives
// meanwhile is leased to nobody. Code that cancels polls on shutdown meets that here.
//
// # Faults
//
// [Server.Inject] spoils requests of one action or all: an error code, latency, a hang, a reply
// that is lost after the work was done, a throttle, a duplicate delivery; for a share of the
// requests, for some of them, or above a rate. Faults of the network are the World's.
//
//	end := server.Inject(sqstest.Fault{Op: "SendMessage", DropReply: true, Times: 1})
//
// # Looking inside
//
// [Server.Queue] gives a view past the protocol: [Queue.Counts], [Queue.Messages], [Queue.Totals];
// [Server.Calls] counts requests by action. Looking changes nothing and is not counted.
//
// # Defaults
//
//	setting           default        meaning
//	Config.Region     every Region   told apart by the signature
//	Config.Account    000000000000
//	Config.Endpoint   request's host base of queue URLs
//	Config.InFlight   120,000        messages of one queue in flight, AWS's quota
//	Config.Seed       random         message ids and draws of faults; in a World the Region's name
//
// # Not promised
//
// The order and the timing of the real service beyond what it documents; its throughput; access
// control. Signatures are read, not verified. docs/sqstest.md lists what is left out.
package sqstest
