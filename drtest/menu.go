package drtest

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// menu returns the faults that may happen in the World.
func (w *World) menu(c ExploreConfig) []fault.Fault {
	all := c.Faults
	if all == nil {
		all = append(w.everyFault(), c.Also...)
	}
	var out []fault.Fault
	for _, f := range all {
		if c.Kinds != nil && !slices.Contains(c.Kinds, f.Kind) || c.Targets != nil && !within(f, c.Targets) {
			continue
		}
		out = append(out, f)
	}
	return out
}

// Full strengths in the menu of a World.
const (
	mostLatency   = 2 * time.Second
	mostLoss      = 0.2
	leastBytes    = 100_000
	mostLag       = time.Minute
	mostSkew      = 10 * time.Second
	mostTwice     = 0.2
	zoneRecovers  = time.Minute
	zoneRecovery  = 200 * time.Millisecond
	zoneRefusing  = 0.1
	throttleAfter = time.Second
	mostSlow      = 5 * time.Second
	mostMislaid   = 0.3
)

// everyFault lists what can happen to the parts of a World, in one order. How much of something a host can take, and
// which host keeps flags, is not known here.
func (w *World) everyFault() []fault.Fault {
	w.mu.Lock()
	regions := sortedBy(w.order, (*Region).Name)
	hosts, processes := sortedKeys(w.hosts), sortedKeys(w.processes)
	replicas := append(sortedKeys(w.stores), sortedKeys(w.replicas)...)
	w.mu.Unlock()
	var out, links []fault.Fault
	var outer []*Region
	for _, r := range regions {
		out = append(out, w.regionFaults(r)...)
		if r.parent == nil {
			for _, other := range outer {
				links = append(links, linkFaults(other.name, r.name)...)
			}
			outer = append(outer, r)
		}
	}
	out = append(out, links...)
	for _, h := range hosts {
		out = append(out, w.hostFaults(h)...)
	}
	for _, name := range replicas {
		if s := w.store(name); s == nil || s.upstream() != nil {
			out = append(out, fault.ReplicationLag(name, mostLag), fault.ReplicationPause(name), fault.ReplicationBreak(name))
		}
	}
	for _, p := range processes {
		out = append(out, fault.Crash(p))
	}
	return out
}

// regionFaults lists what can happen to a Region, a zone, or a place where clients live.
func (w *World) regionFaults(r *Region) []fault.Fault {
	var out []fault.Fault
	if r.parent == nil {
		for _, how := range []fault.Failure{fault.FailNotFound, fault.FailServerFailure, fault.FailTimeout} {
			out = append(out, fault.DNS(r.name, "", how))
		}
	}
	if !r.inhabited() {
		return out
	}
	modes := []simnet.Mode{fault.ModeBlackhole, fault.ModeRefuse, fault.ModeReset, fault.ModeHang}
	if r.parent != nil {
		for _, m := range modes[:2] {
			out = append(out, fault.AZDown(r.parent.name, strings.TrimPrefix(r.name, r.parent.name+"/"), m).Recovering(zoneRecovers, zoneRecovery, zoneRefusing))
		}
		return out
	}
	for _, m := range modes {
		out = append(out, fault.RegionDown(r.name, m))
	}
	out = append(out, fault.ClockSkew(r.name, mostSkew), fault.ClockSkew(r.name, -mostSkew))
	if f := fault.ControlPlaneDown(r.name); w.able(f) {
		out = append(out, f)
	}
	return out
}

func linkFaults(a, b string) []fault.Fault {
	return []fault.Fault{
		fault.Partition(a, b), fault.PartitionOneWay(a, b), fault.PartitionOneWay(b, a),
		fault.Latency(a, b, mostLatency).WithJitter(mostLatency / 4), fault.Loss(a, b, mostLoss), fault.Bandwidth(a, b, leastBytes),
	}
}

// hostFaults lists what can happen to a host. Requests arrive twice, or beside others that nobody can read, where
// that is in the nature of the protocol.
func (w *World) hostFaults(host string) []fault.Fault {
	out := []fault.Fault{fault.Gray(host, 1), fault.Throttle(host, 1, 503, throttleAfter), fault.Slow(host, mostSlow), fault.LostReply(host, mostMislaid)}
	for _, how := range []fault.Failure{fault.FailExpired, fault.FailUnknownAuthority, fault.FailHang} {
		if f := fault.TLS(host, how); w.able(f) {
			out = append(out, f)
		}
	}
	if _, ok := w.handler(host).(Repeater); ok {
		for _, f := range []fault.Fault{fault.Duplicate(host, mostTwice), fault.Poison(host, mostTwice)} {
			if w.able(f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// able reports whether the World can have a fault.
func (w *World) able(f fault.Fault) bool {
	_, reason := w.missing(f)
	return reason == ""
}

// inhabited reports whether anything of the system lives in the Region, rather than clients alone.
func (r *Region) inhabited() bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for _, e := range r.w.endpoints {
		if e.region.within(r.name) {
			return true
		}
	}
	for _, s := range r.w.stores {
		if s.region.within(r.name) {
			return true
		}
	}
	for _, p := range r.w.processes {
		if p.region.within(r.name) {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedBy[T any](list []T, name func(T) string) []T {
	return slices.SortedFunc(slices.Values(list), func(a, b T) int { return strings.Compare(name(a), name(b)) })
}
