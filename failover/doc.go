// Package failover decides, once per process, which Regions serve and whether this process may write.
package failover
