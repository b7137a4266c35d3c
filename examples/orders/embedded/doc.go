// Package embedded has the parts of the order service in one process: two Regions and a third on a simulated network, with databases that
// replicate, Redis, SQS, payments that exist in one Region, mail relays and a load balancer for users.
//
//	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
//		fleet := embedded.Start(w, embedded.Config{Dir: t.TempDir()})
//		users := &http.Client{Transport: fleet.Users()}
//		…
//	})
//
// The Regions are real to the service: it reaches its databases through database/sql, Redis through go-redis and SQS through the AWS SDK,
// and a fault of the World is all that happens to them.
package embedded
