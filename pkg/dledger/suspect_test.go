package dledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// smallSegments makes a few messages fill segments, and keeps little in memory.
func smallSegments(cfg *Config) {
	cfg.Log.SegmentBytes, cfg.Log.TailCacheBytes = 64<<10, 1
	cfg.FetchRate = 1 << 30
}

// fill publishes until several segments are sealed.
func (c *cluster) fill() {
	c.t.Helper()
	for i := range 40 {
		c.publish(fmt.Sprint(i, strings.Repeat("x", 8000)))
	}
	c.awaitEqual()
}

// hurt flips a bit in the body of entry i in the segment of a member.
func (c *cluster) hurt(id member.ID, i commitlog.Index, entry []byte) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dirs[id], logDirName, "*.seg"))
	require.NoError(c.t, err)
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(c.t, err)
		if at := bytes.Index(data, entry); at >= 0 {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(c.t, err)
			where := int64(at + len(entry)/2)
			_, err = f.WriteAt([]byte{entry[len(entry)/2] ^ 4}, where)
			require.NoError(c.t, errors.Join(err, f.Close()))
			return
		}
	}
	c.t.Fatalf("entry %d is in no segment of %s", i, id)
}

func entryAt(t *testing.T, n *node, i commitlog.Index) []byte {
	t.Helper()
	f, err := n.Read(i, i, 1)
	require.NoError(t, err)
	return f.Bytes
}

// notSuspect waits until a member may vote again.
func (n *node) notSuspect(t *testing.T) {
	t.Helper()
	n.await(t, "its log repaired", func(st *Status) bool { return len(st.Suspect) == 0 && st.MayVote })
}

// A follower finds at start that its disk has lost entries: it may not vote, asks
// its peers, has what they have, and votes.
func TestDamagedFollowerIsRepaired(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	leader := c.leader()
	hurt := c.others(leader.id)[0].id
	entry := entryAt(t, leader, 5)
	c.shutDown(hurt)
	c.hurt(hurt, 5, entry)

	s, err := Open(c.config(hurt, false))
	require.NoError(t, err)
	require.Len(t, s.Status().Suspect, 1)
	require.Equal(t, commitlog.Index(5), s.Status().Suspect[0].First)
	require.Equal(t, commitlog.Index(5), s.Status().Suspect[0].Last)
	require.False(t, s.Status().MayVote)
	var refused *Error
	_, err = s.Read(5, 5, 1)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, CodeDataDamaged, refused.Code)
	for _, i := range []commitlog.Index{4, 6} { // its neighbours are readable
		_, err := s.Read(i, i, 1)
		require.NoError(t, err)
	}
	// What is not known to be committed it does not say to hold.
	index, _ := s.vouch(30, 1)
	require.Equal(t, member.Index(4), index)

	l, err := net.Listen("tcp", c.addrs[hurt])
	require.NoError(t, err)
	n := runNode(s, hurt, l)
	c.nodes[hurt] = n
	n.notSuspect(t)
	require.Equal(t, entry, entryAt(t, n, 5))
	c.awaitEqual()
	// Its vote is needed now.
	for _, other := range c.others(hurt) {
		if other.Status().Role == member.Leader {
			c.kill(other.id)
			break
		}
	}
	c.publish("after")
	require.Len(t, c.nodes, 2)
}

// The disk of a leader loses entries while it leads. It goes on leading, and
// brings what it has lost to a follower that needs it.
func TestDamagedLeaderIsRepaired(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.publish("first")
	late := c.others(c.leader().id)[0].id
	c.awaitEqual()
	c.shutDown(late)
	for i := range 40 {
		c.publish(fmt.Sprint(i, strings.Repeat("x", 8000)))
	}
	c.awaitEqual()
	leader := c.leader()
	term := leader.Status().Term
	entry := entryAt(t, leader, 9)
	c.hurt(leader.id, 9, entry)
	end := leader.Status().End
	c.start(late).await(t, "everything applied", func(st *Status) bool { return st.Applied >= end })
	require.Equal(t, entry, entryAt(t, leader, 9), "a follower has it from here, so it is repaired here")
	c.awaitEqual()
	leader.notSuspect(t)
	require.Equal(t, member.Leader, leader.Status().Role)
	require.Equal(t, term, leader.Status().Term)
}

