package dledger

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// Only what leaves no chance is evidence of loss.
func TestJudgeFate(t *testing.T) {
	peers := func(answers ...any) (all []fetchPeer) {
		for n, a := range answers {
			p := fetchPeer{peer: &peer{id: member.ID(string(rune('b' + n)))}, denied: nothingDenied}
			switch a := a.(type) {
			case denialKind:
				p.denied = denial{first: 5, last: 9, kind: a}
			case denial:
				p.denied = a
			case string:
				p.gone, p.absent, p.said = true, a == "away", a
			}
			all = append(all, p)
		}
		return all
	}
	for name, row := range map[string]struct {
		peers         []fetchPeer
		lost, expired bool
		last          commitlog.Index
	}{
		"damaged on both":          {peers(damagedToo, damagedToo), true, false, 8},
		"never had":                {peers(damagedToo, notHere), true, false, 8},
		"copy of another history":  {peers(damagedToo, "does not fit"), true, false, 8},
		"one is away":              {peers(damagedToo, "away"), false, false, 8},
		"in a memory":              {peers(damagedToo, notDurable), false, false, 8},
		"another entry there":      {peers(notHere, anotherTerm), false, false, 8},
		"purged on both":           {peers(purgedThere, purgedThere), false, true, 8},
		"purged on one":            {peers(damagedToo, purgedThere), false, true, 8},
		"purged, and one is away":  {peers("away", purgedThere), false, false, 8},
		"the shortest answer ends": {peers(denial{first: 5, last: 6, kind: damagedToo}, notHere), true, false, 6},
	} {
		f := judgeFate(row.peers, 5, 8, 3)
		require.Equal(t, row.lost, f.lost, name)
		require.Equal(t, row.expired, f.expired, name)
		require.Equal(t, strings.HasSuffix(name, " is away"), f.away, name)
		require.Equal(t, row.last, f.last, name)
		require.False(t, f.shared, name)
		require.Contains(t, f.said, "b ", name)
		require.Contains(t, f.said, "; c ", name)
	}
}

// What every peer has denied once stays lost while some are away, and only then.
func TestLostStaysLostWhileAPeerIsAway(t *testing.T) {
	old := []SuspectRange{
		{First: 2, Last: 4, Lost: true, Attempt: "all"},
		{First: 5, Last: 6, Lost: true, Shared: true, Attempt: "all"},
		{First: 7, Last: 7, Attempt: "c away"},
		{First: 8, Last: 12, Expired: true, Attempt: "all"},
	}
	f := fate{first: 4, last: 9, away: true, said: "c away"}
	require.Equal(t, []SuspectRange{
		{First: 4, Last: 4, Lost: true, Attempt: "all"},
		{First: 5, Last: 6, Lost: true, Shared: true, Attempt: "all"},
		{First: 7, Last: 7, Attempt: "c away"},
		{First: 8, Last: 9, Expired: true, Attempt: "all"},
	}, f.stillKnown(old))
	f = fate{first: 4, last: 9, said: "c has it in memory"}
	require.Equal(t, []SuspectRange{{First: 4, Last: 9, Attempt: "c has it in memory"}}, f.stillKnown(old))
	f = fate{first: 4, last: 9, lost: true, said: "all"}
	require.Equal(t, []SuspectRange{{First: 4, Last: 9, Lost: true, Attempt: "all"}}, f.stillKnown(old))
}

// Whether most members have had an entry is told by index and term of what they have
// lost.
func TestSharedLoss(t *testing.T) {
	with := func(denials ...denial) (all []fetchPeer) {
		for _, d := range denials {
			d.first, d.last = 5, 5
			all = append(all, fetchPeer{peer: &peer{id: "p"}, denied: d})
		}
		return all
	}
	had, other, never := denial{kind: damagedToo, term: 3}, denial{kind: damagedToo, term: 2}, denial{kind: notHere}
	require.True(t, judgeFate(with(had, had), 5, 5, 3).shared)
	require.True(t, judgeFate(with(had, never), 5, 5, 3).shared, "two of three")
	require.False(t, judgeFate(with(never, never), 5, 5, 3).shared)
	require.False(t, judgeFate(with(other, never), 5, 5, 3).shared, "another entry")
	require.False(t, judgeFate(with(denial{kind: damagedToo}, never), 5, 5, 3).shared, "a peer of an older version")
	require.False(t, judgeFate(with(had, never, never, never), 5, 5, 3).shared, "two of five")
	require.False(t, judgeFate(with(had, denial{kind: anotherTerm}), 5, 5, 3).shared, "not lost")
}

