package dledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// scrubbed are small segments that are scrubbed, so that a start trusts their outlines.
func scrubbed(bytesPerSecond int64) func(*Config) {
	return func(cfg *Config) {
		smallSegments(cfg)
		cfg.ScrubRate, cfg.ScrubPause = bytesPerSecond, time.Hour
	}
}

// logFiles counts the files of a member's log.
func (c *cluster) logFiles(id member.ID, pattern string) int {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dirs[id], logDirName, pattern))
	require.NoError(c.t, err)
	return len(files)
}

// While a member runs, the segments that it leaves get outlines, and the next start does
// not read those, also after a kill. Where nothing is scrubbed it reads all.
func TestSegmentsThatAStartDoesNotRead(t *testing.T) {
	c := newCluster(t, 1, scrubbed(1<<20))
	c.fill()
	id := c.ids[0]
	outlines := func() int { return c.logFiles(id, "outline-*.log") }
	segments := c.logFiles(id, "*.seg")
	require.Greater(t, segments, 4)
	c.nodes[id].await(t, "the outlines", func(*Status) bool { return outlines() >= segments-2 })
	c.kill(id)
	n := c.start(id)
	require.GreaterOrEqual(t, n.ledger.Recovery().Trusted, segments-2)
	c.publish("after")
	c.shutDown(id)

	cfg := c.config(id, false)
	cfg.ScrubRate = 0
	s, err := Open(cfg)
	require.NoError(t, err)
	require.Zero(t, s.ledger.Recovery().Trusted)
	require.NoError(t, s.Close())
}

// While a member was away, an entry rotted in a segment that its start does not read. The
// scrub finds it, and it is repaired as if the start had.
func TestScrubFindsWhatTheStartHasNotRead(t *testing.T) {
	c := newCluster(t, 3, scrubbed(64<<20))
	c.fill()
	leader := c.leader()
	hurt := c.others(leader.id)[0].id
	entry, end := entryAt(t, leader, 20), leader.Status().End
	c.shutDown(hurt)
	c.hurt(hurt, 20, entry)

	n := c.startApplied(hurt, end)
	require.Positive(t, n.ledger.Recovery().Trusted)
	n.await(t, "the damage found and repaired", func(st *Status) bool {
		return c.logFiles(hurt, "repair-*.log") == 1 && len(st.Suspect) == 0 && st.MayVote
	})
	require.Equal(t, entry, entryAt(t, n, 20))
	c.shutDown(hurt)
	n = c.startApplied(hurt, end)
	require.Positive(t, n.ledger.Recovery().Trusted, "the other segments")
	require.Equal(t, entry, entryAt(t, n, 20))
	c.awaitEqual()
}

// The header of an entry rots on the only member that there is. What stands behind it in
// the same piece cannot be read without it; the scrub reports that, again and again, and
// goes on with what is left, and the member with its work.
func TestScrubOfAMemberAlone(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) {
		scrubbed(64 << 20)(cfg)
		cfg.ScrubPause = time.Millisecond
	})
	for i := range 100 {
		c.publish(fmt.Sprint(i, strings.Repeat("y", 2000)))
	}
	n := c.leader()
	c.hurtHeader(n.id, entryAt(t, n, 20))
	n.await(t, "several passes", func(*Status) bool { return counted(t, n, "broker_commitlog_corruptions_total") > 60 })
	c.publish("after")
	_, err := n.Read(90, 90, 1)
	require.NoError(t, err)
}

// counted is the sum of a metric of a member, of those with a label of that value or of all.
func counted(t *testing.T, n *node, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := n.cfg.Registerer.(*prometheus.Registry).Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(labels) == 0 || slices.Contains(labels, m.GetLabel()[0].GetValue())) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// hurtHeader flips a bit in the header of an entry in the segment of a member.
func (c *cluster) hurtHeader(id member.ID, entry []byte) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dirs[id], logDirName, "*.seg"))
	require.NoError(c.t, err)
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(c.t, err)
		if at := bytes.Index(data, entry); at >= 0 {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(c.t, err)
			_, err = f.WriteAt([]byte{entry[9] ^ 1}, int64(at+9))
			require.NoError(c.t, errors.Join(err, f.Close()))
			return
		}
	}
	c.t.Fatalf("the entry is in no segment of %s", id)
}

// The same, and before the scrub comes there the leader is killed. The member votes, for
// nobody knows, and as the only one with a whole ledger it may lead. It gives nobody what
// it has lost, nothing that was committed vanishes, and the group goes on when the copy
// is back.
func TestLeaderDiesBeforeDamageIsFound(t *testing.T) {
	c := newCluster(t, 3, scrubbed(64<<10)) // the first segment at once, the next one later
	c.publish("first")
	c.awaitEqual()
	late := c.others(c.leader().id)[0].id
	c.shutDown(late)
	for i := range 40 {
		c.publish(fmt.Sprint(i, strings.Repeat("x", 8000)))
	}
	c.awaitEqual()
	leader := c.leader()
	hurt := c.ids[slices.IndexFunc(c.ids, func(id member.ID) bool { return id != late && id != leader.id })]
	end := leader.Status().End
	entry, before := entryAt(t, leader, 38), allEntries(t, leader, end)
	c.shutDown(hurt)
	c.hurt(hurt, 30, entryAt(t, leader, 30))
	n := c.startApplied(hurt, end)
	require.Positive(t, n.ledger.Recovery().Trusted)
	n.await(t, "the leader heard", func(st *Status) bool { return st.Leader == leader.id })
	require.Empty(t, n.Status().Suspect)
	require.True(t, n.Status().MayVote)

	c.kill(leader.id) // the only good copy of entry 30 goes with it
	behind := c.start(late)
	n.await(t, "the damage met", func(st *Status) bool { return len(st.Suspect) > 0 })
	require.Equal(t, commitlog.Index(30), n.Status().Suspect[0].First)
	require.Less(t, behind.Status().Commit, commitlog.Index(30), "nobody is given what is lost here")
	require.Less(t, behind.Status().End, commitlog.Index(30))

	c.startApplied(leader.id, end)
	c.publish("after")
	n.notSuspect(t)
	c.awaitEqual()
	for _, id := range []member.ID{hurt, late, leader.id} {
		require.Equal(t, before, allEntries(t, c.nodes[id], end), id)
		require.Equal(t, entry, entryAt(t, c.nodes[id], 38))
	}
}
