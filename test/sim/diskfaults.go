package sim

import (
	"syscall"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

func (s *Sim) newDisk(dir int, id member.ID) disk {
	d := disk{dir: dir, rot: marks{}, met: marks{}, applied: member.NoIndex}
	if s.profile.thick {
		d.fs = crashfs.New()
		if err := createBallot(d.fs, id); err != nil {
			s.fail("%s: create the ballot: %v", id, err)
		}
	}
	return d
}

// diskFails: a sync has failed. What the disk now has is not known, so the process
// ends at once; nothing that the sync covered is reported durable.
func (n *node) diskFails() bool {
	if !n.disk.eio {
		return false
	}
	n.disk.eio = false
	n.sim.count[DiskErrors]++
	n.dies()
	return true
}

// save makes the ballot and what is known of the group durable. False: the process has
// ended.
func (n *node) save(u member.Update) bool {
	if u.Ballot != nil && !n.saveBallot(*u.Ballot) {
		return false
	}
	if u.Changes != nil {
		n.disk.changes = u.Changes
	}
	return true
}

// save does that on a disk of the thin model.
func (d *disk) save(u member.Update) {
	if u.Ballot != nil {
		d.ballot = *u.Ballot
	}
	if u.Changes != nil {
		d.changes = u.Changes
	}
}

// saveFails: the ballot could not be saved, or it could and its sync failed.
func (n *node) saveFails(u member.Update) {
	n.disk.eio = false
	n.sim.count[DiskErrors]++
	if n.disk.fs != nil {
		loss := n.sim.loss()
		n.disk.saving = u.Ballot
		n.saveHalf(crashfs.Fault{Err: syscall.EIO, Clean: &loss})
	} else if n.sim.chance(0.5) {
		n.disk.save(u)
	}
	n.dies()
}

// fillDisk takes the space for the next segment of n for a while, at most 8 s.
func (s *Sim) fillDisk(n *node) {
	if lead := s.leader(); lead != nil && s.chance(0.5) {
		n = lead
	}
	if n.disk.full {
		return
	}
	s.count[FullDisks]++
	n.disk.full = true
	s.undo(s.upTo(8*time.Second), func() { n.disk.full = false })
}

// lacksSpace says whether a sync has to wait for space. What still fits the segment is
// written. It is tried again every second; nothing is final, and nothing else waits.
func (n *node) lacksSpace() bool {
	s := n.sim
	if !n.disk.full {
		n.hasSpace(true)
		return false
	}
	if n.thick != nil && !n.chores.noSpace {
		return false // the log finds out
	}
	if !n.chores.noSpace && s.chance(0.5) {
		return false
	}
	n.awaitSpace()
	return true
}

// awaitSpace waits for space for a sync.
func (n *node) awaitSpace() {
	if n.chores.noSpace {
		return // somebody waits already
	}
	n.hasSpace(false)
	n.trySpace()
}

func (n *node) trySpace() {
	life := n.life
	n.sim.after(time.Second, func() {
		switch {
		case n.life != life:
		case n.disk.full:
			n.trySpace()
		default:
			n.hasSpace(true)
			n.startSync()
		}
	})
}

// hasSpace draws the consequences: without space the broker takes no messages, and the
// member is not fit to lead.
func (n *node) hasSpace(has bool) {
	if n.chores.noSpace == !has {
		return
	}
	n.chores.noSpace = !has
	if !has && n.role == member.Leader {
		n.sim.count[FullLeaders]++
	}
	n.tellHealth()
}

func (n *node) tellHealth() {
	n.postSoon(member.Health{Fit: n.fit && !n.chores.noSpace && !n.hindered()})
}

// healDisks ends the trouble of the disks. What is damaged is found, so that it can be
// repaired.
func (s *Sim) healDisks() {
	for _, n := range s.nodes {
		n.disk.full, n.disk.eio = false, false
		if n.disk.fs != nil {
			n.disk.fs.SetFault(nil)
		}
		if n.up {
			n.scrub()
		}
		for i := range n.disk.rot { // the next start finds it
			n.disk.met[i] = true
		}
	}
}
