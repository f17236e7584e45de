package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

// field is what stands behind a key in a file of /proc, without its unit.
func field(t *testing.T, path, key string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), key)
	if !found {
		return "unknown"
	}
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSuffix(strings.TrimSpace(line), " kB")
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	require.NoError(t, err)
	return n
}

// processes are the brokers of a cluster; the zero value is none.
type processes struct {
	leader    int // process ids
	followers []int
	metrics   string // where the leader's metrics are, if it has any
}

func (p processes) all() []int {
	if p.leader == 0 {
		return p.followers
	}
	return append([]int{p.leader}, p.followers...)
}

// usage is what processes have used up to a moment.
type usage struct {
	at                time.Time
	leader, followers time.Duration // CPU
	client            time.Duration // CPU of this process
	machine           time.Duration // CPU of all there is
	written, read     int64         // bytes to and from disk, by the brokers
	mallocs           uint64        // of this process
	leaderMallocs     float64
}

// tick is the unit of CPU times in /proc: Linux has shown hundredths of a second to
// programs ever since.
const tick = 10 * time.Millisecond

// look reads what the brokers and this process have used up to now.
func (s *session) look() usage {
	s.t.Helper()
	u := usage{leaderMallocs: s.leaderMallocs()}
	for _, pid := range s.procs.all() {
		spent := cpuOf(s.t, pid)
		if pid == s.procs.leader {
			u.leader = spent
		} else {
			u.followers += spent
		}
		io := fmt.Sprintf("/proc/%d/io", pid)
		u.written += number(s.t, field(s.t, io, "\nwrite_bytes:"))
		u.read += number(s.t, field(s.t, io, "\nread_bytes:"))
	}
	var own unix.Rusage
	require.NoError(s.t, unix.Getrusage(unix.RUSAGE_SELF, &own))
	u.client = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for i, f := range strings.Fields(field(s.t, "/proc/stat", "cpu ")) {
		if i != 3 && i != 4 && i < 8 { // neither idle nor waiting for the disk
			u.machine += time.Duration(number(s.t, f)) * tick
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.at, u.mallocs = time.Now(), m.Mallocs
	return u
}

func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	f := strings.Fields(after)
	return time.Duration(number(t, f[11])+number(t, f[12])) * tick
}

// leaderMallocs asks the leader how many objects it has allocated.
func (s *session) leaderMallocs() float64 {
	s.t.Helper()
	if s.procs.metrics == "" {
		return 0
	}
	n, found := s.leaderMetrics()["go_memstats_mallocs_total"]
	require.True(s.t, found, "%s does not tell go_memstats_mallocs_total", s.procs.metrics)
	return n
}

// leaderMetrics is what the leader tells of itself, summed up over labels.
func (s *session) leaderMetrics() map[string]float64 {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.procs.metrics, nil)
	require.NoError(s.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	all, err := sumMetrics(response.Body)
	require.NoError(s.t, err)
	return all
}

// sumMetrics reads metrics in Prometheus' text format; labels are left out and the values
// that differ in nothing else added up.
func sumMetrics(r io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		name, _, _ := strings.Cut(line[:at], "{")
		all[name] += v
	}
	return all, lines.Err()
}

// resetPeaks makes peak memory begin anew.
func resetPeaks(p processes) {
	for _, pid := range p.all() {
		// Where it is not allowed the peak is that of the process so far.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

// used fills in what a workload of so many messages has used since before.
func (s *session) used(r *figures.Result, before usage) {
	s.t.Helper()
	after, m := s.look(), r.Metrics
	n := m[figures.Messages]
	if n == 0 {
		return
	}
	each := func(d time.Duration) float64 { return d.Seconds() / n * 1e6 }
	m[figures.ClientCPU] = each(after.client - before.client)
	m[figures.ClientAllocs] = float64(after.mallocs-before.mallocs) / n
	m[figures.OthersBusy] = after.others(before)
	if s.procs.leader == 0 {
		return
	}
	m[figures.LeaderCPU], m[figures.FollowerCPU] = each(after.leader-before.leader), each(after.followers-before.followers)
	m[figures.Written], m[figures.Read] = float64(after.written-before.written)/n, float64(after.read-before.read)/n
	if s.procs.metrics != "" {
		m[figures.LeaderAllocs] = (after.leaderMallocs - before.leaderMallocs) / n
	}
	m[figures.LeaderRSS] = s.peak(s.procs.leader)
	for _, pid := range s.procs.followers {
		m[figures.FollowerRSS] = max(m[figures.FollowerRSS], s.peak(pid))
	}
}

// peak is the most resident memory of a process since resetPeaks, in MiB.
func (s *session) peak(pid int) float64 {
	s.t.Helper()
	return float64(number(s.t, field(s.t, fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")) >> 10)
}

// others is which part of the machine was taken by processes that are not ours.
func (u usage) others(before usage) float64 {
	ours := u.leader - before.leader + u.followers - before.followers + u.client - before.client
	all := u.machine - before.machine
	return max(0, float64(all-ours)/float64(u.at.Sub(before.at))/float64(runtime.NumCPU()))
}
