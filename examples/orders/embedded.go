package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/page"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// runEmbedded runs both Regions in this process, on parts that need no set-up, in real time.
func runEmbedded(ctx context.Context, o *options, out, errs io.Writer) (err error) {
	dir, clean, err := stateDir(o.dir)
	if err != nil {
		return err
	}
	defer clean()
	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	world, err := drtest.NewReal(context.WithoutCancel(ctx), drtest.Config{}) // it ends after the service has
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	show := &live{log: page.NewLog(0), rpo: time.Minute}
	show.fleet = embedded.Start(world, embedded.Config{Dir: dir, Settings: o.settings(), Audit: errs, Logger: logger(o, errs), Started: show.started})
	defer show.fleet.Stop()
	defer show.faults.Heal() // so that the processes can stop in good order
	stopTraffic := traffic(world, show.fleet, o.rate)
	defer stopTraffic()
	p, err := newPage(show)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Two Regions and a witness, lease %v, probes every %v, %v requests/s.\n", o.lease, o.probe, o.rate)
	fmt.Fprintf(out, "http://%s is the live page; users are at /orders and /stock/anvil, Regions at /region/%s/ and /region/%s/.\n", listener.Addr(), embedded.East, embedded.West)
	return holdfast.Run(ctx, holdfast.Stage{p.Run, follow(show)}, holdfast.Stage{serving(service.NewServer(o.addr, front(show.fleet, p)), listener)})
}

// follow tells the page's timeline about decisions.
func follow(show *live) func(context.Context) error {
	return func(ctx context.Context) error {
		show.log.Watch(show.decisions(ctx))
		return nil
	}
}

// serving is serve as a function of a stage.
func serving(server *http.Server, l net.Listener) func(context.Context) error {
	server.WriteTimeout = 0 // the page streams, and bounds each write itself
	return func(ctx context.Context) error { return serve(ctx, server, l) }
}

// traffic is what simulated users do: seven of ten requests place an order.
func traffic(w *drtest.World, f *embedded.Fleet, perSecond float64) (stop func()) {
	const clients = 10
	var running []*drtest.Traffic
	for name, part := range map[string]struct {
		share float64
		do    embedded.Shopper
	}{"buy": {.7, f.Buy()}, "look": {.2, f.Look()}, "list": {.1, f.List()}} {
		if perSecond > 0 {
			running = append(running, w.Load(drtest.Load{Name: name, Clients: clients, Rate: drtest.Poisson(perSecond * part.share / clients), Do: part.do}))
		}
	}
	return func() {
		for _, t := range running {
			t.Stop()
		}
	}
}

// front lets a browser in: the page, the users' way into the simulated network, and each Region by its name.
func front(f *embedded.Fleet, p http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", p)
	users := http.Handler(&httputil.ReverseProxy{Transport: f.Users(), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "orders.example"})
	}})
	for _, path := range []string{"/orders", "/orders/", "/stock/"} {
		mux.Handle(path, users)
	}
	for name, site := range f.Sites {
		mux.Handle("/region/"+name+"/", http.StripPrefix("/region/"+name, site))
	}
	return mux
}

// serve runs server until ctx ends.
func serve(ctx context.Context, server *http.Server, l net.Listener) error {
	defer context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(bounded)
	})()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// stateDir returns where state is kept; clean removes it if nobody asked for it.
func stateDir(dir string) (path string, clean func(), err error) {
	if dir != "" {
		return dir, func() {}, os.MkdirAll(dir, 0o755)
	}
	path, err = os.MkdirTemp("", "orders-")
	return path, func() { _ = os.RemoveAll(path) }, err
}

func logger(o *options, w io.Writer) *slog.Logger {
	if !o.verbose {
		return nil
	}
	return slog.New(slog.NewTextHandler(w, nil))
}
