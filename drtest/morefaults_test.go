package drtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/history"
)

// fresh is a client that opens a connection for each request.
func fresh(r *drtest.Region) *http.Client {
	c := r.HTTPClient()
	c.Timeout = 5 * time.Second
	return c
}

func getFresh(ctx context.Context, r *drtest.Region, url string) error {
	c := fresh(r)
	defer c.CloseIdleConnections()
	_, err := get(ctx, c, url)
	return err
}

func TestAZDownAndItsRecovery(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity, TieFree: true}, func(t *testing.T, w *drtest.World) {
			east, users := w.Region("east"), w.Region("users")
			a, b := east.Zone("a"), w.Region("east/b")
			a.Serve("api-a", http.HandlerFunc(hello))
			b.Serve("api-b", http.HandlerFunc(hello))
			worker := a.Go("worker", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			client := users.HTTPClient()
			client.Timeout = 3 * time.Second
			play(w, drtest.At(10*time.Second, fault.AZDown("east", "a", fault.ModeRefuse).Recovering(time.Minute, 500*time.Millisecond, 0.5)).For(20*time.Second))

			time.Sleep(15 * time.Second)
			if _, err := get(t.Context(), client, "http://api-a/"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a during the outage: %v", err)
			}
			if _, err := get(t.Context(), client, "http://api-b/"); err != nil {
				t.Errorf("b during the outage of a: %v", err)
			}
			time.Sleep(20 * time.Second)
			start := time.Now()
			good := 0
			for range 20 {
				if _, err := get(t.Context(), client, "http://api-a/"); err == nil {
					good++
				}
			}
			if took := time.Since(start) / 20; took.Round(time.Millisecond) < 1060*time.Millisecond || took > 1300*time.Millisecond || good < 4 || good > 16 {
				t.Errorf("a while it recovers: %d of 20 requests succeed, each takes %v", good, took)
			}
			time.Sleep(time.Minute)
			between(t, "success of a in the end", share(t, client, "http://api-a/", 20), 1, 1)
			if n := worker.Starts(); n != 2 {
				t.Errorf("the worker of a started %d times, want 2", n)
			}
			var faults []string
			for _, f := range w.History().Faults() {
				faults = append(faults, fmt.Sprintf("%s %v-%v", f.Text, f.From.Round(time.Second), f.To.Round(time.Second)))
			}
			if want := []string{"east/a is down (refuse) 10s-30s", "east/a recovers: 500ms more, 50 % refused 30s-1m30s"}; !slices.Equal(faults, want) {
				t.Errorf("faults %q, want %q", faults, want)
			}
		})
	})
}

// What happens to a Region happens to its zones, whose links are those of the Region.
func TestZonesShareTheFateOfTheirRegion(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east, users := w.Region("east"), w.Region("users")
		w.RTT(drtest.Matrix{{"east", "users"}: 40 * time.Millisecond})
		east.Zone("a").Serve("api", http.HandlerFunc(hello))
		east.Zone("b").Serve("db", http.HandlerFunc(hello))
		worker := east.Zone("a").Go("worker", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		ping := func(from *drtest.Region, host string) (time.Duration, error) {
			start := time.Now()
			err := getFresh(t.Context(), from, "http://"+host+"/")
			return time.Since(start).Round(100 * time.Microsecond), err
		}
		for _, tt := range []struct {
			from *drtest.Region
			host string
			want time.Duration
		}{{users, "api", 80 * time.Millisecond}, {east.Zone("a"), "db", 2 * time.Millisecond}, {east.Zone("b"), "db", 400 * time.Microsecond}, {east, "db", 2 * time.Millisecond}} {
			if took, err := ping(tt.from, tt.host); err != nil || took != tt.want {
				t.Errorf("from %s to %s: %v after %v, want %v", tt.from.Name(), tt.host, err, took, tt.want)
			}
		}
		play(w,
			drtest.At(10*time.Second, fault.RegionDown("east", fault.ModeRefuse)).For(10*time.Second),
			drtest.At(30*time.Second, fault.ClockSkew("east", time.Hour)).For(10*time.Second))
		time.Sleep(15 * time.Second)
		if _, err := ping(users, "api"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("from outside: %v", err)
		}
		if _, err := ping(east.Zone("b"), "api"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("from zone to zone: %v", err)
		}
		time.Sleep(20 * time.Second)
		if n := worker.Starts(); n != 2 {
			t.Errorf("the worker started %d times, want 2", n)
		}
		if skew := time.Until(east.Zone("a").Now()); skew != time.Hour {
			t.Errorf("the clock of a zone is off by %v, want that of its Region", skew)
		}
	})
}

func TestLossSlowsAndEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		client.Timeout = 0
		mean := func() time.Duration {
			start := time.Now()
			between(t, "success", share(t, client, "http://api/", 200), 1, 1)
			return time.Since(start) / 200
		}
		play(w, drtest.At(0, fault.Loss("users", "east", 0.1)).For(time.Hour))
		time.Sleep(time.Second)
		// Each way loses a tenth for 200 ms, a hundredth for 400 ms more, and so on: 25 ms on average.
		if got := mean(); got < 80*time.Millisecond || got > 160*time.Millisecond {
			t.Errorf("with loss a request takes %v, want about 110ms", got)
		}
		time.Sleep(2 * time.Hour)
		if got := mean(); got.Round(time.Millisecond) != 60*time.Millisecond {
			t.Errorf("after the loss a request takes %v, want 60ms", got)
		}
	})
}

func TestBandwidthHoldsUp(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			w.Region("east").Serve("files", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 100_000)) }))
			client := w.Region("users").HTTPClient()
			took := func() time.Duration {
				start := time.Now()
				if _, err := get(t.Context(), client, "http://files/"); err != nil {
					t.Error(err)
				}
				return time.Since(start)
			}
			play(w, drtest.At(0, fault.Bandwidth("users", "east", 10_000)).For(time.Minute))
			time.Sleep(time.Second)
			if got := took(); got < 10*time.Second || got > 11*time.Second {
				t.Errorf("100 kB at 10 kB/s took %v", got)
			}
			time.Sleep(2 * time.Minute)
			if got := took(); got > 200*time.Millisecond {
				t.Errorf("without the limit it took %v", got)
			}
		})
	})
}

func TestDNSFailures(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		for how, tt := range map[fault.Failure]struct {
			is   func(*net.DNSError) bool
			took time.Duration
		}{
			fault.FailNotFound:      {func(e *net.DNSError) bool { return e.IsNotFound }, time.Millisecond},
			fault.FailServerFailure: {func(e *net.DNSError) bool { return e.IsTemporary && !e.IsTimeout }, time.Millisecond},
			fault.FailTimeout:       {func(e *net.DNSError) bool { return e.IsTimeout }, 10 * time.Second},
		} {
			t.Run(string(how), func(t *testing.T) {
				drtest.Run(t, drtest.Config{Fidelity: fidelity, TieFree: true}, func(t *testing.T, w *drtest.World) {
					users, others := w.Region("users"), w.Region("others")
					w.Region("east").Serve("api", http.HandlerFunc(hello))
					w.Region("east").Serve("web", http.HandlerFunc(hello))
					play(w, drtest.At(0, fault.DNS("users", "api", how)).For(time.Minute))
					time.Sleep(time.Second)
					start := time.Now()
					client := users.HTTPClient()
					_, err := get(t.Context(), client, "http://api/")
					dns, ok := errors.AsType[*net.DNSError](err)
					if took := time.Since(start).Round(time.Millisecond); !ok || !tt.is(dns) || took != tt.took {
						t.Errorf("Get = %v after %v, want after %v", err, took, tt.took)
					}
					if _, err := users.Resolver().LookupHost(t.Context(), "api"); err == nil {
						t.Error("the resolver of the Region answers")
					}
					if err := getFresh(t.Context(), users, "http://web/"); err != nil {
						t.Errorf("another name: %v", err)
					}
					if err := getFresh(t.Context(), others, "http://api/"); err != nil {
						t.Errorf("from another Region: %v", err)
					}
					time.Sleep(time.Minute)
					if err := getFresh(t.Context(), users, "http://api/"); err != nil {
						t.Errorf("after the fault: %v", err)
					}
				})
			})
		}
	})
}

