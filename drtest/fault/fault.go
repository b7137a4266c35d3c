package fault

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// Kind names a fault in JSON and in reports.
type Kind string

// The kinds, one for each constructor.
const (
	KindRegionDown       Kind = "region-down"
	KindPartition        Kind = "partition"
	KindLatency          Kind = "latency"
	KindGray             Kind = "gray"
	KindThrottle         Kind = "throttle"
	KindReplicationLag   Kind = "replication-lag"
	KindReplicationPause Kind = "replication-pause"
	KindCrash            Kind = "crash"
	KindClockSkew        Kind = "clock-skew"
)

// The ways in which a Region can be down; package simnet says what a client sees.
const (
	ModeBlackhole = simnet.ModeBlackhole // power or network gone: silence
	ModeRefuse    = simnet.ModeRefuse    // machines up, processes gone: connection refused
	ModeReset     = simnet.ModeReset     // a load balancer without backends: connections reset
	ModeHang      = simnet.ModeHang      // processes frozen: connections accepted, nothing answered
)

// Others stands for every other Region, as the second end of a partition or a slow link.
const Others = simnet.Any

// A Fault is what happens to whom. Make it with a constructor; the fields a kind does not use are zero.
type Fault struct {
	Kind       Kind
	Region     string        // RegionDown, ClockSkew; first end of Partition and Latency
	To         string        // second end of Partition and Latency
	OneWay     bool          // Partition: only what Region sends is lost
	Host       string        // Gray, Throttle
	Op         string        // Gray, Throttle: "" = every operation of the host
	Store      string        // ReplicationLag, ReplicationPause: the replica
	Process    string        // Crash
	Mode       simnet.Mode   // RegionDown
	Share      float64       // Gray, Throttle: of the requests, above 0 up to 1
	Status     int           // Gray, Throttle: the HTTP status of the answer
	RetryAfter time.Duration // Throttle: 0 = no header
	Delay      time.Duration // Latency, ReplicationLag, ClockSkew (which may be negative)
	Jitter     time.Duration // Latency
}

// RegionDown takes a Region away: its links, its connections and its processes. In ModeHang processes live
// on, cut off from everything.
func RegionDown(region string, mode simnet.Mode) Fault {
	return Fault{Kind: KindRegionDown, Region: region, Mode: mode}
}

// Partition drops in silence what two Regions send each other. Processes live on.
func Partition(a, b string) Fault { return Fault{Kind: KindPartition, Region: a, To: b} }

// PartitionOneWay drops what one Region sends to another, and nothing in the other direction.
func PartitionOneWay(from, to string) Fault {
	return Fault{Kind: KindPartition, Region: from, To: to, OneWay: true}
}

// Latency adds to the one-way delay between two Regions, in both directions.
func Latency(a, b string, add time.Duration) Fault {
	return Fault{Kind: KindLatency, Region: a, To: b, Delay: add}
}

// WithJitter returns the fault with a random part of the delay, evenly spread between 0 and j.
func (f Fault) WithJitter(j time.Duration) Fault {
	f.Jitter = j
	return f
}

// Gray makes a host answer a share of its requests with 500, and serve the others.
func Gray(host string, share float64) Fault {
	return Fault{Kind: KindGray, Host: host, Share: share, Status: 500}
}

// Throttle makes a host refuse a share of its requests with a status, as 429 or 503, and a Retry-After
// header if retryAfter is not 0.
func Throttle(host string, share float64, status int, retryAfter time.Duration) Fault {
	return Fault{Kind: KindThrottle, Host: host, Share: share, Status: status, RetryAfter: retryAfter}
}

// On returns the fault for one operation of its host: "POST /orders", which also covers what lies below that
// path, or the action of an AWS JSON protocol, as "SendMessage".
func (f Fault) On(op string) Fault {
	f.Op = op
	return f
}

// WithStatus returns the fault with another HTTP status.
func (f Fault) WithStatus(status int) Fault {
	f.Status = status
	return f
}

// ReplicationLag adds to the delay of a replica behind its primary.
func ReplicationLag(store string, add time.Duration) Fault {
	return Fault{Kind: KindReplicationLag, Store: store, Delay: add}
}

// ReplicationPause stops the replication to a replica.
func ReplicationPause(store string) Fault { return Fault{Kind: KindReplicationPause, Store: store} }

// Crash kills a process. It starts again when the fault ends, or at once if it has no length.
func Crash(process string) Fault { return Fault{Kind: KindCrash, Process: process} }

// ClockSkew sets the clocks of a Region ahead, or back if by is negative.
func ClockSkew(region string, by time.Duration) Fault {
	return Fault{Kind: KindClockSkew, Region: region, Delay: by}
}

// A FieldError says which field of a fault cannot be what it is. Field is spelled as in JSON.
type FieldError struct{ Field, Reason string }

// Error returns the field and the reason.
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func bad(field, format string, args ...any) error {
	return &FieldError{field, fmt.Sprintf(format, args...)}
}

// Validate returns a [*FieldError] for the first field that is impossible, else nil.
func (f Fault) Validate() error {
	k, ok := kinds[f.Kind]
	if !ok {
		return bad("kind", "unknown fault %q", f.Kind)
	}
	if err := f.unused(k); err != nil {
		return err
	}
	for _, field := range k.names {
		if f.text(field) == "" {
			return bad(field, "missing")
		}
	}
	return k.check(f)
}

// Degree reports whether the fault has a strength that can grow.
func (f Fault) Degree() bool { return kinds[f.Kind].degree }

// At returns the fault at a part of its strength, between 0 and 1.
func (f Fault) At(strength float64) Fault {
	f.Share *= strength
	f.Delay = time.Duration(float64(f.Delay) * strength)
	f.Jitter = time.Duration(float64(f.Jitter) * strength)
	return f
}

// Target names what the fault acts on. Two faults of one target must not overlap in time.
func (f Fault) Target() string {
	target := string(f.Kind)
	first, second := f.Region, f.To
	if !f.OneWay && second != "" && second != Others && second < first {
		first, second = second, first // both directions: it does not matter who is named first
	}
	for _, s := range []string{first, second, f.Host, f.Op, f.Store, f.Process} {
		if s != "" {
			target += " " + s
		}
	}
	return target
}

// Names returns what the fault acts on: Regions, a host, a store, a process. [Others] is not among them.
func (f Fault) Names() []string {
	var out []string
	for _, s := range []string{f.Region, f.To, f.Host, f.Store, f.Process} {
		if s != "" && s != Others {
			out = append(out, s)
		}
	}
	return out
}

// Lasts reports whether the fault without a length stays until the end; a crash is over at once.
func (f Fault) Lasts() bool { return f.Kind != KindCrash }

// Flaps reports whether it makes sense that the fault comes and goes.
func (f Fault) Flaps() bool { return kinds[f.Kind].flaps }

// Kinds returns every kind, in order.
func Kinds() []Kind {
	out := make([]Kind, 0, len(kinds))
	for k := range kinds {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// String returns the fault as a line of a report.
func (f Fault) String() string {
	if k, ok := kinds[f.Kind]; ok {
		return k.text(f)
	}
	return fmt.Sprintf("unknown fault %q", string(f.Kind))
}
