package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestMixedHistories makes up histories of all that the state can do, so that what one
// feature leaves behind is met by the others. There is no model of what must come out:
// one store applies the entries one by one and is never closed; another one applies them
// in groups, is closed and abandoned and opened again, and must say, hold in memory and
// store the same. In the end everything is removed, and nothing may be left.
func TestMixedHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMixer(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "choice") })
		defer m.alone.Abandon()
		f := &follower{m: m, fs: vfs.NewMem()}
		f.s = openIn(t, f.fs)
		defer func() { f.s.Abandon() }()
		m.begin()
		for range rapid.IntRange(1, 8).Draw(rt, "calls") {
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				m.step()
			}
			f.follow(rt)
			f.restart(rt)
			if diff := cmp.Diff(standing(m.alone), standing(f.s)); diff != "" {
				rt.Fatalf("(-one by one +in groups, opened again):\n%s", diff)
			}
			m.checkReads(rt, f.s)
		}
		m.removeAll()
		f.follow(rt)
		f.reopen(rt)
		sameState(rt, m.alone, f.s)
		for _, pair := range dump(t, f.s) {
			require.NotContains(rt, "tbowidgkqp", pair[1:2], "left behind: %s", pair)
		}
	})
}

// TestMixedHistoriesAfterCrashes crashes with any part of what was not synced lost, and
// applies the rest again.
func TestMixedHistoriesAfterCrashes(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			m := newMixer(t, rng.IntN)
			defer m.alone.Abandon()
			m.begin()
			for range 400 {
				m.step()
			}
			fs := vfs.NewCrashableMem()
			s := openIn(t, fs)
			crashes := 0
			for s.Applied()+1 < Index(len(m.entries)) {
				for calls := rng.IntN(20); calls >= 0 && s.Applied()+1 < Index(len(m.entries)); calls-- {
					rest := m.entries[s.Applied()+1:]
					_, err := s.Apply(slices.Clone(rest[:1+rng.IntN(min(len(rest), 12))]))
					require.NoError(t, err)
					if rng.IntN(12) == 0 {
						require.NoError(t, s.Flush())
					}
				}
				crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				s.Abandon()
				fs = crashed
				s = openIn(t, fs)
				crashes++
			}
			defer s.Abandon()
			require.Greater(t, crashes, 5)
			require.Empty(t, cmp.Diff(standing(m.alone), standing(s)))
			sameState(t, m.alone, s)
			m.checkReads(t, s)
		})
	}
}

// follower applies what the mixer's store has applied.
type follower struct {
	m  *mixer
	fs vfs.FS
	s  *Store
}

// follow applies what is missing, in groups, and compares the outcomes.
func (f *follower) follow(rt *rapid.T) {
	for {
		at := int(f.s.Applied() + 1)
		rest := f.m.entries[at:]
		if len(rest) == 0 {
			break
		}
		rest = slices.Clone(rest[:rapid.IntRange(1, len(rest)).Draw(rt, "group")])
		got, err := f.s.Apply(rest)
		require.NoError(rt, err)
		for i := range got {
			if diff := cmp.Diff(f.m.outcomes[at+i], got[i]); diff != "" {
				rt.Fatalf("entry %d (-one by one +in groups):\n%s", at+i, diff)
			}
		}
	}
	want, _ := f.m.alone.Hash()
	got, _ := f.s.Hash()
	require.Equal(rt, want, got)
}

func (f *follower) restart(rt *rapid.T) {
	switch rapid.IntRange(0, 3).Draw(rt, "restart") {
	case 0:
		f.reopen(rt)
	case 1:
		require.NoError(rt, f.s.Flush())
	case 2:
		f.s.Abandon()
		f.s = openIn(f.m.t, f.fs)
		f.follow(rt)
	}
}

func (f *follower) reopen(rt *rapid.T) {
	require.NoError(rt, f.s.Close())
	f.s = openIn(f.m.t, f.fs)
}

// mixer makes up entries from what a store holds, which applies them one by one.
type mixer struct {
	t        testing.TB
	choose   func(n int) int // 0 to n-1
	alone    *Store
	entries  []Entry
	outcomes []Outcome
	sent     []Entry // batches, for resends
	// forgotten is before which entry ForgetLate was told to forget.
	forgotten Index
}

func newMixer(t testing.TB, choose func(n int) int) *mixer {
	return &mixer{t: t, choose: choose, alone: openIn(t, vfs.NewMem())}
}

func (m *mixer) now() int64 { return (m.index() + 1) * (10 * time.Minute).Milliseconds() }

// index is that of the entry that comes next.
func (m *mixer) index() int64 { return int64(len(m.entries)) }

func (m *mixer) add(e Entry) Outcome {
	e.Index, e.Term, e.AppendTimeUnixNano = Index(m.index()), 1, m.now()*1_000_000
	out, err := m.alone.Apply([]Entry{e})
	require.NoError(m.t, err)
	m.entries, m.outcomes = append(m.entries, e), append(m.outcomes, out[0])
	return out[0]
}

// begin makes something of everything.
func (m *mixer) begin() {
	m.add(createIndexedEntry(m.t, "a", 2))
	m.add(createEntry(m.t, "b", 1))
	m.add(groupEntry(m.t, "g"))
	m.add(registerEntry(m.t, "anna"))
	for q := range uint32(3) {
		m.add(batchEntry(m.t, batch.Stamp{Queue: q + 1}, 100))
	}
	g := m.add(commandEntry(m.t, createWorkGroup("w1", mixPolicy))).Group
	m.add(commandEntry(m.t, grant(g.ID, true, 0, 1, 2, 3)))
}

