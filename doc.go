// Package holdfast keeps a Go service answering, and its data right, while a dependency, a queue or a whole AWS Region is gone.
package holdfast
