package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/test/cluster"
)

// host is one broker with its machine: network namespace, disk, freezer group.
type host struct {
	t    testing.TB
	node *cluster.Node
	ip   string
	disk *disk  // nil without the ability
	ns   string // "" without the ability
	cage string // freezer group, "" without the ability
	busy string // the fault of process or disk that it suffers; it suffers one at a time
	// mayEnd is until when the broker may still end by itself because of its last fault.
	mayEnd time.Time
	// flipped is set while its data directory may have damage that we made: then it may
	// refuse to start, or end when it finds it.
	flipped bool
	ends    int    // how often it has ended because of that
	frail   *frail // what its data directory is mounted through, nil if it is not
}

// newHosts prepares three hosts with everything that the machine allows.
// direct says which of them have disks with direct writes.
func newHosts(t testing.TB, m *machine, dir string, settings string, direct [3]bool) (*cluster.Cluster, []*host) {
	t.Helper()
	var hosts []*host
	var places []cluster.Place
	if m.has(namespaces) {
		must(t, newBridge())
		t.Cleanup(func() { must(t, removeBridge()) })
	}
	for i := range 3 {
		h := &host{t: t}
		id := fmt.Sprintf("n%d", i+1)
		hosts = append(hosts, h)
		if !m.has(namespaces) {
			continue
		}
		h.ns, h.ip = id, fmt.Sprintf("10.203.0.%d", i+1)
		must(t, connect(h.ns, h.ip))
		t.Cleanup(h.takeDown) // after the cluster's own clean-up, which ends the processes
		place := cluster.Place{IP: h.ip, Data: filepath.Join(t.TempDir(), "data"), Wrap: wrapIn(h.ns)}
		if m.has(disks) {
			d, err := newDisk(filepath.Join(dir, id), direct[i] && m.has(directDisks))
			must(t, err)
			t.Logf("%s: disk with direct writes: %v", id, d.direct)
			h.disk, place.Data = d, filepath.Join(d.mount, "data")
		}
		if m.has(freezer) {
			h.cage = filepath.Join(freezerRoot, os.Getenv("CHAOS_GROUP")+"-"+id)
			must(t, os.Mkdir(h.cage, 0o700))
		}
		places = append(places, place)
	}
	args := []string{"--config", settings}
	if places != nil {
		args = append(args, "--insecure")
	}
	c := cluster.New(t, cluster.Config{Places: places, Args: args})
	for i, h := range hosts {
		h.node = c.Nodes()[i]
		t.Cleanup(h.release) // before the cluster's own, which waits for the processes
	}
	return c, hosts
}

// release lets go of whatever would keep the process from dying.
func (h *host) release() {
	if h.disk != nil {
		_ = h.disk.thaw() // fails when it is not frozen
	}
	if h.cage != "" {
		_ = os.WriteFile(filepath.Join(h.cage, "freezer.state"), []byte("THAWED"), 0)
	}
}

// takeDown removes what was made for the host, so that the next test can make it anew.
func (h *host) takeDown() {
	if err := disconnect(h.ns); err != nil {
		h.t.Error(err)
	}
	if h.frail != nil {
		if err := h.frail.unmount(); err != nil {
			h.t.Error(err)
		}
	}
	if h.disk != nil {
		if err := h.disk.unmount(); err != nil && !errors.Is(err, syscall.EINVAL) { // without power it is not mounted
			h.t.Error(err)
		}
		h.disk.remove()
	}
	if h.cage != "" {
		_ = os.Remove(h.cage) // the process outside tries again
	}
}

// start starts the broker, in its freezer group if it has one.
func (h *host) start() {
	h.node.Start()
	if h.cage == "" {
		return
	}
	err := os.WriteFile(filepath.Join(h.cage, "cgroup.procs"), []byte(strconv.Itoa(h.node.Pid())), 0)
	if !errors.Is(err, syscall.ESRCH) { // it may have ended at once; whoever looks after the hosts will notice
		must(h.t, err)
	}
}

// ended tells whether the process is gone, without waiting.
func (h *host) ended() bool {
	if !h.node.Running() {
		return true
	}
	select {
	case <-h.node.Ended():
		return true
	default:
		return false
	}
}

// endsWithin waits for the process to end by itself.
func (h *host) endsWithin(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-h.node.Ended():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// kill ends the process, or finds that it has ended by itself.
func (h *host) kill() {
	h.node.TrySignal(syscall.SIGKILL)
	h.node.Wait()
}

// terminated waits for the end of a process that was asked to end.
func (h *host) terminated() {
	if code := h.node.Wait(); code != 0 && !h.flipped && time.Now().After(h.mayEnd) {
		h.t.Errorf("%s ended with exit code %d on SIGTERM", h.node.ID, code)
	}
}

func (h *host) cageState(state string) {
	must(h.t, os.WriteFile(filepath.Join(h.cage, "freezer.state"), []byte(state), 0))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
