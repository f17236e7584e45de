package broker

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

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// unscrubbed makes a few messages fill segments, and leaves damage to be found by readers.
func unscrubbed(c *Config) {
	c.Storage.SegmentBytes, c.Limits.MaxBatchBytes = mebibyte, 256*kibibyte
	c.Storage.ScrubRate = RateOff
}

// message is the value of the n-th message: large, and easy to find on a disk.
func message(n int) string {
	return fmt.Sprintf("message %03d %s", n, strings.Repeat(string(rune('a'+n%26)), 100_000))
}

// startDamaged starts three brokers with messages in several segments.
func startDamaged(t *testing.T, messages int) (*cluster, []string) {
	t.Helper()
	c := startCluster(t, 3, unscrubbed)
	leader, _ := c.leader()
	queues := leader.createTopic("t", 1)
	var want []string
	for n := range messages {
		leader.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, message(n)))
		want = append(want, message(n))
	}
	end := leader.memberStatus().GetCommitIndex()
	for _, n := range c.nodes {
		n.awaitApplied(end)
	}
	return c, want
}

func (n *node) memberStatus() *brokerv1.MemberStatus {
	n.t.Helper()
	resp, err := n.status.GetStatus(n.ctx(), &brokerv1.GetStatusRequest{})
	require.NoError(n.t, err)
	return resp.GetStatus()
}

// hurt flips a bit of a message on the disk of a broker.
func (n *node) hurt(message string) {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.cfg.Node.Data, "ledger", "commitlog", "*.seg"))
	require.NoError(n.t, err)
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(n.t, err)
		if at := bytes.Index(data, []byte(message)); at >= 0 {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(n.t, err)
			_, err = f.WriteAt([]byte{data[at+50] ^ 1}, int64(at+50))
			require.NoError(n.t, errors.Join(err, f.Close()))
			return
		}
	}
	n.t.Fatalf("%.20q is in no segment of %s", message, n.cfg.Node.ID)
}

func (n *node) repairFiles() int {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.cfg.Node.Data, "ledger", "commitlog", "repair-*.log"))
	require.NoError(n.t, err)
	return len(files)
}

// awaitRepaired waits until nothing is damaged and the broker's histories are
// those of the others.
func (c *cluster) awaitRepaired(repaired *node) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		return repaired.repairFiles() > 0 && len(repaired.memberStatus().GetSuspect()) == 0
	}, patience, 5*time.Millisecond)
	require.Eventually(c.t, func() bool {
		all := make([]*brokerv1.MemberStatus, len(c.nodes))
		for i, n := range c.nodes {
			all[i] = n.memberStatus()
		}
		return !slices.ContainsFunc(all, func(s *brokerv1.MemberStatus) bool {
			return s.GetLogHashIndex() != all[0].GetLogHashIndex() || s.GetLogHash() != all[0].GetLogHash() ||
				s.GetAppliedIndex() != all[0].GetAppliedIndex() || s.GetStateHash() != all[0].GetStateHash()
		})
	}, patience, 5*time.Millisecond)
}

// A bit flips in a sealed segment of a follower that is down. It starts suspect,
// is repaired, and its vote counts again: the two that are left elect a leader.
func TestFlippedBitOnFollower(t *testing.T) {
	c, want := startDamaged(t, 24)
	_, followers := c.leader()
	hurt := followers[0]
	for _, n := range c.nodes {
		n.shutdown()
	}
	hurt.hurt(want[3])
	// While it finds nobody to ask it stays suspect, and says so.
	hurt.restart()
	status := hurt.memberStatus()
	require.Len(t, status.GetSuspect(), 1)
	require.False(t, status.GetSuspect()[0].GetLost())
	require.Contains(t, status.GetSuspect()[0].GetWhy(), ".seg")
	require.False(t, hurt.b.ledger.Status().MayVote)
	_, body := hurt.probe("/readyz?verbose")
	require.Contains(t, body, "SUSPECT")

	for _, n := range c.nodes {
		if n != hurt {
			n.restart()
		}
	}
	c.leader()
	c.awaitRepaired(hurt)
	// Its vote is needed now.
	leader, others := c.leader()
	if leader == hurt {
		others[0].kill()
		c.leader(hurt, others[1])
		require.Equal(t, want, hurt.pullAll("t", 0))
		return
	}
	leader.kill()
	next, _ := c.leader(others...)
	require.Equal(t, want, next.pullAll("t", 0))
}

// A bit flips under a leader. It goes on leading, and consumers get every message.
func TestFlippedBitOnLeader(t *testing.T) {
	c, want := startDamaged(t, 24)
	leader, _ := c.leader()
	term := leader.b.view().term
	leader.hurt(want[4])
	require.Eventually(t, func() bool { // the first pull may be told DATA_DAMAGED
		resp, err := leader.messaging.Pull(leader.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: 4})
		if err != nil {
			require.Equal(t, string(CodeDataDamaged), errorInfo(t, err).GetReason(), "%v", err)
			return false
		}
		return values(t, resp.GetBatches())[0] == want[4]
	}, patience, 5*time.Millisecond)
	require.Equal(t, want, leader.pullAll("t", 0))
	c.awaitRepaired(leader)
	require.Equal(t, term, leader.b.view().term)
}

// The same message is bad on all three disks: exactly its offset is an error, for
// ever; everything else is there, also new messages.
func TestMessageBadEverywhere(t *testing.T) {
	c, want := startDamaged(t, 24)
	for _, n := range c.nodes {
		n.shutdown()
	}
	for _, n := range c.nodes {
		n.hurt(want[5])
	}
	for _, n := range c.nodes {
		n.restart()
	}
	leader, _ := c.leader()
	require.Eventually(t, func() bool {
		_, err := leader.messaging.Pull(leader.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: 5})
		require.Error(t, err)
		return errorInfo(t, err).GetReason() == string(CodeDataLost)
	}, patience, 5*time.Millisecond)
	_, err := leader.messaging.Pull(leader.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: 5})
	requireCode(t, err, CodeDataLost, "definite")
	require.ErrorContains(t, err, "offsets 5 to 5 of t/0 cannot be read, offset 6 is the next")

	topic, err := leader.admin.DescribeTopic(leader.ctx(), &brokerv1.DescribeTopicRequest{Name: "t"})
	require.NoError(t, err)
	leader.publish(makeBatch(t, batch.Stamp{Queue: topic.GetTopic().GetQueueIds()[0]}, "after"))
	want = append(want, "after")
	var got []string
	for offset := int64(0); offset < int64(len(want)); {
		if offset == 5 {
			got, offset = append(got, want[5]), 6
		}
		values, _ := leader.pull("t", 0, offset, 0)
		require.NotEmpty(t, values)
		got, offset = append(got, values...), offset+int64(len(values))
	}
	require.Equal(t, want, got)
	for _, n := range c.nodes {
		require.Eventually(t, func() bool {
			s := n.memberStatus().GetSuspect()
			return len(s) == 1 && s[0].GetLost() && s[0].GetFirstIndex() == s[0].GetLastIndex()
		}, patience, 5*time.Millisecond)
	}
	_, body := leader.probe("/readyz?verbose")
	require.Contains(t, body, "SUSPECT")
}
