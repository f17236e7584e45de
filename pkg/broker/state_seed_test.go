package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/seed"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// purgedCluster is a group of which every member has purged what its state began with.
// The victim, a follower, is down.
func purgedCluster(t *testing.T) (leader, victim *node, queue uint32) {
	t.Helper()
	c := startCluster(t, 3, func(cfg *Config) {
		smallSegments(cfg)
		cfg.Raft.MaxHeartbeatLeak = 100
		cfg.Retention = RetentionConfig{Size: 2 * mebibyte, CheckInterval: 10 * time.Millisecond}
	})
	leader, followers := c.leader()
	victim = followers[0]
	queue = leader.createTopic("t", 1)[0]
	leader.publishBulk(queue, 0, 29)
	for _, n := range c.nodes {
		n.awaitApplied(int64(leader.b.ledger.Status().Commit))
		n.awaitPurged(10)
	}
	victim.shutdown()
	victim.cfg.Retention = RetentionConfig{} // so that its begin tells whether the ledger is its own
	return leader, victim, queue
}

// requireReseeded waits until the victim was opened again with another member's state
// and its own ledger.
func requireReseeded(t *testing.T, leader, victim *node, opened <-chan *Broker, begin int64) {
	t.Helper()
	victim.take(opened)
	require.EqualValues(t, 1, testutil.ToFloat64(victim.b.metrics.seed.seeds.WithLabelValues("installed")))
	require.Equal(t, begin, int64(victim.b.ledger.Begin()), "the ledger is its own")
	requireSame(t, leader, victim)
	require.NoDirExists(t, victim.b.dir.badStateDir())
	require.NoDirExists(t, victim.b.dir.staged())
	require.Nil(t, victim.b.need.now.Load())
}

// A state that is corrupt, of a ledger that does not go back to entry 0: another
// member's takes its place, and the ledger stays.
func TestCorruptStateIsFetched(t *testing.T) {
	leader, victim, queue := purgedCluster(t)
	begin := int64(victim.b.ledger.Begin())
	victim.spoilState(t, func(path string, data []byte) error {
		for i := range data {
			data[i] ^= 0x55
		}
		return os.WriteFile(path, data, 0o600)
	})
	opened := victim.serve()
	requireReseeded(t, leader, victim, opened, begin)
	leader.publishBulk(queue, 30, 31)
	requireSame(t, leader, victim)
	victim.shutdown()
	again := victim.serve()
	require.Empty(t, again)
	requireSame(t, leader, victim)
}

// A power cut in page-cache mode can leave a state that is ahead of the ledger, and of
// a history that the group has not gone on with.
func TestStateOfAnotherHistoryIsReplaced(t *testing.T) {
	leader, victim, queue := purgedCluster(t)
	begin := int64(victim.b.ledger.Begin())
	store, err := state.Open(state.Config{Dir: filepath.Join(victim.cfg.Node.Data, stateDir)})
	require.NoError(t, err)
	tip := store.Tip()
	_, err = store.Apply([]state.Entry{{Index: tip.Index + 1, Term: tip.Term + 50, Type: state.EntryNoop}})
	require.NoError(t, err)
	require.NoError(t, store.Close())
	leader.publishBulk(queue, 30, 32)
	opened := victim.serve()
	requireReseeded(t, leader, victim, opened, begin)
}

// All three disks have lost an entry. One member had not applied it: it goes on from
// the state of one that had, and exactly the lost offsets are missing.
func TestEntryLostBeforeItWasApplied(t *testing.T) {
	c, want := startDamaged(t, 12)
	_, followers := c.leader()
	victim := followers[0]
	c.awaitDurable()
	victim.killUnflushed()
	for _, n := range c.nodes {
		if n != victim {
			n.shutdown()
		}
	}
	for _, n := range c.nodes {
		n.hurt(want[5])
	}
	for _, n := range c.nodes {
		if n != victim {
			n.restart()
		}
	}
	opened := victim.serve()
	victim.take(opened)
	leader, _ := c.leader()
	requireSame(t, leader, victim)
	topic, err := leader.admin.DescribeTopic(leader.ctx(), &brokerv1.DescribeTopicRequest{Name: "t"})
	require.NoError(t, err)
	leader.publish(makeBatch(t, batch.Stamp{Queue: topic.GetTopic().GetQueueIds()[0]}, "after"))
	victim.leadOn(c)
	require.Equal(t, append(want[6:], "after"), pullFrom(victim, 6))
	_, err = victim.messaging.Pull(victim.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: 5})
	requireCode(t, err, CodeDataLost, "definite")
	require.Equal(t, want[4:5], pullFrom(victim, 4)[:1])
}

