//go:build !unix

package main

import (
	"context"
	"errors"
	"io"
)

// runLab needs signals.
func runLab(context.Context, *options, io.Writer, io.Writer) error {
	return errors.New("-parts real: drills start servers and send them signals, which takes a Unix")
}