// What a follower needs is damaged here, and may stay so for ever. The push that waits
// for it ends all the same with the stream, or nobody could end the process.
func TestPushThatWaitsForARepairEnds(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	leader := c.leader()
	entry := entryAt(t, leader, 5)
	c.isolate(leader.id) // nobody brings it
	c.hurt(leader.id, 5, entry)
	_, err := leader.ledger.Read(5, 5, 1)
	require.ErrorIs(t, err, commitlog.ErrFaulty)
	p := &peer{id: "n2", outbox: newPushOutbox(), log: leader.log}
	p.outbox.add(member.PushRequest{Type: member.Append, Term: leader.Status().Term, First: 5, Last: 5})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- leader.sendPushes(ctx, p, nil) }()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(patience):
		t.Fatal("it goes on without a stream")
	}
}

// A leader has appended what nobody else has got yet, and its disk loses it. It cannot
// give its followers anything any more, though it lives and is heard: it makes room for
// one that can go on without those entries.
func TestHinderedLeaderMakesRoom(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		smallSegments(cfg)
		cfg.Member.HeartBeatInterval, cfg.Member.MaxHeartBeatLeak = 20*time.Millisecond, 50
	})
	c.publish("shared")
	c.awaitEqual()
	leader := c.leader()
	end, term := leader.Status().End, leader.Status().Term
	c.isolate(leader.id)
	for i := range 20 {
		_, err := leader.propose(fmt.Sprint(i, strings.Repeat("x", 8000)))
		require.NoError(t, err)
		leader.await(t, "it on disk", func(st *Status) bool { return st.Durable > end+commitlog.Index(i) })
	}
	entry := entryAt(t, leader, end+1)
	c.hurt(leader.id, end+1, entry)
	_, err := leader.ledger.Read(end+1, end+1, 1)
	require.ErrorIs(t, err, commitlog.ErrFaulty)
	c.rejoin(leader.id)
	require.Equal(t, member.Leader, leader.Status().Role)
	for _, other := range c.others(leader.id) {
		other.await(t, "a leader of a newer term", func(st *Status) bool { return st.Term > term && st.Leader != "" && st.Leader != leader.id })
	}
	c.publish("after")
	c.awaitEqual()
	leader.notSuspect(t)
}

// The scrub finds damage that nobody has read.
func TestScrubFindsDamage(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		smallSegments(cfg)
		cfg.ScrubRate, cfg.ScrubPause = 64<<20, time.Millisecond
	})
	c.fill()
	n := c.others(c.leader().id)[0]
	c.hurt(n.id, 7, entryAt(t, c.leader(), 7))
	repaired := func() bool {
		files, err := filepath.Glob(filepath.Join(c.dirs[n.id], logDirName, "repair-*.log"))
		return err == nil && len(files) == 1
	}
	n.await(t, "the damage found and repaired", func(st *Status) bool { return repaired() && len(st.Suspect) == 0 })
	c.awaitEqual()
}

