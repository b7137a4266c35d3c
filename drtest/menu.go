package drtest

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
)

// menu returns the faults that may happen in the World.
func (w *World) menu(c ExploreConfig) []fault.Fault {
	all := c.Faults
	if all == nil {
		all = w.everyFault()
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
	mostLatency = 2 * time.Second
	mostLag     = time.Minute
	mostSkew    = 10 * time.Second
)

// everyFault lists what can happen to the parts of a World, in one order. It asks nothing of an operator:
// replication does not break for good.
func (w *World) everyFault() []fault.Fault {
	w.mu.Lock()
	regions := sortedBy(w.order, (*Region).Name)
	hosts, processes := sortedKeys(w.hosts), sortedKeys(w.processes)
	stores := sortedBy(values(w.stores), (*Store).Name)
	w.mu.Unlock()
	var out []fault.Fault
	for i, r := range regions {
		if r.inhabited() {
			out = append(out, regionFaults(r.name)...)
		}
		for _, other := range regions[:i] {
			out = append(out, linkFaults(other.name, r.name)...)
		}
	}
	for _, h := range hosts {
		if !strings.HasPrefix(h, "dns.") {
			out = append(out, fault.Gray(h, 1), fault.Throttle(h, 1, 503, time.Second))
		}
	}
	for _, s := range stores {
		if s.upstream() != nil {
			out = append(out, fault.ReplicationLag(s.name, mostLag), fault.ReplicationPause(s.name))
		}
	}
	for _, p := range processes {
		out = append(out, fault.Crash(p))
	}
	return out
}

func regionFaults(name string) []fault.Fault {
	return []fault.Fault{
		fault.RegionDown(name, fault.ModeBlackhole), fault.RegionDown(name, fault.ModeRefuse), fault.RegionDown(name, fault.ModeReset),
		fault.RegionDown(name, fault.ModeHang), fault.ClockSkew(name, mostSkew), fault.ClockSkew(name, -mostSkew),
	}
}

func linkFaults(a, b string) []fault.Fault {
	return []fault.Fault{
		fault.Partition(a, b), fault.PartitionOneWay(a, b), fault.PartitionOneWay(b, a),
		fault.Latency(a, b, mostLatency).WithJitter(mostLatency / 4),
	}
}

// inhabited reports whether anything of the system lives in the Region, rather than clients alone.
func (r *Region) inhabited() bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for _, e := range r.w.endpoints {
		if e.region == r {
			return true
		}
	}
	for _, s := range r.w.stores {
		if s.region == r {
			return true
		}
	}
	for _, p := range r.w.processes {
		if p.region == r {
			return true
		}
	}
	return false
}

func values[K comparable, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
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