// All disks have lost an entry, and all members were cut off before anybody had its
// state on disk: nobody knows that it was committed. They elect a leader all the same,
// and commit what comes behind.
func TestRecordBadEverywhereAndNothingKnown(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	entry, end := entryAt(t, c.leader(), 5), c.leader().Status().End
	for _, id := range c.ids {
		c.shutDown(id)
	}
	for _, id := range c.ids {
		c.hurt(id, 5, entry)
	}
	for _, id := range c.ids {
		c.start(id)
	}
	for _, n := range c.nodes {
		st := n.await(t, "the NOOP of a new leader", func(st *Status) bool { return st.Commit > end && st.MayVote && st.Applied == 4 })
		require.True(t, st.Suspect[0].Lost)
	}
}

// An entry that a peer holds in memory is not lent, and not denied either.
func TestNotDurableIsNotDenied(t *testing.T) {
	s := idleServer(t)
	s.ledger.BecomeMaster(1)
	require.NoError(t, s.ledger.AppendMaster(1, 0, []commitlog.Body{body("a"), body("b")}))
	ask := func(i, last commitlog.Index) (dledgerv1.FetchResult, int64) {
		resp, err := s.lendSome(i, last)
		require.NoError(t, err)
		return resp.GetResult(), resp.GetLastIndex()
	}
	result, last := ask(0, 9)
	require.Equal(t, dledgerv1.FetchResult_FETCH_RESULT_NOT_DURABLE, result)
	require.EqualValues(t, 1, last)
	result, last = ask(2, 9)
	require.Equal(t, dledgerv1.FetchResult_FETCH_RESULT_NOT_HERE, result)
	require.EqualValues(t, 9, last)
	_, err := s.ledger.Sync()
	require.NoError(t, err)
	result, _ = ask(0, 9)
	require.Equal(t, dledgerv1.FetchResult_FETCH_RESULT_ENTRIES, result)
}

// A peer's entry of another term is another entry; what comes before it is not.
func TestOfThisHistory(t *testing.T) {
	s, other := idleServer(t), idleServer(t)
	for _, one := range []*Server{s, other} {
		one.ledger.BecomeMaster(1)
		require.NoError(t, one.ledger.AppendMaster(1, 0, []commitlog.Body{body("a"), body("b")}))
	}
	require.NoError(t, s.ledger.AppendMaster(1, 2, []commitlog.Body{body("c")}))
	other.ledger.BecomeMaster(2)
	require.NoError(t, other.ledger.AppendMaster(2, 2, []commitlog.Body{body("d")}))
	frame, err := other.ledger.Read(0, 2, 1<<20)
	require.NoError(t, err)
	good, denied := s.ofThisHistory(frame.Bytes, 0, 7)
	require.Equal(t, &denial{first: 2, last: 7, kind: anotherTerm}, denied)
	head, err := other.ledger.Read(0, 1, 1<<20)
	require.NoError(t, err)
	require.Equal(t, head.Bytes, good)
	good, denied = s.ofThisHistory(head.Bytes, 0, 7)
	require.Nil(t, denied)
	require.Equal(t, head.Bytes, good)
}

// hurtFrame damages the header of an entry, and that of the frame if it begins with it:
// neither what is in it nor where it ends can be told. If it does not, what is damaged
// is the entry before.
func (c *cluster) hurtFrame(id member.ID, entry []byte) {
	c.t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.dirs[id], logDirName, "*.seg"))
	require.NoError(c.t, err)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(c.t, err)
		if at := bytes.Index(data, entry); at >= 0 {
			data[at-64+20] ^= 1
			data[at+9] ^= 1
			require.NoError(c.t, os.WriteFile(path, data, 0o600))
			return
		}
	}
	c.t.Fatalf("the entry is in no segment of %s", id)
}

// oneSegment keeps everything in one file, and little in memory.
func oneSegment(cfg *Config) {
	smallSegments(cfg)
	cfg.Log.SegmentBytes = 1 << 20
}

