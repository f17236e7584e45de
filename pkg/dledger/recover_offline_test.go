package dledger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

func recoverRequest(giveUp ...member.ID) RecoverRequest {
	return RecoverRequest{GiveUp: giveUp, Reason: "two disks burnt", Now: time.UnixMilli(1_800_000_000_000), Unique: "abc", Applied: 1}
}

// Two of three are gone for good: the third goes on alone, with an entry that never
// was committed; the others are refused with what they had, and come in anew.
func TestRecoverWithoutAMajority(t *testing.T) {
	c := newCluster(t, 3, nil)
	first := map[member.ID]string{"n1": c.addrs["n1"], "n2": c.addrs["n2"], "n3": c.addrs["n3"]}
	c.publish("committed")
	c.awaitEqual()
	c.kill("n2")
	c.kill("n3")
	c.kill("n1")
	tail := appendTail(t, c, "n1", "never committed")

	record := recoverOnly(t, c.config("n1", false), tail)
	c.applied = commitlog.NoIndex
	n1 := c.again("n1", first, false)
	n1.awaitGroup(t, "n1")
	c.publish("in the new generation")
	st := n1.Status()
	require.Equal(t, "1-abc", st.Generation)
	require.Equal(t, []Recovery{record}, st.Recoveries)
	require.GreaterOrEqual(t, st.Commit, tail, "the tail counts as committed")

	// What is given up is refused, and says so, although two are a majority of what the
	// group was.
	n2, n3 := c.again("n2", first, false), c.again("n3", first, false)
	for _, n := range []*node{n2, n3} {
		n.await(t, "the refusal", func(st *Status) bool {
			return strings.Contains(st.Outcast, "docs/runbooks/majority-lost.md") && !st.MayVote && st.Role != member.Leader && st.Leader == ""
		})
		require.Empty(t, n.Status().Generation)
		_, err := n.propose("to the old group")
		require.Error(t, err)
	}
	term := n1.Status().Term
	_, err := n1.propose("undisturbed")
	require.NoError(t, err)
	require.Equal(t, term, n1.Status().Term)
	c.shutDown("n2")
	c.shutDown("n3")

	// With a new directory it is welcome.
	c.lives["n2"]++
	n2 = c.join("n2", "n1", "n3")
	c.change(member.AddLearner, "n2")
	c.change(member.Promote, "n2")
	n2.awaitGroup(t, "n1", "n2")
	c.publish("by two")
	c.awaitEqual()
	require.Equal(t, "1-abc", n2.Status().Generation)
	require.Equal(t, []Recovery{record}, n2.Status().Recoveries)

	// The old directory of n3 finds nobody to talk to either.
	n3 = c.again("n3", first, false)
	n3.await(t, "the refusal", func(st *Status) bool { return strings.Contains(st.Outcast, "majority-lost") })
	c.publish("undisturbed still")
	c.shutDown("n3")
}

// recoverOnly goes on with n1 alone, whose ledger ends at end.
func recoverOnly(t *testing.T, cfg Config, end commitlog.Index) Recovery {
	t.Helper()
	h, err := Inspect(cfg)
	require.NoError(t, err)
	require.Equal(t, end, h.End)
	require.Equal(t, []member.ID{"n2", "n3"}, h.GivenUp())
	require.Equal(t, SeatVoter, h.Seat)
	_, err = Recover(cfg, recoverRequest("n2"))
	require.ErrorContains(t, err, "the members that would be given up are [n2 n3], confirmed were [n2]")
	bare := recoverRequest("n2", "n3")
	bare.Reason = " "
	_, err = Recover(cfg, bare)
	require.ErrorContains(t, err, "a reason of 1 to")

	record, err := Recover(cfg, recoverRequest("n3", "n2"))
	require.NoError(t, err)
	require.Equal(t, "1-abc", record.Generation)
	require.Equal(t, memberIndex(end), record.End)
	_, err = Recover(cfg, recoverRequest("n2", "n3"))
	require.ErrorContains(t, err, "is the only member of its group", "once is enough")
	return record
}

// appendTail puts an entry that no other member has at the end of a stopped member's
// ledger, as a leader leaves it that dies in the middle.
func appendTail(t *testing.T, c *cluster, id member.ID, text string) commitlog.Index {
	t.Helper()
	log, err := commitlog.Open(logConfig(c.config(id, false).withDefaults()))
	require.NoError(t, err)
	end, term := log.End()
	log.BecomeMaster(term)
	require.NoError(t, log.AppendMaster(term, end+1, []commitlog.Body{body(text)}))
	_, err = log.Sync()
	require.NoError(t, err)
	require.NoError(t, log.Close())
	return end + 1
}

