//go:build unix

// Command servers starts and stops the servers that the tests share; scripts/servers builds and
// runs it.
package main

import (
	"os"

	"github.com/holdfast-go/holdfast/internal/servertest/servers"
)

func main() { os.Exit(servers.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