// All three disks have lost an entry that no state has applied. The group says so, and
// nobody serves; it goes on when one member is told to, without that entry.
func TestEntryLostBeforeAnybodyAppliedIt(t *testing.T) {
	c, want := startDamaged(t, 12)
	c.awaitDurable()
	for _, n := range c.nodes {
		n.killUnflushed()
	}
	for _, n := range c.nodes {
		n.hurt(want[5])
	}
	opened := make([]<-chan *Broker, len(c.nodes))
	for i, n := range c.nodes {
		opened[i] = n.serve()
	}
	for _, n := range c.nodes {
		require.Eventually(t, func() bool {
			_, body := n.probe("/readyz?verbose")
			return strings.Contains(body, "STUCK: its state waits for entry") && strings.Contains(body, "no other member has a state that covers it")
		}, patience, 5*time.Millisecond)
		require.Nil(t, n.b.leaderships.serving())
	}
	brave := c.nodes[1]
	lost := brave.memberStatus().GetSuspect()[0]
	brave.shutdown()
	brave.cfg.Storage.GoOnWithout = EntryRange(fmt.Sprintf("%d-%d", lost.GetFirstIndex(), lost.GetLastIndex()))
	opened[1] = brave.serve()
	for i, n := range c.nodes {
		if n != brave {
			n.take(opened[i]) // with the state of the one that went on
		}
	}
	leader, followers := c.leader()
	for _, n := range followers {
		requireSame(t, leader, n)
	}
	require.Equal(t, append(append([]string(nil), want[:5]...), want[6:]...), pullFrom(leader, 0))
	require.Greater(t, int64(leader.b.store.Applied()), lost.GetLastIndex())
}

func TestEntryRange(t *testing.T) {
	for text, good := range map[string]bool{"": true, "7": true, "7-9": true, "9-7": false, "-1": false, "a": false, "1-2-3": false, "7-": false} {
		_, _, err := EntryRange(text).parse()
		require.Equal(t, good, err == nil, "%q", text)
	}
	require.True(t, EntryRange("7-9").covers(9))
	require.False(t, EntryRange("7-9").covers(10))
	require.False(t, EntryRange("").covers(0))
}

// killUnflushed kills a broker whose state has not been brought to disk. On a slow machine
// it has been.
func (n *node) killUnflushed() {
	n.t.Helper()
	n.kill()
	require.NoError(n.t, os.RemoveAll(filepath.Join(n.cfg.Node.Data, stateDir)))
}

// awaitDurable waits until everybody has everything on disk: a majority is enough for
// what was applied.
func (c *cluster) awaitDurable() {
	c.t.Helper()
	for _, n := range c.nodes {
		require.Eventually(c.t, func() bool {
			st := n.b.ledger.Status()
			return st.Durable == st.End
		}, patience, time.Millisecond)
	}
}

// pullFrom reads queue 0 of topic t from an offset to where it ends, or to what cannot
// be read.
func pullFrom(n *node, offset int64) (all []string) {
	n.t.Helper()
	for {
		resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: offset})
		if err != nil || len(resp.GetInfos()) == 0 {
			return all
		}
		got := values(n.t, resp.GetBatches())
		all, offset = append(all, got...), offset+int64(len(got))
	}
}

// A member whose state is stuck leaves the leadership to one whose is not, and takes it
// only if nobody else does.
func TestStuckStateDoesNotLead(t *testing.T) {
	settle := 3 * time.Millisecond
	for name, row := range map[string]struct {
		c    circumstances
		want bool
	}{
		"leads, a better one is there": {circumstances{stuck: true, leads: true, led: true, better: settle}, false},
		"leads, nobody is better":      {circumstances{stuck: true, leads: true, led: true}, true},
		"follows":                      {circumstances{stuck: true, led: true}, false},
		"nobody leads":                 {circumstances{stuck: true, leaderless: settle}, true},
	} {
		require.Equal(t, row.want, fitToLead(row.c, settle), name)
	}
}

// A member that does not cover what is needed says so; one that does not know yet what
// its own state is worth says something else: it is no evidence that nobody has it.
func TestOfferState(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 1)
	_, err := n.b.offerState(t.Context(), "n2", &dledgerv1.OfferSeedRequest{StateOnly: true, Covers: 1000})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	resp, err := n.b.offerState(t.Context(), "n2", &dledgerv1.OfferSeedRequest{StateOnly: true, Covers: 1})
	require.NoError(t, err)
	m, err := seed.DecodeManifest(resp.GetManifest())
	require.NoError(t, err)
	require.True(t, m.StateOnly())
	n.b.dispatcher.joined.Store(false)
	_, err = n.b.offerState(t.Context(), "n2", &dledgerv1.OfferSeedRequest{StateOnly: true, Covers: 1})
	require.Equal(t, codes.Unavailable, status.Code(err))
}

// What does not go with the ledger here is refused.
func TestAcceptState(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 1)
	good, err := n.b.makeStateSeed(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	require.True(t, good.StateOnly())
	require.NoError(t, n.b.acceptState(&good, 1))
	for name, change := range map[string]func(*seed.Manifest){
		"another cluster":  func(m *seed.Manifest) { m.ClusterID = "other" },
		"a ledger with it": func(m *seed.Manifest) { m.Begin-- },
		"another term":     func(m *seed.Manifest) { m.PrevTerm-- },
		"another chain":    func(m *seed.Manifest) { m.PrevChain++ },
		"a later term":     func(m *seed.Manifest) { m.PrevTerm += 100 },
		"ahead":            func(m *seed.Manifest) { m.Begin, m.Applied = m.Begin+100, m.Applied+100 },
	} {
		m := good
		change(&m)
		require.ErrorIs(t, n.b.acceptState(&m, 1), seed.ErrManifest, name)
	}
	require.ErrorIs(t, n.b.acceptState(&good, 1000), seed.ErrManifest, "it does not cover enough")
	require.Equal(t, []member.ID(nil), n.b.stateGivers())
}