// A recovery that is cut short at any step does not start, and is finished by another.
func TestRecoverIsFinished(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.publish("x")
	c.awaitEqual()
	for _, id := range c.ids {
		c.kill(id)
	}
	for name, steps := range map[string]func(o *offline, h *Holdings){
		"after the decision": func(*offline, *Holdings) {},
		"after the ballot": func(o *offline, h *Holdings) {
			require.NoError(t, o.ballot.save(member.Ballot{Term: h.decision.Term, VotedFor: "n1", Proven: true}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.config("n1", false)
			cfg.Dir = t.TempDir()
			require.NoError(t, os.CopyFS(cfg.Dir, os.DirFS(c.dirs["n1"])))
			o, err := openOffline(cfg)
			require.NoError(t, err)
			require.NoError(t, o.decide(o.holdings(), recoverRequest("n2", "n3")))
			steps(o, o.holdings())
			require.NoError(t, o.close())

			_, err = Open(cfg)
			require.ErrorContains(t, err, "was cut short")
			h, err := Inspect(cfg)
			require.NoError(t, err)
			require.NotNil(t, h.Unfinished)
			require.Equal(t, []member.ID{"n2", "n3"}, h.GivenUp())
			_, err = Recover(cfg, recoverRequest())
			require.ErrorContains(t, err, "the members that would be given up are [n2 n3]")
			again := recoverRequest("n2", "n3")
			again.Reason, again.Unique = "", "other"
			record, err := Recover(cfg, again)
			require.NoError(t, err)
			require.Equal(t, "1-abc", record.Generation)
			require.Equal(t, "two disks burnt", record.Reason)

			cfg.Registerer = nil
			s, err := Open(cfg)
			require.NoError(t, err)
			require.Equal(t, []member.ID{"n1"}, seatIDs(s.Status().Members))
			require.NoError(t, s.Close())
		})
	}
}

// A member that recovered its group, lost its disk later and is brought up to date by the
// others meets its own decision among the entries. Killed after the members file and
// before the log was written, it has nothing to finish: it would go on alone beside
// the group that it is in.
func TestRecoverIsNotFinishedTwice(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.publish("x")
	c.awaitEqual()
	for _, id := range c.ids {
		c.kill(id)
	}
	cfg := c.config("n1", false)
	o, err := openOffline(cfg)
	require.NoError(t, err)
	require.NoError(t, o.decide(o.holdings(), recoverRequest("n2", "n3")))
	ahead := o.members.record // the ledger has not come so far as it once had
	ahead.recoveries[0].End += 5
	ahead.changes[1].At += 5
	require.NoError(t, o.members.save(ahead))
	require.NoError(t, o.close())

	h, err := Inspect(cfg)
	require.NoError(t, err)
	require.Nil(t, h.Unfinished)
	require.Len(t, h.Group, 3)
	s, err := Open(cfg)
	require.NoError(t, err)
	require.Len(t, s.Status().Members, 3)
	require.NoError(t, s.Close())
}

func TestRecoverRefuses(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.publish("x")
	c.shutDown("n1")
	_, err := Recover(c.config("n1", false), recoverRequest())
	require.ErrorContains(t, err, "is the only member of its group")

	fresh := lonerConfig(t)
	_, err = Inspect(fresh)
	require.ErrorIs(t, err, os.ErrNotExist, "nothing is made")
	require.NoFileExists(t, filepath.Join(fresh.Dir, membersFileName))
	s, err := Open(fresh)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = Inspect(fresh)
	require.ErrorContains(t, err, "has never taken part in a group")
}

// A member of a recovered group that lost its disk comes back with the configuration of
// the first day. Until the leader speaks to it, it cannot know of the recovery, and is
// refused; it is not taken for one that was given up.
func TestWipedMemberOfARecoveredGroup(t *testing.T) {
	c := newCluster(t, 3, nil)
	first := map[member.ID]string{"n1": c.addrs["n1"], "n2": c.addrs["n2"], "n3": c.addrs["n3"]}
	c.publish("before")
	c.awaitEqual()
	for _, id := range c.ids {
		c.kill(id)
	}
	_, err := Recover(c.config("n1", false), recoverRequest("n2", "n3"))
	require.NoError(t, err)
	c.applied = commitlog.NoIndex
	c.again("n1", first, false)
	for _, id := range []member.ID{"n2", "n3"} {
		c.lives[id]++
		c.join(id, "n1")
		c.change(member.AddLearner, id)
		c.change(member.Promote, id)
	}
	c.awaitEqual()

	n1 := c.nodes["n1"]
	c.kill("n2")
	require.NoError(t, n1.PausePeer("n2")) // its heartbeats bring the name of the group
	c.lives["n2"]++
	c.dirs["n2"] = t.TempDir()
	cfg := c.config("n2", true)
	cfg.Peers = map[member.ID]string{"n1": c.addrs["n1"], "n2": c.addrs["n2"], "n3": c.addrs["n3"]}
	l := c.listen("n2")
	s, err := Open(cfg)
	require.NoError(t, err)
	n2 := runNodeFrom(s, "n2", l, commitlog.NoIndex)
	c.nodes["n2"] = n2
	require.NoError(t, n1.ResumePeer("n2"))
	n2.await(t, "to be a voter again", func(st *Status) bool { return st.MayVote && st.Outcast == "" && st.Generation == "1-abc" })
	require.False(t, n2.fenced.Load())
	c.publish("by all")
	c.awaitEqual()
}
