package chaos

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ledgermq/ledgermq/test/faultfs"
)

// exitTime is how soon a process must have ended whose sync or write has failed. It takes a
// moment; a machine that is busy with other things stalls for seconds.
const exitTime = 30 * time.Second

// frail is a data directory that is mounted through a file system which can fail once.
type frail struct {
	under string // the directory itself, at another place
	data  string
	fs    *faultfs.FS
}

// newFrail mounts a data directory through a file system that can fail.
func newFrail(data, under string) (*frail, error) {
	f := &frail{under: under, data: data}
	err := firstError(
		func() error { return os.MkdirAll(data, 0o700) },
		func() error { return os.MkdirAll(under, 0o700) },
		func() error { return unix.Mount(data, under, "", unix.MS_BIND, "") },
	)
	if err != nil {
		return nil, fmt.Errorf("bind %s: %w", data, err)
	}
	if f.fs, err = faultfs.Mount(under, data); err != nil {
		return nil, errors.Join(err, unix.Unmount(under, 0))
	}
	return f, nil
}

// unmount shows the directory itself again. The last process that used it is dead, but
// its files may still be closing.
func (f *frail) unmount() error {
	var err error
	for range 3000 {
		if err = f.fs.Unmount(); err == nil {
			break
		}
		pause(10 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	for range 3000 { // a directory may still be being read
		if err = unix.Unmount(f.under, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		pause(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", f.under, err)
	}
	return os.Remove(f.under)
}

func (m *machine) probeFrail(d *disk) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		m.lack(oneShot, err)
		return
	}
	f, err := newFrail(d.mount+"/frail", d.mount+"-under")
	if err == nil {
		err = f.unmount()
	}
	if err != nil {
		m.lack(oneShot, err)
	}
}

func syncFails(n *nemesis, targets []*host) func()  { return failOnce(n, targets, faultfs.Sync) }
func writeFails(n *nemesis, targets []*host) func() { return failOnce(n, targets, faultfs.Write) }
func readFails(n *nemesis, targets []*host) func()  { return failOnce(n, targets, faultfs.Read) }

// failOnce starts the targets again over a file system on which one call will fail, at a
// place that nobody knows before.
func failOnce(n *nemesis, targets []*host, call faultfs.Call) func() {
	failed := map[*host]<-chan struct{}{}
	for _, h := range targets {
		h.kill()
		var err error
		h.frail, err = newFrail(h.node.Data, h.disk.mount+"-under")
		must(n.t, err)
		// The first calls are those of the start; most lie behind them.
		failed[h] = h.frail.fs.Fail(call, "", n.rng.IntN([]int{15, 60, 250}[n.rng.IntN(3)]))
	}
	for _, h := range targets {
		h.start()
	}
	return func() {
		for _, h := range targets {
			select {
			case <-failed[h]:
				n.afterFailure(h, call)
			default:
				n.counts.add(call.String()+" failures that were never reached", 1)
			}
			n.buryFrail(h)
		}
		for _, h := range targets {
			h.start()
		}
	}
}

// afterFailure holds a broker whose call has failed against what it owes: after a sync or
// a write it has ended by itself, unless nothing depends on it; after a read it may have.
func (n *nemesis) afterFailure(h *host, call faultfs.Call) {
	failed := h.frail.fs.Failed()
	file := failed.Path
	n.counts.add(call.String()+" failures", 1)
	if call == faultfs.Read || needless(failed) {
		if h.ended() {
			n.log("%s ended with exit code %d after a %v of %s failed", h.node.ID, h.node.Wait(), call, file)
			n.counts.add("brokers that ended then", 1)
		}
		return
	}
	if !h.endsWithin(n.ctx, exitTime) {
		n.t.Errorf("%s goes on after a %v of %s has failed", h.node.ID, call, file)
		return
	}
	if code := h.node.Wait(); code != 1 && code != 2 {
		n.t.Errorf("%s ended with exit code %d after a %v of %s failed", h.node.ID, code, call, file)
	} else {
		n.log("%s ended with exit code %d after a %v of %s failed", h.node.ID, code, call, file)
	}
}

// needless tells whether nothing depends on what failed: zeros ahead of the log, a segment
// that is prepared, and prepared again when it is needed, an outline, without which the next
// start reads more.
func needless(f *faultfs.Failure) bool {
	name := path.Base(f.Path)
	return f.Void || strings.HasPrefix(name, "prepared-") || strings.HasPrefix(name, "outline-")
}

// buryFrail ends the broker if it has not ended, takes the file system off, and lets what was
// not synced be lost.
func (n *nemesis) buryFrail(h *host) {
	if h.node.Running() {
		h.kill()
	}
	must(n.t, h.frail.unmount())
	h.frail = nil
	must(n.t, firstError(h.disk.cutPower, h.disk.restorePower))
}
