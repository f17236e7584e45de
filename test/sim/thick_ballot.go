package sim

import (
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The ballot of a thick node is the real one, in a file beside the log.

const thickBallot = "/data/ballot"

// ballotDisk is a file of crashfs as pkg/dledger sees it.
type ballotDisk struct{ commitlog.File }

func (d ballotDisk) WriteAt(p []byte, off int64) (int, error) {
	if err := d.File.WriteAt(off, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (d ballotDisk) Datasync() error { return d.Sync() }

// createBallot makes the ballot of a new disk.
func createBallot(fs *crashfs.FS, id member.ID) error {
	f, err := fs.Create(thickBallot)
	if err == nil {
		err = dledger.CreateBallot(ballotDisk{f}, "c", "g", id)
	}
	if err == nil {
		err = fs.SyncDir("/data")
	}
	return err
}

// openBallot reads the ballot of a thick node: the last one that was saved, or the one
// that was being saved.
func (n *node) openBallot() bool {
	f, err := n.disk.fs.Open(thickBallot)
	if err == nil {
		n.ballot, err = dledger.OpenBallot(ballotDisk{f}, "c", "g", n.id)
	}
	if err != nil {
		n.sim.fail("%s: I1: the ballot cannot be read: %v", n.id, err)
		return false
	}
	found := n.ballot.Load()
	if found != n.disk.ballot && (n.disk.saving == nil || found != *n.disk.saving) {
		n.sim.fail("%s: I1: the ballot is %+v after a crash, saved was %+v", n.id, found, n.disk.ballot)
		return false
	}
	n.disk.ballot, n.disk.saving = found, nil
	return true
}

// saveBallot makes a ballot durable. False: the process has ended.
func (n *node) saveBallot(b member.Ballot) bool {
	n.disk.saving = &b
	if n.ballot != nil {
		switch err := n.ballot.Save(b); {
		case err != nil && n.disk.eio: // the fault was laid for the log
			n.disk.eio = false
			n.sim.count[DiskErrors]++
			n.dies()
			return false
		case err != nil:
			n.sim.fail("%s: save ballot: %v", n.id, err)
			return false
		}
	}
	n.disk.ballot, n.disk.saving = b, nil
	return true
}

// saveHalf is a save of the ballot that a crash or an error of the disk cuts short.
func (n *node) saveHalf(how crashfs.Fault) {
	b := n.disk.saving
	if b == nil || n.ballot == nil {
		return
	}
	at, seen := 1+n.sim.rng.IntN(3), 0
	n.disk.fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if seen++; seen < at {
			return crashfs.Fault{}
		}
		return how
	})
	if n.ballot.Save(*b) == nil {
		n.disk.ballot, n.disk.saving = *b, nil
	} else {
		n.sim.count[CutBallots]++
	}
	n.ballot = nil
	n.disk.fs.SetFault(nil)
}
