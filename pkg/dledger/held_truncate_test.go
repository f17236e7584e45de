package dledger

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A deposed leader finds damage that begins in what it shares with the others and
// ends in what they have replaced. It is repaired as far as they have it, and the
// rest goes: the truncation waits for that.
func TestTruncateFromWithinDamage(t *testing.T) {
	c := newCluster(t, 3, oneSegment)
	c.fill()
	old := c.leader()
	c.publish("shared " + strings.Repeat("s", 8000))
	c.awaitEqual()
	end := old.Status().End
	c.isolate(old.id)
	var answers []<-chan ProposalResult
	for _, text := range []string{"only here ", "and this "} {
		ch, err := old.propose(text + strings.Repeat("y", 8000))
		require.NoError(t, err)
		answers = append(answers, ch)
		old.await(t, "it on disk", func(st *Status) bool { return st.Durable == end+commitlog.Index(len(answers)) })
	}
	for _, ch := range answers {
		require.Error(t, receive(t, ch).Err)
	}
	shared, own := entryAt(t, old, end), entryAt(t, old, end+1)
	c.shutDown(old.id)
	c.hurtFrame(old.id, shared)
	c.hurtFrame(old.id, own)
	for _, n := range c.nodes {
		require.NoError(t, n.ResumePeer(old.id))
	}
	c.publish("in its place")
	s, err := Open(c.config(old.id, false))
	require.NoError(t, err)
	require.Len(t, s.ledger.Faulty(), 1)
	require.LessOrEqual(t, s.ledger.Faulty()[0].First, end)
	require.Equal(t, end+1, s.ledger.Faulty()[0].Last)
	n := runNodeFrom(s, old.id, c.listen(old.id), end-1)
	c.nodes[old.id] = n
	n.notSuspect(t)
	require.NotContains(t, n.Status().Standing, "damaged")
	c.publish("after")
	c.awaitEqual()
}

// The truncation comes before the repair: it is not carried out, nothing ends, and
// the next one is.
func TestTruncationWaitsForRepair(t *testing.T) {
	disk := crashfs.New()
	cfg := lonerConfig(t)
	cfg.Peers = map[member.ID]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2", "n3": "127.0.0.1:3"}
	cfg.Log.FS, cfg.Log.TailCacheBytes = disk, 1
	s, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	var entries [][]byte
	for i := range commitlog.Index(6) {
		s.ledger.BecomeMaster(1)
		require.NoError(t, s.ledger.AppendMaster(1, i, []commitlog.Body{body(strings.Repeat("x", 5_000))}))
		_, err := s.ledger.Sync()
		require.NoError(t, err)
		f, err := s.ledger.Read(i, i, 1)
		require.NoError(t, err)
		entries = append(entries, f.Bytes)
	}
	path := disk.Files()[0]
	data, err := disk.ReadFile(path)
	require.NoError(t, err)
	for i := 2; i <= 4; i++ {
		at := bytes.Index(data, entries[i])
		data[at-64+20] ^= 1 // the frame, and what is in it
		data[at+9] ^= 1
	}
	f, err := disk.Open(path)
	require.NoError(t, err)
	require.NoError(t, f.WriteAt(0, data))
	_, err = s.ledger.Read(3, 3, 1)
	require.ErrorIs(t, err, commitlog.ErrFaulty)
	require.Equal(t, commitlog.Index(4), s.ledger.Faulty()[0].Last)
	s.ledger.BecomeSlave(1)

	mc := s.cfg.Member
	mc.ID, mc.Members, mc.Rand = s.cfg.ID, s.cfg.members(), rand.New(rand.NewPCG(1, 1))
	m, err := member.New(mc, time.Now(), member.Ballot{Term: 1, Proven: true}, ledgerOutline(s.ledger))
	require.NoError(t, err)
	s.core.member = m
	truncate := letter{push: &receivedPush{request: member.PushRequest{
		From: "n2", To: "n1", Type: member.Truncate, Term: 2, Leader: "n2", PrevIndex: 3, PrevTerm: 1, First: 4, FirstTerm: 2, Last: member.NoIndex, Commit: 1,
	}}}
	for range 2 {
		s.step(truncate)
		require.NoError(t, s.carryOut(m.Take()))
		end, _ := s.ledger.End()
		require.Equal(t, commitlog.Index(5), end)
	}
	err = s.ledger.Repair(2, func(from, to commitlog.Index) ([]byte, error) {
		if from > 3 {
			return nil, &commitlog.NoCopyError{First: from, Last: to}
		}
		return entries[from], nil
	})
	require.ErrorAs(t, err, new(*commitlog.NoCopyError))
	s.step(truncate)
	require.NoError(t, s.carryOut(m.Take()))
	end, _ := s.ledger.End()
	require.Equal(t, commitlog.Index(3), end)
	require.Empty(t, s.ledger.Faulty())
}