// A record that is changed to lead away from a lost Region is not seen while answers are stale.
func TestDNSStale(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		users := w.Region("users")
		for _, r := range []string{"east", "west"} {
			w.Region(r).Serve("api."+r, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, r) }))
		}
		addr := func(host string) netip.Addr {
			a, _ := w.Net().Addr(host)
			return a
		}
		w.Net().SetRecord("api.shop", time.Minute, addr("api.east"))
		play(w, drtest.At(10*time.Second, fault.DNS("users", "", fault.FailStale)).For(time.Minute))
		time.Sleep(20 * time.Second)
		w.Net().SetRecord("api.shop", time.Minute, addr("api.west"))
		who := func() string {
			c := fresh(users)
			defer c.CloseIdleConnections()
			body, err := get(t.Context(), c, "http://api.shop/")
			if err != nil {
				t.Error(err)
			}
			return body
		}
		if got := who(); got != "east" {
			t.Errorf("with stale answers %q serves, want east", got)
		}
		if ips, err := users.Resolver().LookupHost(t.Context(), "api.shop"); err != nil || ips[0] != addr("api.east").String() {
			t.Errorf("the resolver says %v, %v", ips, err)
		}
		time.Sleep(time.Minute)
		if got := who(); got != "west" {
			t.Errorf("after the fault %q serves, want west", got)
		}
	})
}

func TestTLSFailures(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		for how, is := range map[fault.Failure]func(error) bool{
			fault.FailExpired: func(err error) bool {
				e, ok := errors.AsType[x509.CertificateInvalidError](err)
				return ok && e.Reason == x509.Expired
			},
			fault.FailUnknownAuthority: func(err error) bool { _, ok := errors.AsType[x509.UnknownAuthorityError](err); return ok },
			fault.FailWrongHost:        func(err error) bool { _, ok := errors.AsType[x509.HostnameError](err); return ok },
			fault.FailHang:             func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		} {
			t.Run(string(how), func(t *testing.T) {
				drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
					now := time.Now()
					w.Region("west").ServeTLS("api", http.HandlerFunc(hello), now.Add(-time.Hour), now.Add(time.Hour))
					users := w.Region("users")
					pooled := fresh(users)
					if _, err := get(t.Context(), pooled, "https://api/"); err != nil {
						t.Fatal(err)
					}
					play(w, drtest.At(0, fault.TLS("api", how)).For(20*time.Second))
					time.Sleep(time.Second)
					err := getFresh(t.Context(), users, "https://api/")
					if !is(err) {
						t.Errorf("Get = %v", err)
					}
					if _, verify := errors.AsType[*tls.CertificateVerificationError](err); !verify && how != fault.FailHang {
						t.Errorf("Get = %T, want a CertificateVerificationError", err)
					}
					if _, err := get(t.Context(), pooled, "https://api/"); (err == nil) != (fidelity == drtest.FidelityBytes) {
						t.Errorf("on a connection from before: %v", err)
					}
					time.Sleep(30 * time.Second)
					if err := getFresh(t.Context(), users, "https://api/"); err != nil {
						t.Errorf("after the fault: %v", err)
					}
				})
			})
		}
	})
}

// A certificate that nobody renewed is met at every fidelity.
func TestExpiredCertificate(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			now := time.Now()
			w.Region("west").ServeTLS("api", http.HandlerFunc(hello), now.Add(-time.Hour), now.Add(time.Minute))
			users := w.Region("users")
			if err := getFresh(t.Context(), users, "https://api/"); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Minute)
			if err := getFresh(t.Context(), users, "https://api/"); err == nil {
				t.Error("an expired certificate is trusted")
			}
		})
	})
}

