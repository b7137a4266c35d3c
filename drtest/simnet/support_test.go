package simnet_test

import (
	"context"
	"io"
	"log"
	"net"
	"sync"
)

var discard = log.New(io.Discard, "", 0)

// warmResolver makes package net's own channels outside every bubble.
var warmResolver = sync.OnceFunc(func() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _ = (&net.Resolver{PreferGo: true}).LookupHost(ctx, "warm.invalid")
})
