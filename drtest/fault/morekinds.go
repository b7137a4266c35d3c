package fault

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// moreKinds are the faults of parts of a Region and of what services do to each other.
var moreKinds = map[Kind]kind{
	KindAZDown: {
		names: []string{"region", "zone"}, others: []string{"mode", "delay", "share", "recovery"},
		flaps: true,
		check: Fault.zoneDown,
		text: func(f Fault) string {
			if f.Mode == simnet.ModeUp {
				return fmt.Sprintf("%s/%s recovers: %v more, %s refused", f.Region, f.Zone, f.Delay, percent(f.Share))
			}
			return fmt.Sprintf("%s/%s is down (%v)", f.Region, f.Zone, f.Mode)
		},
		code: func(f Fault) string {
			s := fmt.Sprintf("fault.AZDown(%q, %q, fault.%s)", f.Region, f.Zone, modeCode[f.Mode])
			if f.Recovery != 0 {
				s += fmt.Sprintf(".Recovering(%s, %s, %v)", Duration(f.Recovery), Duration(f.Delay), f.Share)
			}
			return s
		},
	},
	KindLoss: {
		names: []string{"region", "to"}, others: []string{"share"}, degree: true, flaps: true,
		check: func(f Fault) error {
			if err := f.twoEnds(); err != nil {
				return err
			}
			if !(f.Share > 0 && f.Share < 1) {
				return bad("share", "%v is not above 0 and below 1", f.Share)
			}
			return nil
		},
		text: func(f Fault) string {
			return fmt.Sprintf("%s of the packets between %s and %s are lost", percent(f.Share), f.Region, other(f.To))
		},
		code: func(f Fault) string { return fmt.Sprintf("fault.Loss(%q, %s, %v)", f.Region, otherCode(f.To), f.Share) },
	},
	KindBandwidth: {
		names: []string{"region", "to"}, others: []string{"per_second"}, flaps: true,
		check: func(f Fault) error {
			if err := f.twoEnds(); err != nil {
				return err
			}
			if !(f.PerSecond >= 1 && f.PerSecond <= 1e12) || f.PerSecond != float64(int64(f.PerSecond)) {
				return bad("per_second", "%v is no whole number of bytes from 1 to 1e12", f.PerSecond)
			}
			return nil
		},
		text: func(f Fault) string {
			return fmt.Sprintf("%.0f bytes a second between %s and %s", f.PerSecond, f.Region, other(f.To))
		},
		code: func(f Fault) string {
			return fmt.Sprintf("fault.Bandwidth(%q, %s, %.0f)", f.Region, otherCode(f.To), f.PerSecond)
		},
	},
	KindDNS: {
		names: []string{"region"}, others: []string{"host", "failure"}, flaps: true,
		check: failsAs(FailNotFound, FailServerFailure, FailTimeout, FailStale),
		text: func(f Fault) string {
			name := f.Host
			if name == "" {
				name = "every name"
			}
			return fmt.Sprintf("look-ups of %s in %s fail (%s)", name, f.Region, f.Failure)
		},
		code: func(f Fault) string {
			return fmt.Sprintf("fault.DNS(%q, %q, fault.%s)", f.Region, f.Host, failureCode[f.Failure])
		},
	},
	KindTLS: {
		names: []string{"host"}, others: []string{"failure"}, flaps: true,
		check: failsAs(FailExpired, FailUnknownAuthority, FailWrongHost, FailHang),
		text:  func(f Fault) string { return fmt.Sprintf("handshakes of %s fail (%s)", f.Host, f.Failure) },
		code:  func(f Fault) string { return fmt.Sprintf("fault.TLS(%q, fault.%s)", f.Host, failureCode[f.Failure]) },
	},
	KindReplicationBreak: {
		names: []string{"store"}, check: func(Fault) error { return nil },
		text: func(f Fault) string { return fmt.Sprintf("replication to %s is broken", f.Store) },
		code: func(f Fault) string { return fmt.Sprintf("fault.ReplicationBreak(%q)", f.Store) },
	},
	KindDuplicate: {
		names: []string{"host"}, others: []string{"op", "share"}, degree: true, flaps: true,
		check: Fault.part,
		text: func(f Fault) string {
			return fmt.Sprintf("%s gets %s of %s twice", f.Host, percent(f.Share), every(f.Op))
		},
		code: func(f Fault) string { return fmt.Sprintf("fault.Duplicate(%q, %v)", f.Host, f.Share) + onCode(f.Op) },
	},
	KindPoison: {
		names: []string{"host"}, others: []string{"op", "share"}, degree: true, flaps: true,
		check: Fault.part,
		text: func(f Fault) string {
			return fmt.Sprintf("%s gets something unreadable beside %s of %s", f.Host, percent(f.Share), every(f.Op))
		},
		code: func(f Fault) string { return fmt.Sprintf("fault.Poison(%q, %v)", f.Host, f.Share) + onCode(f.Op) },
	},
	KindControlPlaneDown: {
		names: []string{"region"}, flaps: true, check: func(Fault) error { return nil },
		text: func(f Fault) string { return fmt.Sprintf("the control plane of %s is down", f.Region) },
		code: func(f Fault) string { return fmt.Sprintf("fault.ControlPlaneDown(%q)", f.Region) },
	},
	KindCapacityLimit: {
		others: []string{"region", "host", "per_second"}, flaps: true,
		check: func(f Fault) error {
			switch {
			case (f.Host == "") == (f.Region == ""):
				return bad("host", "want a host or a region, and not both")
			case !(f.PerSecond > 0 && f.PerSecond <= 1e9):
				return bad("per_second", "%v is not above 0 and up to 1e9", f.PerSecond)
			}
			return nil
		},
		text: func(f Fault) string {
			return fmt.Sprintf("%s can take %g requests a second", f.Region+f.Host, f.PerSecond)
		},
		code: func(f Fault) string {
			if f.Host == "" {
				return fmt.Sprintf("fault.RegionCapacity(%q, %v)", f.Region, f.PerSecond)
			}
			return fmt.Sprintf("fault.CapacityLimit(%q, %v)", f.Host, f.PerSecond)
		},
	},
	KindSlow: {
		names: []string{"host", "delay"}, others: []string{"op"}, degree: true, flaps: true,
		check: func(f Fault) error {
			if f.Delay < 0 {
				return bad("delay", "%v is negative", f.Delay)
			}
			return nil
		},
		text: func(f Fault) string { return fmt.Sprintf("%s takes %v longer for %s", f.Host, f.Delay, every(f.Op)) },
		code: func(f Fault) string {
			return fmt.Sprintf("fault.Slow(%q, %s)", f.Host, Duration(f.Delay)) + onCode(f.Op)
		},
	},
	KindLostReply: {
		names: []string{"host"}, others: []string{"op", "share"}, degree: true, flaps: true,
		check: Fault.part,
		text: func(f Fault) string {
			return fmt.Sprintf("%s loses its answers to %s of %s", f.Host, percent(f.Share), every(f.Op))
		},
		code: func(f Fault) string { return fmt.Sprintf("fault.LostReply(%q, %v)", f.Host, f.Share) + onCode(f.Op) },
	},
	KindFlagStoreDown: {
		names: []string{"host"}, flaps: true, check: func(Fault) error { return nil },
		text: func(f Fault) string { return fmt.Sprintf("the flag store %s is down", f.Host) },
		code: func(f Fault) string { return fmt.Sprintf("fault.FlagStoreDown(%q)", f.Host) },
	},
}

