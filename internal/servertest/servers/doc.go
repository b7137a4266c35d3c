// Package servers starts the real servers that the tests talk to: Redis, two SQS servers that
// know nothing of each other's code (fauxqs and moto) and a PostgreSQL primary with a streaming
// hot standby. All of them listen on loopback only and keep nothing between two runs.
//
// [Main] is the command behind scripts/servers, which runs one shared set for a whole test run.
// Package servertest starts private copies through [StartRedis], [StartFauxqs], [StartMoto] and
// [StartPostgres].
//
// # Who ends a server
//
// A server ends with the process that started it, however that process ends: the kernel tells it
// on Linux, a shell at the other end of a pipe elsewhere. For the shared set that
// process is a supervisor, which Main starts in the background. The supervisor in turn watches a
// pipe from "up" until up has confirmed the set, so ctrl-C and kill -9 in the middle of up end
// everything that was started so far.
//
// # Ports
//
// Ports are taken from below the kernel's range for outgoing connections, so that a server which
// was killed finds its port free when it comes back, and each is leased from the other processes
// of this package with a lock file.
package servers
