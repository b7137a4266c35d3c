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
	"sync"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/examples/orders/service"
)

// runEmbedded runs both Regions in this process, on parts that need no set-up, in real time, with the live page in front.
func runEmbedded(ctx context.Context, o *options, out, errs io.Writer) (err error) {
	errs = &oneAtATime{w: errs} // all processes write to it
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
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	books := newBooks()
	fleet := embedded.Start(world, embedded.Config{Dir: dir, Settings: o.settings(), Audit: errs, Logger: logger(o, errs), OnAnswer: books.answered})
	defer fleet.Stop()
	stopTraffic := traffic(world, fleet, o.rate)
	defer stopTraffic()
	l, err := newLive(world, fleet, books)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer l.close()
	fmt.Fprintf(out, "Two Regions and a witness, lease %v, probes every %v, %v requests/s from simulated users.\n", o.lease, o.probe, o.rate)
	fmt.Fprintf(out, "Watch it and break it: http://%s/\n", listener.Addr())
	fmt.Fprintf(out, "The service is below it: /orders and /stock/anvil as users reach it, /region/%s/status and /region/%s/status.\n", embedded.East, embedded.West)
	server := service.NewServer(o.addr, front(fleet, l.page))
	return holdfast.Run(ctx, holdfast.Stage{l.page.Run, func(ctx context.Context) error { return serve(ctx, server, listener) }}, l.loops())
}

// always is how long simulated users go on: as long as anybody watches.
const always = 10_000 * time.Hour

// traffic is what simulated users do: seven of ten requests place an order.
func traffic(w *drtest.World, f *embedded.Fleet, perSecond float64) (stop func()) {
	const clients = 10
	var running []*drtest.Traffic
	for name, part := range map[string]struct {
		share float64
		do    embedded.Shopper
	}{"buy": {.7, f.Buy()}, "look": {.2, f.Look()}, "list": {.1, f.List()}} {
		if perSecond > 0 {
			running = append(running, w.Load(drtest.Load{Name: name, Clients: clients, Rate: drtest.Poisson(perSecond * part.share / clients), Length: always, Do: part.do}))
		}
	}
	return func() {
		for _, t := range running {
			t.Stop()
		}
	}
}

// front lets a browser into the simulated network: the page, the users' way, and each Region by its name.
func front(f *embedded.Fleet, page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", page)
	users := &httputil.ReverseProxy{Transport: f.Users(), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "orders.example"})
	}}
	for _, path := range []string{"/orders", "/orders/", "/stock/"} {
		mux.Handle(path, users)
	}
	for name, site := range f.Sites {
		mux.Handle("/region/"+name+"/", http.StripPrefix("/region/"+name, site))
	}
	return mux
}

// serve runs server until ctx ends, and until its requests have.
func serve(ctx context.Context, server *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if server.Shutdown(bounded) != nil {
		_ = server.Close() // who holds a request that long is cut off
	}
	<-ended //nolint:errcheck // http.ErrServerClosed, of the line above
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

// A oneAtATime is a writer for many.
type oneAtATime struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// Write implements io.Writer.
func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}
