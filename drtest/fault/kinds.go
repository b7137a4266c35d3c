package fault

import (
	"fmt"
	"maps"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A kind is what the package knows of one sort of fault.
type kind struct {
	names  []string // fields that must be set
	others []string // further fields that may be
	degree bool
	flaps  bool
	check  func(Fault) error
	text   func(Fault) string
	code   func(Fault) string // the Go expression
}

// kinds is what the package knows of all.
var kinds = join(basicKinds, moreKinds)

func join(tables ...map[Kind]kind) map[Kind]kind {
	all := map[Kind]kind{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

var basicKinds = map[Kind]kind{
	KindRegionDown: {
		flaps: true,
		names: []string{"region"}, others: []string{"mode"},
		check: func(f Fault) error {
			if f.Mode == simnet.ModeUp || f.Mode > simnet.ModeHang {
				return bad("mode", "%v is no way to be down, want blackhole, refuse, reset or hang", f.Mode)
			}
			return nil
		},
		text: func(f Fault) string { return fmt.Sprintf("%s is down (%v)", f.Region, f.Mode) },
		code: func(f Fault) string { return fmt.Sprintf("fault.RegionDown(%q, fault.%s)", f.Region, modeCode[f.Mode]) },
	},
	KindPartition: {
		flaps: true,
		names: []string{"region", "to"}, others: []string{"one_way"},
		check: Fault.twoEnds,
		text: func(f Fault) string {
			if f.OneWay {
				return fmt.Sprintf("%s cannot reach %s", f.Region, other(f.To))
			}
			return fmt.Sprintf("%s and %s are partitioned", f.Region, other(f.To))
		},
		code: func(f Fault) string {
			if f.OneWay {
				return fmt.Sprintf("fault.PartitionOneWay(%q, %s)", f.Region, otherCode(f.To))
			}
			return fmt.Sprintf("fault.Partition(%q, %s)", f.Region, otherCode(f.To))
		},
	},
	KindLatency: {
		flaps: true,
		names: []string{"region", "to"}, others: []string{"delay", "jitter"}, degree: true,
		check: func(f Fault) error {
			if err := f.twoEnds(); err != nil {
				return err
			}
			if f.Delay < 0 {
				return bad("delay", "%v is negative", f.Delay)
			}
			if f.Jitter < 0 {
				return bad("jitter", "%v is negative", f.Jitter)
			}
			if f.Delay == 0 && f.Jitter == 0 {
				return bad("delay", "missing")
			}
			return nil
		},
		text: func(f Fault) string {
			return fmt.Sprintf("%v+%v more between %s and %s", f.Delay, f.Jitter, f.Region, other(f.To))
		},
		code: func(f Fault) string {
			s := fmt.Sprintf("fault.Latency(%q, %s, %s)", f.Region, otherCode(f.To), Duration(f.Delay))
			if f.Jitter != 0 {
				s += fmt.Sprintf(".WithJitter(%s)", Duration(f.Jitter))
			}
			return s
		},
	},
	KindGray: {
		flaps: true,
		names: []string{"host"}, others: []string{"op", "share", "status"}, degree: true,
		check: Fault.answers,
		text: func(f Fault) string {
			return fmt.Sprintf("%s answers %s of %s with %d", f.Host, percent(f.Share), every(f.Op), f.Status)
		},
		code: func(f Fault) string {
			s := fmt.Sprintf("fault.Gray(%q, %v)", f.Host, f.Share)
			if f.Status != 500 {
				s += fmt.Sprintf(".WithStatus(%d)", f.Status)
			}
			return s + onCode(f.Op)
		},
	},
	KindThrottle: {
		flaps: true,
		names: []string{"host"}, others: []string{"op", "share", "status", "retry_after"}, degree: true,
		check: func(f Fault) error {
			if f.RetryAfter < 0 {
				return bad("retry_after", "%v is negative", f.RetryAfter)
			}
			return f.answers()
		},
		text: func(f Fault) string {
			return fmt.Sprintf("%s throttles %s of %s with %d", f.Host, percent(f.Share), every(f.Op), f.Status)
		},
		code: func(f Fault) string {
			return fmt.Sprintf("fault.Throttle(%q, %v, %d, %s)", f.Host, f.Share, f.Status, Duration(f.RetryAfter)) + onCode(f.Op)
		},
	},
	KindReplicationLag: {
		names: []string{"store"}, others: []string{"delay"}, degree: true,
		check: func(f Fault) error {
			if f.Delay <= 0 {
				return bad("delay", "%v is not positive", f.Delay)
			}
			return nil
		},
		text: func(f Fault) string { return fmt.Sprintf("%s replicates %v later", f.Store, f.Delay) },
		code: func(f Fault) string { return fmt.Sprintf("fault.ReplicationLag(%q, %s)", f.Store, Duration(f.Delay)) },
	},
	KindReplicationPause: {
		flaps: true,
		names: []string{"store"}, check: func(Fault) error { return nil },
		text: func(f Fault) string { return fmt.Sprintf("replication to %s is paused", f.Store) },
		code: func(f Fault) string { return fmt.Sprintf("fault.ReplicationPause(%q)", f.Store) },
	},
	KindCrash: {
		names: []string{"process"}, check: func(Fault) error { return nil },
		text: func(f Fault) string { return fmt.Sprintf("process %s is dead", f.Process) },
		code: func(f Fault) string { return fmt.Sprintf("fault.Crash(%q)", f.Process) },
	},
	KindClockSkew: {
		names: []string{"region"}, others: []string{"delay"}, degree: true,
		check: func(f Fault) error {
			if f.Delay == 0 {
				return bad("delay", "missing")
			}
			return nil
		},
		text: func(f Fault) string { return fmt.Sprintf("clocks of %s are off by %v", f.Region, f.Delay) },
		code: func(f Fault) string { return fmt.Sprintf("fault.ClockSkew(%q, %s)", f.Region, Duration(f.Delay)) },
	},
}

var modeCode = map[simnet.Mode]string{
	simnet.ModeBlackhole: "ModeBlackhole", simnet.ModeRefuse: "ModeRefuse", simnet.ModeReset: "ModeReset", simnet.ModeHang: "ModeHang",
}

// twoEnds checks the ends of a link.
func (f Fault) twoEnds() error {
	switch {
	case f.Region == Others:
		return bad("region", "%q can only be the second end", Others)
	case f.Region == f.To:
		return bad("to", "%q is both ends", f.To)
	}
	return nil
}

// answers checks a fault in which a host gives wrong answers.
func (f Fault) answers() error {
	if err := f.part(); err != nil {
		return err
	}
	if f.Status < 400 || f.Status > 599 {
		return bad("status", "%d is not the status of an error", f.Status)
	}
	return nil
}

func other(region string) string {
	if region == Others {
		return "all others"
	}
	return region
}

func otherCode(region string) string {
	if region == Others {
		return "fault.Others"
	}
	return fmt.Sprintf("%q", region)
}

func onCode(op string) string {
	if op == "" {
		return ""
	}
	return fmt.Sprintf(".On(%q)", op)
}

func every(op string) string {
	if op == "" {
		return "everything"
	}
	return op
}

func percent(share float64) string { return fmt.Sprintf("%.4g %%", share*100) }
