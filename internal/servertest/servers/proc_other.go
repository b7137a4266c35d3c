//go:build unix && !linux

package servers

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// diesWithParent is false: a [will] does what the kernel does on Linux.
const diesWithParent = false

// dieWith does nothing.
func dieWith(*syscall.SysProcAttr, syscall.Signal) {}

// procStat reads what tells one process from a later one with the same pid.
func procStat(pid int) (stat, bool) {
	all := ps("-p", strconv.Itoa(pid))
	if len(all) == 0 {
		return stat{}, false
	}
	return all[0], true
}

// procAll lists every process that can be seen.
func procAll() []stat { return ps("-ax") }

func ps(args ...string) []stat {
	out, _ := exec.Command("/bin/ps", append(args, "-o", "pid=,ppid=,state=,lstart=")...).Output()
	var all []stat
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		pid, _ := strconv.Atoi(f[0])
		parent, _ := strconv.Atoi(f[1])
		all = append(all, stat{pid: pid, parent: parent, state: f[2][0], start: strings.Join(f[3:], " ")})
	}
	return all
}
