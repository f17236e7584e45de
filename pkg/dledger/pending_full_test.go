package dledger

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A refusal for want of room names the members that hold the quorum up, and how far
// behind they are, and says when to try again.
func TestPendingFullNamesWhoIsSlow(t *testing.T) {
	disks := map[member.ID]*gatedFS{}
	c := newCluster(t, 3, func(cfg *Config) {
		disks[cfg.ID] = &gatedFS{FS: crashfs.New(), open: make(chan struct{})}
		cfg.Log.FS, cfg.MaxPendingBytes = disks[cfg.ID], 1<<20
		cfg.Member.MaxHeartBeatLeak = 20
	})
	c.awaitEqual()
	l := c.leader()
	var slow []string
	for id, d := range disks {
		t.Cleanup(d.release)
		if id != l.id {
			d.shut.Store(true)
			slow = append(slow, string(id))
		}
	}
	body := strings.Repeat("x", 100<<10)
	var refused error
	var waiting []<-chan ProposalResult
	for range 100 {
		ch, err := l.propose(body)
		if refused = err; err != nil {
			break
		}
		waiting = append(waiting, ch)
	}
	var e *Error
	require.ErrorAs(t, refused, &e)
	require.Equal(t, CodePendingFull, e.Code)
	require.False(t, e.Indefinite)
	require.GreaterOrEqual(t, e.RetryAfter, 50*time.Millisecond)
	end := l.Status().Commit + commitlog.Index(len(waiting))
	l.await(t, "the appends", func(st *Status) bool { return st.End == end }) // what waits to be appended is not behind yet
	e = l.PendingFull()
	require.Regexp(t, `followers n\d \d\.\d MB and n\d \d\.\d MB behind; try again later$`, e.Message)
	for _, id := range slow {
		require.Contains(t, e.Message, id+" 1.", "a megabyte or so: all that was taken")
		disks[member.ID(id)].release()
	}
	for _, ch := range waiting {
		require.NoError(t, receive(t, ch).Err)
	}
	c.awaitEqual()
	l.await(t, "the status to show that everybody has everything", func(st *Status) bool {
		behind := slices.ContainsFunc(st.Peers, func(p PeerStatus) bool { return p.Match < st.End })
		return !behind && l.ledger.Unsynced() == 0 && st.Applied == st.End
	})
	l.SetTrouble("its disk is full")
	require.NotContains(t, l.whatIsSlow(), "behind")
}

func TestSyncTimes(t *testing.T) {
	var s syncTimes
	require.Zero(t, s.p99())
	for i := range 3 * syncsRemembered {
		s.add(time.Duration(i) * time.Millisecond)
	}
	require.Equal(t, time.Duration(3*syncsRemembered-2)*time.Millisecond, s.p99())
	s.add(time.Hour)
	s.add(time.Hour)
	require.Equal(t, time.Hour, s.p99())
}

// BytesAfter is what a member lacks, exactly while that is in memory.
func TestBytesBehind(t *testing.T) {
	n := loner(t, func(cfg *Config) { cfg.Log.FS, cfg.Log.TailCacheBytes = crashfs.New(), 1 })
	n.Applied(0, []any{nil})
	n.await(t, "service", func(s *Status) bool { return s.Serving })
	const entry = 48 + 4 + 300<<10
	for i := range 3 {
		ch, err := n.propose(strings.Repeat("x", 300<<10))
		require.NoError(t, err)
		n.await(t, "the commit", func(s *Status) bool { return int(s.Commit) == i+1 })
		n.Applied(n.Status().Commit, []any{nil})
		require.NoError(t, receive(t, ch).Err)
	}
	bytes, exact := n.ledger.BytesAfter(2)
	require.Equal(t, int64(entry), bytes)
	require.True(t, exact)
	bytes, exact = n.ledger.BytesAfter(0)
	require.GreaterOrEqual(t, bytes, int64(entry))
	require.False(t, exact)
	bytes, exact = n.ledger.BytesAfter(3)
	require.Zero(t, bytes)
	require.True(t, exact)
	n.close(t)
}
