// Package chromium drives a headless Chromium, so that tests can look at pages as people see them.
//
//	browser, err := chromium.Open(ctx, program)
//	page, err := browser.Page(ctx, chromium.View{Width: 360, Height: 740, Dark: true})
//	err = page.Goto("http://127.0.0.1:8080/")
//	err = page.Click("#lose-us-east-1")
//	err = page.Wait(`document.querySelector("#writer").textContent == "us-west-2"`)
//	png, err := page.Screenshot()
//	problems := page.Problems() // console errors, uncaught exceptions, failed loads
//
// It speaks the DevTools protocol over the pipe that --remote-debugging-pipe gives: JSON messages that end with
// a NUL byte, no port, no WebSocket. The browser ends when the pipe is closed, so it never outlives its test.
//
// Tests get a browser from servertest.Chromium, which skips them by name where none is installed.
package chromium
