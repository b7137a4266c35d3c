// Package drtest runs the loss of a Region inside go test.
package drtest