func TestReplicationBreakIsForGood(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		db := w.Region("east").Store("db")
		dr := w.Region("west").Store("db-dr", drtest.ReplicaOf(db))
		client := db.Client(w.Region("east"))
		put := func(key string) {
			if err := client.Put(t.Context(), key, "", 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		put("before")
		play(w,
			drtest.At(0, fault.ReplicationBreak("db-dr")).For(time.Minute),
			drtest.At(10*time.Second, fault.ReplicationPause("db-dr")).For(time.Second)) // its end brings nothing back
		time.Sleep(20 * time.Second)
		put("broken")
		if got := dr.Keys(); !slices.Equal(got, []string{"before"}) || dr.Behind() == 0 {
			t.Errorf("the replica has %q and is %v behind", got, dr.Behind())
		}
		time.Sleep(time.Minute)
		put("after")
		if got := dr.Keys(); !slices.Equal(got, []string{"after", "before", "broken"}) || dr.Behind() != 0 {
			t.Errorf("rebuilt, the replica has %q and is %v behind", got, dr.Behind())
		}
	})
}

// count serves and counts requests and readable bodies.
type count struct{ all, readable atomic.Int32 }

func (c *count) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.all.Add(1)
	if string(body) == "order" {
		c.readable.Add(1)
	}
}

func TestDuplicateAndPoison(t *testing.T) {
	for _, tt := range []struct {
		f             fault.Fault
		all, readable int32
	}{
		{fault.Duplicate("api", 1), 2, 2},
		{fault.Poison("api", 1), 2, 1},
		{fault.Duplicate("api", 1).On("POST /orders"), 2, 2},
		{fault.Poison("api", 1).On("GET /orders"), 1, 1},
	} {
		fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
			drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
				h := &count{}
				w.Region("east").Serve("api", h)
				client := w.Region("users").HTTPClient()
				post := func() {
					resp, err := client.Post("http://api/orders", "text/plain", strings.NewReader("order"))
					if err != nil {
						t.Fatal(err)
					}
					_ = resp.Body.Close()
				}
				play(w, drtest.At(0, tt.f).For(10*time.Second))
				time.Sleep(time.Second)
				post()
				if h.all.Load() != tt.all || h.readable.Load() != tt.readable {
					t.Errorf("%v: %d requests arrived, %d of them readable, want %d and %d", tt.f, h.all.Load(), h.readable.Load(), tt.all, tt.readable)
				}
				time.Sleep(20 * time.Second)
				post()
				if h.all.Load() != tt.all+1 {
					t.Errorf("%v: after the fault one request arrived %d times", tt.f, h.all.Load()-tt.all)
				}
			})
		})
	}
}

func TestControlPlaneDown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		w.Region("east").Serve("route53", drtest.ControlPlane(http.HandlerFunc(hello)))
		play(w, drtest.At(0, fault.ControlPlaneDown("east")).For(10*time.Second))
		time.Sleep(time.Second)
		if _, err := get(t.Context(), client, "http://route53/"); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("the control plane: %v, want 503", err)
		}
		if _, err := get(t.Context(), client, "http://api/"); err != nil {
			t.Errorf("the data plane: %v", err)
		}
		time.Sleep(20 * time.Second)
		if _, err := get(t.Context(), client, "http://route53/"); err != nil {
			t.Errorf("after the fault: %v", err)
		}
	})
}

func TestCapacityLimit(t *testing.T) {
	for _, f := range []fault.Fault{fault.CapacityLimit("api", 5), fault.RegionCapacity("east", 5)} {
		inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
			play(w, drtest.At(0, f).For(time.Minute))
			time.Sleep(time.Second)
			start := time.Now()
			good := int(share(t, client, "http://api/", 200)*200 + 0.5) // at 16 a second
			want := int(time.Since(start).Seconds()*5) + 5
			if good < want-2 || good > want+1 {
				t.Errorf("%v: %d of 200 requests in %v succeed, want about %d", f, good, time.Since(start), want)
			}
			time.Sleep(time.Minute)
			between(t, "success after the limit", share(t, client, "http://api/", 50), 1, 1)
		})
	}
}

func TestFlagStoreDown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *drtest.World, client *http.Client) {
		w.Region("east").Serve("flags", http.HandlerFunc(hello))
		if _, err := get(t.Context(), client, "http://flags/"); err != nil {
			t.Fatal(err)
		}
		play(w, drtest.At(0, fault.FlagStoreDown("flags")).For(10*time.Second))
		time.Sleep(time.Second)
		if _, err := get(t.Context(), client, "http://flags/"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Get = %v, want refused", err)
		}
		if _, err := get(t.Context(), client, "http://api/"); err != nil {
			t.Errorf("its neighbour: %v", err)
		}
		time.Sleep(20 * time.Second)
		if _, err := get(t.Context(), client, "http://flags/"); err != nil {
			t.Errorf("after the fault: %v", err)
		}
	})
}

