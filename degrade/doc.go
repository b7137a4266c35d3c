// Package degrade keeps every feature of a service at the best level its dependencies allow.
package degrade