// The same record is bad on every disk. It is lost, and said to be; nothing else
// is, and the group goes on.
func TestRecordBadEverywhere(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	entry, end := entryAt(t, c.leader(), 5), c.leader().Status().End
	before := allEntries(t, c.leader(), end)
	ids := c.ids
	for _, id := range ids {
		c.shutDown(id)
	}
	for _, id := range ids {
		c.hurt(id, 5, entry)
	}
	for _, id := range ids {
		c.startApplied(id, end)
	}
	for _, n := range c.nodes {
		st := n.await(t, "the loss known", func(st *Status) bool { return len(st.Suspect) == 1 && st.Suspect[0].Lost })
		require.Equal(t, commitlog.Index(5), st.Suspect[0].First)
		require.Equal(t, commitlog.Index(5), st.Suspect[0].Last)
		var lost *Error
		_, err := n.Read(5, 5, 1)
		require.ErrorAs(t, err, &lost)
		require.Equal(t, CodeDataLost, lost.Code)
		require.Contains(t, lost.Message, "entries 5 to 5")
		got := append(upTo(t, n, 0, 4), entry...)
		require.Equal(t, before, append(got, upTo(t, n, 6, end)...), "nothing else is lost")
	}
	// The group goes on all the same.
	c.publish("after the loss")
	for _, n := range c.nodes {
		n.await(t, "new entries", func(st *Status) bool { return st.MayVote && st.Applied > end })
	}
	// A copy turns up: one disk is put right by hand.
	c.shutDown(ids[0])
	for _, path := range mustGlob(t, filepath.Join(c.dirs[ids[0]], logDirName, "*.seg")) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		damaged := bytes.Clone(entry)
		damaged[len(entry)/2] ^= 4
		require.NoError(t, os.WriteFile(path, bytes.Replace(data, damaged, entry, 1), 0o600))
	}
	c.startApplied(ids[0], end+2)
	for _, n := range c.nodes {
		n.notSuspect(t)
	}
	c.publish("after")
	require.Equal(t, before, upTo(t, c.leader(), 0, end))
	c.awaitEqual()
}

func TestExcused(t *testing.T) {
	lost := SuspectRange{First: 5, Last: 7, Lost: true}
	require.True(t, Excused(nil, commitlog.NoIndex))
	require.True(t, Excused([]SuspectRange{lost}, 7))
	require.False(t, Excused([]SuspectRange{lost}, 6), "its last entry may never have been anywhere else")
	lost.Shared = true
	require.True(t, Excused([]SuspectRange{lost}, 6), "there is nobody to wait for")
	require.False(t, Excused([]SuspectRange{lost, {First: 9, Last: 9}}, 20), "a copy may yet be found")
}

// A damaged entry that was never committed is on no other disk. The member that has
// it must not lead by the length of its ledger: it could not give its followers what
// they need. The others go on and replace it.
func TestDamagedTailDoesNotLead(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	end := c.leader().Status().End
	old := c.leader()
	c.isolate(old.id)
	ch, err := old.propose("only here " + strings.Repeat("y", 8000))
	require.NoError(t, err)
	require.Error(t, receive(t, ch).Err)
	old.await(t, "the tail on disk", func(st *Status) bool { return st.Durable == end+1 })
	tail := entryAt(t, old, end+1)
	for _, id := range c.ids {
		c.shutDown(id)
	}
	c.hurt(old.id, end+1, tail)
	c.startApplied(old.id, end)
	for _, id := range c.ids {
		if id != old.id {
			c.startApplied(id, end)
		}
	}
	c.publish("after")
	for _, n := range c.nodes {
		n.notSuspect(t)
	}
	c.awaitEqual()
}