func TestPlayRefusesWhatATargetCannotHave(t *testing.T) {
	drtest.Run(t, drtest.Config{}, func(t *testing.T, w *drtest.World) {
		east := w.Region("east")
		east.Serve("api", http.HandlerFunc(hello))
		l, err := east.Listen("raw:1")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		for _, tt := range []struct {
			f    fault.Fault
			want string
		}{
			{fault.TLS("api", fault.FailExpired), `fault.host: "api" does not speak TLS`},
			{fault.Duplicate("raw", 1), `fault.host: "raw" does not speak HTTP`},
			{fault.ControlPlaneDown("east"), `fault.region: "east" has no control plane`},
			{fault.AZDown("east", "z", fault.ModeHang), `fault.zone: the World has no such zone: "z"`},
			{fault.DNS("east", "nobody", fault.FailTimeout), `fault.host: the World has no such host: "nobody"`},
			{fault.ReplicationBreak("nothing"), `fault.store: the World has no such store: "nothing"`},
		} {
			if err := w.Admit(drtest.Timeline("bad", drtest.At(0, tt.f))); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v: %v, want %q", tt.f, err, tt.want)
			}
		}
	})
}

// A slow host takes longer for what the fault names, and a client that gives up does not stop it.
func TestSlow(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			h := &count{}
			w.Region("east").Serve("api", h)
			client := w.Region("east").HTTPClient()
			took := func(path string) time.Duration {
				start := time.Now()
				if _, err := get(t.Context(), client, "http://api"+path); err != nil {
					t.Errorf("GET %s = %v", path, err)
				}
				return time.Since(start).Round(time.Second)
			}
			play(w, drtest.At(0, fault.Slow("api", 5*time.Second).On("GET /orders")).For(time.Minute))
			time.Sleep(time.Second)
			if slow, other := took("/orders/7"), took("/stock"); slow != 5*time.Second || other != 0 {
				t.Errorf("the slow operation took %v, another %v, want 5s and 0s", slow, other)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := get(ctx, client, "http://api/orders"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with a deadline of a second: %v", err)
			}
			time.Sleep(2 * time.Minute)
			if h.all.Load() != 3 {
				t.Errorf("%d requests were worked on, want 3: one of them for nobody", h.all.Load())
			}
			if after := took("/orders"); after != 0 {
				t.Errorf("after the fault it takes %v", after)
			}
		})
	})
}

// A host that loses its answers has done what it was asked for, and its clients do not know.
func TestLostReply(t *testing.T) {
	fidelities(t, func(t *testing.T, fidelity drtest.Fidelity) {
		drtest.Run(t, drtest.Config{Fidelity: fidelity}, func(t *testing.T, w *drtest.World) {
			h := &count{}
			w.Region("east").Serve("api", h)
			client := w.Region("users").HTTPClient()
			post := func() error {
				resp, err := client.Post("http://api/orders", "text/plain", strings.NewReader("order"))
				if err == nil {
					_ = resp.Body.Close()
				}
				return err
			}
			play(w, drtest.At(0, fault.LostReply("api", 1).On("POST /orders")).For(10*time.Second))
			time.Sleep(time.Second)
			err := post()
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) || h.readable.Load() != 1 {
				t.Errorf("POST = %v, %d orders arrived, want a connection that ends, and 1", err, h.readable.Load())
			}
			if drtest.Outcome(err) != history.OutcomeUnknown {
				t.Errorf("%v is taken for %v, want unknown", err, drtest.Outcome(err))
			}
			if _, err := get(t.Context(), client, "http://api/orders"); err != nil {
				t.Errorf("another operation: %v", err)
			}
			time.Sleep(20 * time.Second)
			if err := post(); err != nil || h.readable.Load() != 2 {
				t.Errorf("after the fault: %v, %d orders", err, h.readable.Load())
			}
		})
	})
}
