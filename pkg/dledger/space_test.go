package dledger

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// fullDisk is a disk that has no room for another segment while it is set.
type fullDisk struct{ atomic.Bool }

func (d *fullDisk) mayGrow(int64) error {
	if d.Load() {
		return syscall.ENOSPC
	}
	return nil
}

// A follower whose disk is full neither ends nor holds anybody up: the leader goes
// on with the other one, what the full one was sent and has not written is bounded,
// and it catches up by itself when there is space (dledger F-L12).
func TestFullFollowerHoldsAndCatchesUp(t *testing.T) {
	const inbound = 1 << 20
	disks := map[member.ID]*fullDisk{"n1": {}, "n2": {}, "n3": {}}
	told := make(chan error, 1024)
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Log.SegmentBytes, cfg.MaxInboundBytes = 256<<10, inbound
		cfg.Log.MayGrow = disks[cfg.ID].mayGrow
		cfg.OnSpace = func(err error) { told <- err }
	})
	leader, _ := c.publish("first")
	var full *node
	for id, n := range c.nodes {
		if id != leader.id {
			full = n
		}
	}
	disks[full.id].Store(true)
	for len(told) > 0 {
		<-told
	}
	text := strings.Repeat("x", 64<<10)
	for range 100 { // 6 MiB: many segments, and more than a stream may hold
		c.publish(text)
	}
	require.ErrorIs(t, full.NoSpace(), syscall.ENOSPC)
	require.ErrorIs(t, <-told, syscall.ENOSPC)
	st := full.Status()
	require.Zero(t, st.SyncHangs, "waiting for space is no sync that hangs")
	require.LessOrEqual(t, full.ledger.Unsynced(), int64(inbound+2<<20), "credit and one push")
	require.Equal(t, member.Follower, st.Role, "it still follows")
	require.NotEmpty(t, st.Leader)

	disks[full.id].Store(false)
	full.await(t, "space", func(*Status) bool { return full.NoSpace() == nil })
	c.awaitEqual()
}

// All disks are full: what fits is still committed, so a leader can be elected and
// serve what there is; nothing ends, and all goes on when there is space.
func TestAllDisksFullAndALeaderIsElected(t *testing.T) {
	disk := &fullDisk{}
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Log.SegmentBytes = 256 << 10
		cfg.Log.MayGrow = disk.mayGrow
	})
	c.publish(strings.Repeat("x", 100<<10))
	disk.Store(true)
	last, _ := c.publish(strings.Repeat("y", 64<<10)) // past the half: the next segment is wanted
	last.await(t, "the lack of space", func(*Status) bool { return last.NoSpace() != nil })
	id := last.id
	c.kill(id)
	leader, _ := c.publish("small, and so it still fits")
	require.NotEqual(t, id, leader.id)
	disk.Store(false)
	c.start(id)
	c.publish(strings.Repeat("z", 200<<10))
	c.awaitEqual()
}

// An entry that does not fit the last segment waits for space, undurable and
// uncommitted, and is committed then.
func TestProposalWaitsForSpace(t *testing.T) {
	disk := &fullDisk{}
	n := loner(t, func(cfg *Config) { cfg.Log.SegmentBytes, cfg.Log.MayGrow = 64<<10, disk.mayGrow })
	n.Applied(0, []any{nil})
	n.await(t, "service", func(s *Status) bool { return s.Serving })
	disk.Store(true)
	fits, err := n.propose(strings.Repeat("x", 40<<10))
	require.NoError(t, err)
	n.await(t, "the commit", func(s *Status) bool { return s.Commit == 1 })
	waits, err := n.propose(strings.Repeat("y", 40<<10))
	require.NoError(t, err)
	n.await(t, "the lack of space", func(s *Status) bool { return n.NoSpace() != nil && s.End == 2 })
	st := n.Status()
	require.EqualValues(t, 1, st.Commit)
	require.EqualValues(t, 1, st.Durable)
	disk.Store(false)
	n.await(t, "the commit", func(s *Status) bool { return s.Commit == 2 })
	n.Applied(1, []any{nil, nil})
	require.NoError(t, receive(t, fits).Err)
	require.NoError(t, receive(t, waits).Err)
	n.close(t)
}