// startApplied starts a member whose state has applied the ledger up to an entry.
func (c *cluster) startApplied(id member.ID, applied commitlog.Index) *node {
	c.t.Helper()
	c.applied = applied
	defer func() { c.applied = commitlog.NoIndex }()
	return c.start(id)
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func upTo(t *testing.T, n *node, from, last commitlog.Index) (all []byte) {
	t.Helper()
	for from <= last {
		f, err := n.Read(from, last, 4<<20)
		require.NoError(t, err)
		all, from = append(all, f.Bytes...), f.Last+1
	}
	return all
}

// Every disk has lost something else. Together they have it all.
func TestCopiesFromSeveralPeers(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	leader := c.leader()
	entries := map[commitlog.Index][]byte{}
	for i := commitlog.Index(3); i < 12; i++ {
		entries[i] = entryAt(t, leader, i)
	}
	for n, id := range c.ids {
		c.shutDown(id)
		for i, entry := range entries {
			if int(i)%3 == n {
				c.hurt(id, i, entry)
			}
		}
	}
	for _, id := range c.ids {
		c.start(id)
	}
	for _, n := range c.nodes {
		n.notSuspect(t)
	}
	c.publish("after")
	c.awaitEqual()
}

// A peer that is away may have a copy: what the others do not have is not lost.
func TestPeerAwayMayHaveACopy(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	entry := entryAt(t, c.leader(), 5)
	for _, id := range c.ids {
		c.shutDown(id)
	}
	c.hurt("n1", 5, entry)
	c.hurt("n2", 5, entry)
	n1 := c.start("n1")
	c.start("n2")
	st := n1.await(t, "an attempt", func(st *Status) bool { return len(st.Suspect) == 1 && st.Suspect[0].Attempt != "" })
	require.False(t, st.Suspect[0].Lost)
	require.Contains(t, st.Suspect[0].Attempt, "n2")
	c.start("n3")
	c.awaitEqual()
	n1.notSuspect(t)
	c.nodes["n2"].notSuspect(t)
}

// Nobody but a peer is lent entries, and only a range of them.
func TestFetchIsRefused(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.publish("one")
	n := c.nodes["n1"]
	ask := func(change func(*dledgerv1.FetchRequest)) error {
		r := &dledgerv1.FetchRequest{Header: n.header("n2"), LastIndex: 1}
		change(r)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stream, err := dledgerv1.NewDLedgerServiceClient(n.peer("n2").bulk).Fetch(ctx, r)
		require.NoError(t, err)
		_, err = stream.Recv()
		return err
	}
	require.NoError(t, ask(func(*dledgerv1.FetchRequest) {}))
	for name, change := range map[string]func(*dledgerv1.FetchRequest){
		"another cluster": func(r *dledgerv1.FetchRequest) { r.Header.ClusterId = "other" },
		"a stranger":      func(r *dledgerv1.FetchRequest) { r.Header.From = "n9" },
		"no range":        func(r *dledgerv1.FetchRequest) { r.FirstIndex = 2 },
		"below zero":      func(r *dledgerv1.FetchRequest) { r.FirstIndex = -5 },
	} {
		require.Error(t, ask(change), name)
	}
}

// What a peer answers is not believed.
func FuzzCheckFetched(f *testing.F) {
	f.Add("n2", int32(1), int64(5), []byte("entries"))
	f.Add("n2", int32(2), int64(5), []byte{})
	f.Add("n3", int32(3), int64(-1), []byte{})
	f.Add("n2", int32(4), int64(5), []byte{})
	f.Fuzz(func(t *testing.T, from string, result int32, first int64, entries []byte) {
		r := &dledgerv1.FetchResponse{From: from, Result: dledgerv1.FetchResult(result), FirstIndex: first, LastIndex: first, Entries: entries}
		got, denied, err := checkFetched("n2", r, 5, 9)
		if err != nil || denied != nil {
			require.Empty(t, got)
			require.True(t, denied == nil || denied.first == 5 && denied.last >= 5 && denied.last <= 9)
			return
		}
		require.Equal(t, "n2", from)
		require.Equal(t, int64(5), first)
		require.Equal(t, entries, got)
		require.NotEmpty(t, got)
	})
}

// A member says of every entry what it has: a copy, none yet, none any more.
func TestLendSome(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	n := c.leader()
	require.NoError(t, n.ledger.PurgeBefore(20))
	durable, _ := n.ledger.Durable()
	for i, want := range map[commitlog.Index]dledgerv1.FetchResult{
		0:           dledgerv1.FetchResult_FETCH_RESULT_PURGED,
		durable:     dledgerv1.FetchResult_FETCH_RESULT_ENTRIES,
		durable + 1: dledgerv1.FetchResult_FETCH_RESULT_NOT_HERE,
	} {
		resp, err := n.lendSome(i, i+100)
		require.NoError(t, err)
		require.Equal(t, want, resp.GetResult(), "entry %d", i)
		require.Equal(t, want == dledgerv1.FetchResult_FETCH_RESULT_ENTRIES, len(resp.GetEntries()) > 0)
	}
}
