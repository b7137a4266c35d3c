//go:build !unix

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "servers: the test servers need Linux or another Unix")
	os.Exit(1)
}
