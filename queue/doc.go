// Package queue defers typed calls over SQS and says exactly how safe each one is.
package queue