// Of a range that one disk has lost nobody has one entry. That one is lost, and the
// others are repaired.
func TestOnlyWhatNobodyHasIsLost(t *testing.T) {
	c := newCluster(t, 3, oneSegment)
	c.fill()
	end := c.leader().Status().End
	before := allEntries(t, c.leader(), end)
	entries := map[commitlog.Index][]byte{}
	for i := commitlog.Index(3); i <= 7; i++ {
		entries[i] = entryAt(t, c.leader(), i)
	}
	for _, id := range c.ids {
		c.shutDown(id)
	}
	for i := commitlog.Index(3); i <= 7; i++ {
		c.hurtFrame("n1", entries[i])
	}
	c.hurt("n2", 5, entries[5])
	c.hurt("n3", 5, entries[5])
	n1 := c.startApplied("n1", end)
	require.Len(t, n1.ledger.Faulty(), 1)
	require.LessOrEqual(t, n1.ledger.Faulty()[0].First, commitlog.Index(3))
	require.GreaterOrEqual(t, n1.ledger.Faulty()[0].Last, commitlog.Index(7))
	c.startApplied("n2", end)
	c.startApplied("n3", end)
	st := n1.await(t, "the loss known", func(st *Status) bool { return len(st.Suspect) == 1 && st.Suspect[0].Lost })
	require.Equal(t, []commitlog.Index{5, 5}, []commitlog.Index{st.Suspect[0].First, st.Suspect[0].Last})
	got := append(upTo(t, n1, 0, 4), entries[5]...)
	require.Equal(t, before, append(got, upTo(t, n1, 6, end)...))
	var lost *Error
	_, err := n1.Read(5, 5, 1)
	require.ErrorAs(t, err, &lost)
	require.Equal(t, CodeDataLost, lost.Code)
	c.publish("after")
}

// Parts of one range may have different fates.
func TestFatesWithinOneRange(t *testing.T) {
	faulty := []commitlog.FaultyRange{{First: 3, Last: 9, Path: "f"}}
	known := []SuspectRange{{First: 4, Last: 5, Lost: true, Attempt: "l"}, {First: 7, Last: 12, Attempt: "a"}}
	require.Equal(t, []SuspectRange{
		{First: 3, Last: 3, Path: "f"},
		{First: 4, Last: 5, Path: "f", Lost: true, Attempt: "l"},
		{First: 6, Last: 6, Path: "f"},
		{First: 7, Last: 9, Path: "f", Attempt: "a"},
	}, suspectRanges(faulty, known))
	faulty[0].Last = 4
	require.Equal(t, []SuspectRange{{First: 3, Last: 3, Path: "f"}, {First: 4, Last: 4, Path: "f", Lost: true, Attempt: "l"}}, suspectRanges(faulty, known))
}

// What the others have removed by retention is not lost, and raises no alarm.
func TestPurgedEverywhereElseIsNotLost(t *testing.T) {
	c := newCluster(t, 3, smallSegments)
	c.fill()
	end, entry := c.leader().Status().End, entryAt(t, c.leader(), 5)
	for _, id := range []member.ID{"n2", "n3"} {
		require.NoError(t, c.nodes[id].ledger.PurgeBefore(20))
	}
	c.shutDown("n1")
	c.hurt("n1", 5, entry)
	c.startApplied("n1", end)
	n1 := c.nodes["n1"]
	st := n1.await(t, "an attempt", func(st *Status) bool { return len(st.Suspect) == 1 && st.Suspect[0].Attempt != "" })
	require.False(t, st.Suspect[0].Lost)
	require.True(t, st.Suspect[0].Expired)
	require.Contains(t, st.Suspect[0].Attempt, "n2 has removed entry 5 by retention")
	require.Zero(t, testutil.ToFloat64(n1.metrics.lost))
	var refused *Error
	_, err := n1.Read(5, 5, 1)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, CodeDataLost, refused.Code)
	require.ErrorContains(t, err, "by retention")
	n1.await(t, "its vote back", func(st *Status) bool { return st.MayVote })
	require.NoError(t, n1.ledger.PurgeBefore(20)) // its own retention ends it
	n1.notSuspect(t)
}
