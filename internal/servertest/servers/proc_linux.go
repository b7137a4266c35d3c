package servers

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// diesWithParent says that dieWith keeps its promise.
const diesWithParent = true

// dieWith makes the kernel send sig to the child when this process ends, however it ends. The
// signal is bound to the thread that forks; the Go runtime ends a thread only when a goroutine
// locked to it returns, which nothing here does.
func dieWith(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// procStat reads what tells one process from a later one with the same pid.
func procStat(pid int) (stat, bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false
	}
	// The command, in parentheses, may hold anything; the fields behind it do not.
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 20 {
		return stat{}, false
	}
	parent, _ := strconv.Atoi(f[1])
	return stat{pid: pid, state: f[0][0], parent: parent, start: f[19]}, true
}

// procAll lists every process that can be seen.
func procAll() []stat {
	entries, _ := os.ReadDir("/proc")
	var all []stat
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := procStat(pid); ok {
			all = append(all, s)
		}
	}
	return all
}
