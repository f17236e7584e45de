package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

const ticksPerSecond = 100 // USER_HZ on Linux

func fields(path string) []string {
	b, _ := os.ReadFile(path)
	return strings.Fields(string(b))
}

// procCPU returns the CPU seconds (user + system) a process has used.
func procCPU(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	u, _ := strconv.ParseFloat(f[11], 64)
	k, _ := strconv.ParseFloat(f[12], 64)
	return (u + k) / ticksPerSecond
}

// procValue reads one "key: value" line of a file below /proc/PID.
func procValue(pid int, file, key string) float64 {
	f := fields(fmt.Sprintf("/proc/%d/%s", pid, file))
	for i, w := range f {
		if w == key+":" && i+1 < len(f) {
			v, _ := strconv.ParseFloat(f[i+1], 64)
			return v
		}
	}
	return 0
}

func selfCPU() float64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// machineCPU returns CPU seconds of the whole machine: busy, and stolen by the host.
func machineCPU() (busy, steal float64) {
	f := fields("/proc/stat")[1:9] // user nice system idle iowait irq softirq steal
	for i, w := range f {
		v, _ := strconv.ParseFloat(w, 64)
		switch i {
		case 3, 4:
		case 7:
			steal = v / ticksPerSecond
		default:
			busy += v / ticksPerSecond
		}
	}
	return busy, steal
}

// usage is one reading of what a cluster and the harness have consumed.
type usage struct {
	at                       time.Time
	server, client, disk     float64
	machineBusy, machineLost float64
}

func readUsage(nodes []*Node) usage {
	u := usage{at: time.Now(), client: selfCPU()}
	for _, n := range nodes {
		u.server += procCPU(n.Pid())
		u.disk += procValue(n.Pid(), "io", "write_bytes")
	}
	u.machineBusy, u.machineLost = machineCPU()
	return u
}

// report adds the differences since u to m, per message of n.
func (u usage) report(m map[string]float64, nodes []*Node, n int) {
	v := readUsage(nodes)
	if n > 0 {
		m[serverCPU] = (v.server - u.server) / float64(n) * 1e6
		m[figures.ClientCPU] = (v.client - u.client) / float64(n) * 1e6
		m[figures.Written] = (v.disk - u.disk) / float64(n)
	}
	pct := 100 / v.at.Sub(u.at).Seconds() / float64(runtime.NumCPU())
	m[otherShare] = math.Max(0, v.machineBusy-u.machineBusy-(v.server-u.server)-(v.client-u.client)) * pct
	m[stealShare] = (v.machineLost - u.machineLost) * pct
	for _, n := range nodes {
		m[serverRSS] += procValue(n.Pid(), "status", "VmHWM") / 1024
	}
}