// zoneDown checks an AZDown; one without a mode is what is left while the zone recovers.
func (f Fault) zoneDown() error {
	switch {
	case f.Mode > simnet.ModeHang || f.Mode == simnet.ModeUp:
		return bad("mode", "%v is no way to be down, want blackhole, refuse, reset or hang", f.Mode)
	case strings.Contains(f.Zone, "/"):
		return bad("zone", "%q has a slash", f.Zone)
	case f.Recovery < 0 || f.Recovery > 24*time.Hour:
		return bad("recovery", "%v is not from 0 to a day", f.Recovery)
	case f.Delay < 0:
		return bad("delay", "%v is negative", f.Delay)
	case !(f.Share >= 0 && f.Share <= 1):
		return bad("share", "%v is not from 0 to 1", f.Share)
	case f.Recovery == 0 && (f.Delay != 0 || f.Share != 0):
		return bad("recovery", "missing, for symptoms there are")
	case f.Recovery > 0 && f.Delay == 0 && f.Share == 0:
		return bad("recovery", "%v without symptoms: want a delay or a share", f.Recovery)
	}
	return nil
}

// failsAs checks that a failure is one of some.
func failsAs(known ...Failure) func(Fault) error {
	return func(f Fault) error {
		if !slices.Contains(known, f.Failure) {
			return bad("failure", "%q is not known, want one of %q", string(f.Failure), known)
		}
		return nil
	}
}

// part checks the share of what a host receives.
func (f Fault) part() error {
	if !(f.Share > 0 && f.Share <= 1) { // also for NaN
		return bad("share", "%v is not above 0 and up to 1", f.Share)
	}
	return nil
}

var failureCode = map[Failure]string{
	FailNotFound: "FailNotFound", FailServerFailure: "FailServerFailure", FailTimeout: "FailTimeout", FailStale: "FailStale",
	FailExpired: "FailExpired", FailUnknownAuthority: "FailUnknownAuthority", FailWrongHost: "FailWrongHost", FailHang: "FailHang",
}
