package drtest

import (
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// inject makes a fault act and returns what takes it away.
func (w *World) inject(index int, f fault.Fault) (undo func()) {
	switch f.Kind {
	case fault.KindRegionDown:
		return w.Region(f.Region).down(f.Mode)
	case fault.KindPartition:
		return w.overlay(f, func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
	case fault.KindLatency, fault.KindLoss, fault.KindBandwidth:
		return w.overlay(f, func(s *simnet.Shape) { burden(s, f) })
	case fault.KindAZDown:
		return w.zoneDown(index, f)
	case fault.KindGray, fault.KindThrottle, fault.KindSlow, fault.KindLostReply, fault.KindCapacityLimit, fault.KindControlPlaneDown:
		return w.disturb(index, f)
	case fault.KindDuplicate, fault.KindPoison:
		return w.repeat(index, f)
	case fault.KindReplicationLag:
		return w.replica(f.Store).Delay(f.Delay)
	case fault.KindReplicationPause:
		return w.replica(f.Store).Pause()
	case fault.KindReplicationBreak:
		return w.replica(f.Store).Break()
	case fault.KindCrash:
		return w.process(f.Process).crash()
	case fault.KindDNS:
		return w.net.SpoilNames(f.Region, f.Host, simnet.NameFault(f.Failure))
	case fault.KindTLS:
		return w.spoilTLS(f)
	case fault.KindFlagStoreDown:
		return w.net.DownHost(f.Host)
	default:
		return w.Region(f.Region).skewBy(f.Delay)
	}
}

// burden makes a link slower or worse.
func burden(s *simnet.Shape, f fault.Fault) {
	switch f.Kind {
	case fault.KindLoss:
		s.Loss = 1 - (1-s.Loss)*(1-f.Share)
	case fault.KindBandwidth:
		if limit := int64(f.PerSecond); s.BytesPerSecond == 0 || limit < s.BytesPerSecond {
			s.BytesPerSecond = limit
		}
	default:
		s.Latency += f.Delay
		s.Jitter += f.Jitter
	}
}

// overlay puts a change on the link of a fault.
func (w *World) overlay(f fault.Fault, change func(*simnet.Shape)) (undo func()) {
	there := w.net.Overlay(f.Region, f.To, change)
	if f.OneWay {
		return there
	}
	back := w.net.Overlay(f.To, f.Region, change)
	return func() { there(); back() }
}

// down cuts a Region off and, unless it hangs, kills what runs there.
func (r *Region) down(mode simnet.Mode) (undo func()) {
	change := func(s *simnet.Shape) { s.Mode = mode }
	var undos []func()
	for _, link := range [][2]string{{simnet.Any, r.name}, {r.name, simnet.Any}, {r.name, r.name}} {
		undos = append(undos, r.w.net.Overlay(link[0], link[1], change))
	}
	if mode != simnet.ModeHang {
		r.w.net.Crash(r.name)
		r.die()
		undos = append(undos, r.revive)
	}
	return func() {
		for _, undo := range undos {
			undo()
		}
	}
}

// zoneDown takes a zone away, or makes it show the symptoms of its recovery.
func (w *World) zoneDown(index int, f fault.Fault) (undo func()) {
	zone := w.Region(f.Region).Zone(f.Zone)
	if f.Mode != simnet.ModeUp {
		return zone.down(f.Mode)
	}
	slow := func(s *simnet.Shape) { s.Latency += f.Delay }
	in, out := w.net.Overlay(simnet.Any, zone.name, slow), w.net.Overlay(zone.name, simnet.Any, slow)
	refusing := func() {}
	if f.Share > 0 {
		refusing = w.disturb(index, f)
	}
	return func() { in(); out(); refusing() }
}
