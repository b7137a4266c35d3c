// Package fault names what can go wrong in a World. A Fault is a plain value: it says what happens to
// whom, and survives JSON. When it starts and how long it lasts is said by the scenario that holds it.
//
//	drtest.Timeline("lose us-east-1",
//		drtest.At(5*time.Minute, fault.RegionDown("us-east-1", fault.ModeBlackhole)).For(time.Hour),
//		drtest.At(10*time.Minute, fault.Gray("payments.west", 0.2).On("POST /charge")).For(time.Minute).Ramp(30*time.Second),
//	)
//
// # Reading the table
//
// A fault with a degree can be ramped: its strength grows evenly from nothing.
//
//	fault             target      degree         what is left when it ends
//	RegionDown        Region      -              processes start again, half-open connections meet resets
//	Partition         link        -              processes were never touched
//	Latency           link        the delay      nothing
//	Gray              host        the share      nothing
//	Throttle          host        the share      nothing
//	ReplicationLag    store       the delay      the backlog arrives
//	ReplicationPause  store       -              the backlog arrives
//	Crash             process     -              the process starts again
//	ClockSkew         Region      the skew       nothing
//	AZDown            zone        -              as RegionDown; then symptoms, if it has some
//	Loss              link        the share      nothing
//	Bandwidth         link        -              what was held up arrives
//	DNS               Region      -              nothing
//	TLS               host        -              nothing
//	ReplicationBreak  store       -              the replica is rebuilt
//	Duplicate         host        the share      what was stored twice
//	Poison            host        the share      what nobody can read
//	ControlPlaneDown  Region      -              nothing
//	CapacityLimit     host/Region -              nothing
//	FlagStoreDown     host        -              connections were reset
//	Slow              host        the delay      nothing
//	LostReply         host        the share      what was done
package fault