func (m *mixer) step() {
	switch n := m.choose(20); {
	case n < 6:
		m.publish()
	case n < 9:
		m.wait()
	case n < 12:
		m.topic()
	case n < 13:
		m.producer()
	case n < 15:
		m.group()
	case n < 18:
		m.work()
	default:
		m.keys()
	}
}

// queue is one of those that are there, most often.
func (m *mixer) queue() QueueID {
	w := &m.alone.work
	ids := sortedKeys(w.queues)
	if len(ids) == 0 || m.choose(15) == 0 {
		return QueueID(1 + m.choose(int(w.nextQueue)))
	}
	return ids[m.choose(len(ids))]
}

// removeAll leaves nothing but what is remembered of what was.
func (m *mixer) removeAll() {
	for _, topic := range m.alone.AllTopics() {
		m.add(deleteEntry(m.t, topic.Name))
	}
	for _, g := range m.alone.Groups() {
		m.add(commandEntry(m.t, deleteGroup(g.Name)))
	}
	for len(m.alone.work.producers) > 0 { // the first one only begins to note uses
		m.expire(sortedKeys(m.alone.work.producers), m.now()+1)
	}
}

// checkReads checks that what is served is found by its keys, and spared by retention.
func (m *mixer) checkReads(t require.TestingT, s *Store) {
	before := max(m.forgotten, s.Applied()+1-Index(m.choose(100)))
	floor, err := s.Floor(before)
	require.NoError(t, err)
	for _, id := range sortedKeys(s.work.queues) {
		first, _, _ := s.QueueRange(id)
		all, err := s.Locate(id, first, 10_000)
		require.NoError(t, err)
		from, indexed := s.KeyIndexFrom(id)
		found := map[string][]Offset{}
		for _, l := range all {
			if l.Given >= before {
				require.LessOrEqual(t, floor, l.Index, "queue %d offset %d is given by entry %d", id, l.BaseOffset, l.Given)
			}
			if !indexed || l.BaseOffset < from {
				continue
			}
			for _, key := range keysIn(m.entries[l.Index].Body) {
				if found[key] == nil {
					found[key] = findAll(t, s, id, HashKey([]byte(key)), from, 1_000)
				}
				require.Contains(t, found[key], l.BaseOffset, "queue %d key %s", id, key)
			}
		}
	}
}

func keysIn(body []byte) (keys []string) {
	r, record := batch.NewReader(nil), batch.Record{}
	for ok := r.Reset(body) == nil; ok && r.Next(&record); {
		if record.Key != nil {
			keys = append(keys, string(record.Key))
		}
	}
	return keys
}

// standing is all that a store's memory holds, for comparison.
func standing(s *Store) []string {
	w := &s.work
	lines := []string{fmt.Sprintf("%+v deleted %d windows %d uses from %d records %d tries %d names %v keys %v groups %v", w.applied, w.deleted, w.windows, w.usesFrom,
		w.groups.mu.records, w.groups.mu.tries, w.names, w.keys.waiting, w.open.names)}
	for _, t := range s.AllTopics() {
		lines = append(lines, fmt.Sprintf("topic %+v", *t))
	}
	waits := s.Waiting()
	waits.Moved = 0 // counts since the store was opened
	producers, windows := s.ProducerCounts()
	lines = append(lines, fmt.Sprintf("waiting %+v producers %d windows %d notes uses %t", waits, producers, windows, s.NotesUses()))
	for _, id := range sortedKeys(w.queues) {
		q := w.queues[id]
		all, err := s.Locate(id, Offset(q.first.Load()), 10_000)
		lines = append(lines, fmt.Sprintf("located %v %v", all, err))
		lines = append(lines, fmt.Sprintf("queue %d %s %d end %d trimmed %d first %d keys from %d hidden %d open %+v", q.id, q.topic, q.number, q.end, q.trimmed, q.first.Load(), q.keysFrom.Load(), q.hidden.Load(), q.open))
		for _, p := range sortedKeys(q.windows) {
			win := q.windows[p]
			lines = append(lines, fmt.Sprintf("window %d %d next %d epoch %d dirty %t gone %t %+v", win.queue, win.producer, win.next, win.epoch, win.dirty, win.gone, win.batches[:win.count]))
		}
	}
	for _, id := range sortedKeys(w.producers) {
		p := *w.producers[id]
		p.queues = slices.Sorted(slices.Values(p.queues))
		lines = append(lines, fmt.Sprintf("producer %d %+v", id, p))
	}
	for _, id := range sortedKeys(w.delays.byID) {
		b := *w.delays.byID[id]
		b.at = 0
		lines = append(lines, fmt.Sprintf("delayed %+v", b))
	}
	for _, id := range sortedKeys(w.open.byID) {
		lines = append(lines, fmt.Sprintf("half %+v", *w.open.byID[id]))
	}
	for _, id := range sortedKeys(w.open.ended) {
		lines = append(lines, fmt.Sprintf("ended %+v", w.open.ended[id]))
	}
	return append(lines, groupsStanding(s)...)
}

func groupsStanding(s *Store) (lines []string) {
	for _, g := range s.Groups() {
		st := s.work.groups.find(g.ID)
		policy := WorkPolicy{}
		if g.Work != nil {
			policy = *g.Work
		}
		shown := *g
		shown.Work = nil
		lines = append(lines, fmt.Sprintf("group %+v %+v", shown, policy))
		for _, p := range s.GroupProgress(g.ID) {
			lines = append(lines, fmt.Sprintf("progress %+v", p))
		}
		for _, q := range sortedKeys(st.work) {
			if of := st.work[q]; len(of.done.words)+len(of.tries) > 0 {
				lines = append(lines, fmt.Sprintf("work %d %+v %v", q, of.done, of.tries))
			}
		}
	}
	return lines
}
