// Package scripts tests the shell scripts beside it.
package scripts
