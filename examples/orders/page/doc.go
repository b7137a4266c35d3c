// Package page is the live page of the reference service: two Regions, who writes, what works, what is broken, and the
// buttons that break and move things.
//
//	log := page.NewLog(0)
//	p, err := page.New(page.Config{
//		State:     func() page.State { … }, // figures and Status values that the service has at hand
//		Events:    log,
//		Actions:   actions,
//		Authorize: page.Loopback("ada", "grace"),
//	})
//	mux.Handle("/", p)
//	holdfast.Run(ctx, holdfast.Stage{p.Run, server}, …)
//
// [Page] is an http.Handler without a build step and without an asset of another host: HTML, style and scripts are
// embedded. It takes the packages' own types, so that its wiring is assignments: failover.Status, degrade.Status,
// breaker.Stats, queue.Depth, queue.SpoolStats. What happened comes through a [Log], whose methods fit
// failover.Controller.Watch, degrade.Controller.Subscribe and breaker.Config.OnStateChange.
//
// # Addresses
//
//	GET  /               the page
//	GET  /state          what it shows, as JSON
//	GET  /events         the same, live: server-sent events
//	POST /actions/{id}   a button; form fields as, move, undo
//
// All links are relative: under a prefix, mount it with http.StripPrefix at a path that ends with a slash.
//
// # Live updates
//
// [Page.Run] reads the State every second. A stream begins with a snapshot; what changes follows, each with an ID. A
// browser that lost its connection says the last ID it saw and gets what it missed, or a snapshot when that is too long
// ago or of another process. All streams read one ring of 256 frames: a slow client costs no memory; it skips to a
// snapshot when the ring has left it behind, and is cut off when it does not take a frame within 10 s. A quiet stream
// beats every 15 s. Streams end when Run ends, so that a server's Shutdown need not wait for them: give p.Run the
// stage of the HTTP server or one before it.
//
// A State function that panics or hangs stops nothing: the page keeps what it last knew and says how old that is.
//
// # Safety
//
// Buttons are POSTs. A request that a browser makes for another site is refused (Sec-Fetch-Site, Origin), then
// Config.Authorize says who asks. Approvals carry the ID of the move that was on the screen, so that nobody approves
// another one. Scripts, styles and connections of other origins, inline scripts and styles, framing and string-to-code
// conversions are forbidden by the page's Content-Security-Policy. Reading is open to whoever reaches the handler:
// it tells names of dependencies and people, so put it behind what guards your other internal pages.
package page
