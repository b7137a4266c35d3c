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
	KindAZDown           Kind = "az-down"
	KindLoss             Kind = "loss"
	KindBandwidth        Kind = "bandwidth"
	KindDNS              Kind = "dns"
	KindTLS              Kind = "tls"
	KindReplicationBreak Kind = "replication-break"
	KindDuplicate        Kind = "duplicate"
	KindPoison           Kind = "poison"
	KindControlPlaneDown Kind = "control-plane-down"
	KindCapacityLimit    Kind = "capacity-limit"
	KindFlagStoreDown    Kind = "flag-store-down"
	KindSlow             Kind = "slow"
	KindLostReply        Kind = "lost-reply"
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
	Region     string        // RegionDown, AZDown, ClockSkew, ControlPlaneDown; first end of a link; DNS: whose look-ups; CapacityLimit
	Zone       string        // AZDown
	To         string        // second end of a link: Partition, Latency, Loss, Bandwidth
	OneWay     bool          // Partition: only what Region sends is lost
	Host       string        // Gray, Throttle, Slow, LostReply, TLS, Duplicate, Poison, FlagStoreDown; CapacityLimit; DNS: the name, "" = all
	Op         string        // Gray, Throttle, Slow, LostReply, Duplicate, Poison: "" = every operation of the host
	Store      string        // ReplicationLag, ReplicationPause, ReplicationBreak: the replica
	Process    string        // Crash
	Mode       simnet.Mode   // RegionDown, AZDown
	Failure    Failure       // DNS, TLS
	Share      float64       // above 0 up to 1, of requests: Gray, Throttle, LostReply, Duplicate, Poison; of packets: Loss; AZDown: while it recovers
	Status     int           // Gray, Throttle: the HTTP status of the answer
	RetryAfter time.Duration // Throttle: 0 = no header
	Delay      time.Duration // Latency, Slow, ReplicationLag, ClockSkew (which may be negative); AZDown: while it recovers
	Jitter     time.Duration // Latency
	PerSecond  float64       // CapacityLimit: requests; Bandwidth: bytes
	Recovery   time.Duration // AZDown: how long symptoms last after it
}

// Failure says how a look-up or a handshake fails.
type Failure string

// The failures of DNS.
const (
	FailNotFound      = Failure(simnet.NameNotFound)      // NXDOMAIN
	FailServerFailure = Failure(simnet.NameServerFailure) // SERVFAIL
	FailTimeout       = Failure(simnet.NameTimeout)       // no answer, for 10 s
	FailStale         = Failure(simnet.NameStale)         // changes of records are not seen
)

// The failures of TLS.
const (
	FailExpired          Failure = "expired"           // the certificate has expired
	FailUnknownAuthority Failure = "unknown-authority" // it was signed by nobody the client trusts
	FailWrongHost        Failure = "wrong-host"        // it is for another name
	FailHang             Failure = "hang"              // the handshake is never answered
)

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

// Slow makes a host take so much longer for every request. A client that gives up meanwhile does not stop it.
func Slow(host string, add time.Duration) Fault { return Fault{Kind: KindSlow, Host: host, Delay: add} }

// LostReply makes a host do what a share of its requests ask for and then cut the connection: the client cannot know that it was done.
func LostReply(host string, share float64) Fault {
	return Fault{Kind: KindLostReply, Host: host, Share: share}
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

// AZDown takes an Availability Zone of a Region away, as RegionDown does with a Region. See [Fault.Recovering].
func AZDown(region, zone string, mode simnet.Mode) Fault {
	return Fault{Kind: KindAZDown, Region: region, Zone: zone, Mode: mode}
}

// Recovering returns an AZDown with symptoms after its end, as volumes that warm up and hosts that come back in
// ones and twos cause: for so long, everything from and to the zone takes delay longer, and its hosts answer a share
// of the requests with 503.
func (f Fault) Recovering(length, delay time.Duration, share float64) Fault {
	f.Recovery, f.Delay, f.Share = length, delay, share
	return f
}

// Symptoms returns what is left of an AZDown while the zone recovers; ok is false if nothing is.
func (f Fault) Symptoms() (symptoms Fault, ok bool) {
	ok = f.Kind == KindAZDown && f.Recovery > 0 && f.Mode != simnet.ModeUp
	f.Mode, f.Recovery = simnet.ModeUp, 0
	return f, ok
}

// Loss drops a share of the packets between two Regions, in both directions. TCP repeats them.
func Loss(a, b string, share float64) Fault {
	return Fault{Kind: KindLoss, Region: a, To: b, Share: share}
}

// Bandwidth limits what two Regions can send each other, in each direction.
func Bandwidth(a, b string, bytesPerSecond int) Fault {
	return Fault{Kind: KindBandwidth, Region: a, To: b, PerSecond: float64(bytesPerSecond)}
}

// DNS makes the look-ups of a name from a Region fail, or of every name if it is "". Connections that exist live on;
// where requests are single messages each of them looks its host up.
func DNS(region, name string, how Failure) Fault {
	return Fault{Kind: KindDNS, Region: region, Host: name, Failure: how}
}

// TLS makes the handshakes of a host fail. Connections that exist live on.
func TLS(host string, how Failure) Fault { return Fault{Kind: KindTLS, Host: host, Failure: how} }

// ReplicationBreak ends the replication to a replica for good. It does not come back when the cause is gone: when
// the fault ends the replica is rebuilt from a copy, as an operator would.
func ReplicationBreak(store string) Fault { return Fault{Kind: KindReplicationBreak, Store: store} }

// Duplicate makes a share of what a host receives arrive there twice. A queue does with it what a queue does: it
// stores or hands out a message twice.
func Duplicate(host string, share float64) Fault {
	return Fault{Kind: KindDuplicate, Host: host, Share: share}
}

// Poison makes something unreadable arrive at a host beside a share of what it receives: a queue stores a message that
// no consumer can parse, an HTTP host gets a request with a garbled body.
func Poison(host string, share float64) Fault {
	return Fault{Kind: KindPoison, Host: host, Share: share}
}

// ControlPlaneDown makes the operations that change the set-up of things fail with 503 in a Region, while those that
// use them work.
func ControlPlaneDown(region string) Fault { return Fault{Kind: KindControlPlaneDown, Region: region} }

// CapacityLimit lets a host answer so many requests a second and refuse the others with 503.
func CapacityLimit(host string, perSecond float64) Fault {
	return Fault{Kind: KindCapacityLimit, Host: host, PerSecond: perSecond}
}

// RegionCapacity lets the hosts of a Region together answer so many requests a second.
func RegionCapacity(region string, perSecond float64) Fault {
	return Fault{Kind: KindCapacityLimit, Region: region, PerSecond: perSecond}
}

// FlagStoreDown makes a host refuse connections while its Region works, as when the store of feature flags is gone.
func FlagStoreDown(host string) Fault { return Fault{Kind: KindFlagStoreDown, Host: host} }

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
	if err := f.missing(k); err != nil {
		return err
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
	for _, s := range []string{first, f.Zone, second, f.Host, f.Op, f.Store, f.Process} {
		if s != "" {
			target += " " + s
		}
	}
	return target
}

// Names returns what the fault acts on: Regions, a zone as "region/zone", a host, a store, a process. [Others] is not
// among them.
func (f Fault) Names() []string {
	var out []string
	region := f.Region
	if f.Zone != "" {
		region += "/" + f.Zone
	}
	for _, s := range []string{region, f.To, f.Host, f.Store, f.Process} {
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
