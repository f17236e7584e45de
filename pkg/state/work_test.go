package state

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

func createWorkGroup(name string, p *recordv1.WorkPolicy) *recordv1.Command {
	return &recordv1.Command{Kind: &recordv1.Command_CreateGroup{CreateGroup: &recordv1.CreateGroup{Name: name, Assignment: uint32(AssignWork), Work: p}}}
}

func settleWork(items ...*recordv1.WorkItem) *recordv1.Command {
	return &recordv1.Command{TimeUnixMs: 77, Kind: &recordv1.Command_SettleWork{SettleWork: &recordv1.SettleWork{Items: items}}}
}

func moveWork(group, epoch uint64, q QueueID, moves ...*recordv1.WorkMove) *recordv1.Command {
	return &recordv1.Command{TimeUnixMs: 77, Kind: &recordv1.Command_MoveWork{MoveWork: &recordv1.MoveWork{GroupId: group, QueueId: uint32(q), Epoch: epoch, Moves: moves}}}
}

// workStore is groupStore with a work-queue group that begins at the beginning of both
// queues, and a third queue for dead letters.
func workStore(t testing.TB, s *Store) *Group {
	t.Helper()
	apply(t, s, createEntry(t, "orders", 2), createEntry(t, "dead", 1), batchEntry(t, batch.Stamp{Queue: 1}, 300), batchEntry(t, batch.Stamp{Queue: 2}, 300))
	o := do(t, s, createWorkGroup("workers", &recordv1.WorkPolicy{MaxAttempts: 3, BackoffMinMs: 10, BackoffMaxMs: 100, Fifo: true}))
	require.Empty(t, o.Code)
	return do(t, s, grant(o.Group.ID, true, 0, 1, 2)).Group
}

func TestWorkIsDoneInAnyOrder(t *testing.T) {
	s := open(t)
	g := workStore(t, s)
	item := func(offset int64, count uint32) *recordv1.WorkItem {
		return &recordv1.WorkItem{GroupId: g.ID, QueueId: 1, Epoch: g.Generation, Offset: offset, Count: count}
	}
	tried := item(1, 0)
	tried.Attempts, tried.VisibleAtUnixMs = 2, 500
	o := do(t, s, settleWork(item(2, 3), item(70, 60), tried))
	for _, r := range o.Progress {
		require.Empty(t, r.Code)
		require.Zero(t, r.Offset)
	}
	require.Equal(t, []WorkStanding{{}, {Attempts: 2, VisibleAtMs: 500}, {Done: true}, {Done: true}, {Done: true}, {}}, s.Work(g.ID, 1, 0, 6))
	done, tries := s.WorkCounts(g.ID, 1)
	require.Equal(t, []int{63, 1}, []int{done, tries})

	o = do(t, s, settleWork(item(0, 1), item(1, 1), item(1, 1), item(5, 65)))
	require.Equal(t, []Offset{1, 5, 5, 130}, []Offset{o.Progress[0].Offset, o.Progress[1].Offset, o.Progress[2].Offset, o.Progress[3].Offset})
	p, _ := s.Progress(g.ID, 1)
	require.Equal(t, Offset(130), p.Offset)
	require.Equal(t, int64(77), p.CommittedUnixMs)
	for _, line := range dump(t, s) {
		require.False(t, strings.HasPrefix(line, `"q`), "left behind: %s", line)
	}
	late := item(129, 0)
	late.Attempts = 1
	require.Empty(t, do(t, s, settleWork(late)).Progress[0].Code)
	require.Equal(t, []WorkStanding{{Done: true}, {}}, s.Work(g.ID, 1, 129, 2), "what is done stays done")

	low := item(200, 1)
	low.Low = 150
	require.Equal(t, Offset(150), do(t, s, settleWork(low)).Progress[0].Offset)
	stale := item(160, 1)
	stale.Epoch--
	codes := do(t, s, settleWork(stale, item(300, 1), item(299, 2), &recordv1.WorkItem{GroupId: g.ID, QueueId: 9}, &recordv1.WorkItem{GroupId: 99, QueueId: 1}))
	require.Equal(t, []string{CodeStaleGeneration, CodeOffsetTooHigh, CodeOffsetTooHigh, CodeUnknownQueue, CodeUnknownGroup},
		[]string{codes.Progress[0].Code, codes.Progress[1].Code, codes.Progress[2].Code, codes.Progress[3].Code, codes.Progress[4].Code})

	// A reset drops all of it and fences what is on its way.
	again := do(t, s, reset(g.ID, 1, 140)).Group
	require.Equal(t, CodeStaleGeneration, do(t, s, settleWork(item(140, 1))).Progress[0].Code)
	require.Equal(t, []WorkStanding{{}}, s.Work(g.ID, 1, 200, 1))
	require.Equal(t, g.Generation+1, again.Generation)
}

// TestGroupsAreOfOneKind: a group is for offsets or for work, never for both.
func TestGroupsAreOfOneKind(t *testing.T) {
	s := open(t)
	g := workStore(t, s)
	require.Equal(t, CodeGroupMismatch, do(t, s, commit(1, one(g.ID, 1, g.Generation, 5))).Progress[0].Code)
	plain := do(t, s, createGroup("plain")).Group
	require.Equal(t, CodeGroupMismatch, do(t, s, settleWork(&recordv1.WorkItem{GroupId: plain.ID, QueueId: 1, Count: 1})).Progress[0].Code)
	require.Equal(t, CodeGroupMismatch, do(t, s, moveWork(plain.ID, 0, 1, &recordv1.WorkMove{Back: 1, ToQueueId: 3})).Code)
	for _, p := range []*recordv1.WorkPolicy{nil, {MaxAttempts: MaxAttempts + 1}, {BackoffMinMs: 2, BackoffMaxMs: 1}, {BackoffMinMs: -1}, {BackoffMaxMs: MaxBackoffMs + 1}} {
		require.Equal(t, CodeLimitExceeded, do(t, s, createWorkGroup("x", p)).Code, "%v", p)
	}
}

// TestMovedOnce: a copy gets its offset once, however often the move is tried, and only if
// the message was not done.
func TestMovedOnce(t *testing.T) {
	s := open(t)
	g := workStore(t, s)
	copied := Entry{Type: EntryCarried, Body: batchBody(t, batch.Stamp{Queue: 3}, 1, 1)}
	move := commandEntry(t, moveWork(g.ID, g.Generation, 1, &recordv1.WorkMove{Offset: 7, ToQueueId: 3, Back: 1}))
	o := apply(t, s, copied, move)[1]
	require.Equal(t, int64(1), o.Moved)
	require.Equal(t, Offset(0), o.Progress[0].Offset)
	require.Equal(t, []QueueID{3}, o.Delivered)
	place := s.Applied() - 1
	o = apply(t, s, copied, move)[1]
	require.Zero(t, o.Moved)
	require.Equal(t, NoOffset, o.Progress[0].Offset)
	at, err := s.Locate(3, 0, 10)
	require.NoError(t, err)
	require.Equal(t, []Location{{BaseOffset: 0, Count: 1, Index: place, Given: place + 1}}, at)
	require.True(t, s.Work(g.ID, 1, 7, 1)[0].Done)
	floor, err := s.Floor(place + 1)
	require.NoError(t, err)
	require.Equal(t, place, floor, "the copy stays as long as what was published when it was moved")
}

// workModel is what work-queue groups must do, said as simply as possible.
type workModel struct {
	id, epoch uint64
	ends      map[QueueID]Offset
	done      map[QueueID]map[Offset]bool
	tries     map[QueueID]map[Offset]try
	dead      int
}

func newWorkModel(g *Group) *workModel {
	m := &workModel{id: g.ID, epoch: g.Generation, ends: map[QueueID]Offset{1: 300, 2: 300}}
	m.done = map[QueueID]map[Offset]bool{1: {}, 2: {}}
	m.tries = map[QueueID]map[Offset]try{1: {}, 2: {}}
	return m
}

func (m *workModel) finish(q QueueID, o Offset) {
	m.done[q][o] = true
	delete(m.tries[q], o)
}

func (m *workModel) apply(c *recordv1.Command) {
	switch kind := c.GetKind().(type) {
	case *recordv1.Command_SettleWork:
		for _, i := range kind.SettleWork.GetItems() {
			q, o := QueueID(i.GetQueueId()), Offset(i.GetOffset())
			if i.GetEpoch() != m.epoch {
				continue
			}
			for at := Offset(0); at < Offset(i.GetLow()); at++ {
				m.finish(q, at)
			}
			switch last := o + max(1, Offset(i.GetCount())) - 1; {
			case last >= 300:
			case i.GetCount() > 0:
				for ; o <= last; o++ {
					m.finish(q, o)
				}
			case !m.done[q][o]:
				m.tries[q][o] = try{max(i.GetAttempts(), m.tries[q][o].attempts), i.GetVisibleAtUnixMs()}
			}
		}
	case *recordv1.Command_MoveWork:
		q := QueueID(kind.MoveWork.GetQueueId())
		for _, mv := range kind.MoveWork.GetMoves() {
			if o := Offset(mv.GetOffset()); o < 300 && !m.done[q][o] {
				m.finish(q, o)
				m.dead++
			}
		}
	}
}

func (m *workModel) floor(q QueueID) (floor Offset) {
	for m.done[q][floor] {
		floor++
	}
	return floor
}

// draw makes up a command; each choice is 0 to n-1.
func (m *workModel) draw(choose func(n int) int) *recordv1.Command {
	q := QueueID(1 + choose(2))
	at := int64(m.floor(q)) - 3 + int64(choose(40)*choose(8))
	at = min(max(0, at), 301)
	if choose(6) == 0 {
		return moveWork(m.id, m.epoch, q, &recordv1.WorkMove{Offset: at, ToQueueId: 3, Back: 1})
	}
	var items []*recordv1.WorkItem
	for range 1 + choose(4) {
		i := &recordv1.WorkItem{GroupId: m.id, QueueId: uint32(q), Epoch: m.epoch, Offset: at, Count: uint32(choose(5) * choose(5))}
		if i.GetCount() == 0 {
			i.Attempts, i.VisibleAtUnixMs = uint32(1+choose(4)), int64(choose(100))
		}
		switch choose(15) {
		case 0:
			i.Epoch--
		case 1:
			i.Low = at - 5
		}
		items = append(items, i)
		at = min(at+int64(choose(5)), 301)
	}
	return settleWork(items...)
}

func (m *workModel) compare(t require.TestingT, s *Store) {
	for q := QueueID(1); q <= 2; q++ {
		p, _ := s.Progress(m.id, q)
		require.Equal(t, m.floor(q), p.Offset, "queue %d", q)
		for o, got := range s.Work(m.id, q, 0, 300) {
			want := WorkStanding{Done: m.done[q][Offset(o)]}
			tried := m.tries[q][Offset(o)]
			want.Attempts, want.VisibleAtMs = int(tried.attempts), tried.visibleAt
			require.Equal(t, want, got, "queue %d offset %d", q, o)
		}
		_, tries := s.WorkCounts(m.id, q)
		require.Len(t, m.tries[q], tries)
	}
	_, end, _ := s.QueueRange(3)
	require.Equal(t, Offset(m.dead), end)
}

// TestWorkAgainstModel applies made-up histories, compares all that can be read with the
// model, and checks that grouping and restarts leave no trace.
func TestWorkAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		s, twin := openIn(t, fs), openIn(t, vfs.NewMem())
		defer func() { s.Abandon(); twin.Abandon() }()
		m := newWorkModel(workStore(t, s))
		workStore(t, twin)
		var entries []Entry
		for range rapid.IntRange(1, 8).Draw(rt, "calls") {
			var call []Entry
			for range rapid.IntRange(1, 12).Draw(rt, "call") {
				c := m.draw(func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "choice") })
				m.apply(c)
				call = append(call, commandEntry(t, c))
			}
			apply(t, s, call...)
			entries = append(entries, call...)
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				require.NoError(rt, s.Close())
				s = openIn(t, fs)
			}
			m.compare(rt, s)
		}
		for _, e := range entries {
			apply(t, twin, e)
		}
		sameState(rt, s, twin)
		require.Empty(t, do(t, s, deleteGroup("workers")).Code)
		apply(t, twin, deleteEntry(t, "orders"))
		require.Empty(t, do(t, twin, deleteGroup("workers")).Code)
		for _, line := range append(dump(t, s), dump(t, twin)...) {
			require.False(rt, strings.HasPrefix(line, `"q`), "left behind: %s", line)
		}
	})
}

// TestWorkAfterCrashes crashes with any part of what was not synced lost, and applies the
// rest again.
func TestWorkAfterCrashes(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			reference := open(t)
			m := newWorkModel(workStore(t, reference))
			var entries []Entry
			for range 400 {
				c := m.draw(rng.IntN)
				m.apply(c)
				e := commandEntry(t, c)
				apply(t, reference, e)
				entries = append(entries, e)
			}
			fs := vfs.NewCrashableMem()
			s := openIn(t, fs)
			workStore(t, s)
			begin := s.Applied() + 1
			require.NoError(t, s.Flush())
			crashes := 0
			for at := s.Applied() + 1 - begin; int(at) < len(entries); at = s.Applied() + 1 - begin {
				for _, e := range entries[at:min(len(entries), int(at)+1+rng.IntN(60))] {
					apply(t, s, e)
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
			if diff := cmp.Diff(dump(t, reference), dump(t, s)); diff != "" {
				t.Fatalf("(-never crashed +crashed %d times):\n%s", crashes, diff)
			}
			m.compare(t, s)
			s.Abandon()
			require.Greater(t, crashes, 5)
		})
	}
}

// TestGoldenWork holds the keys and values of work-queue groups still.
func TestGoldenWork(t *testing.T) {
	s := open(t)
	g := workStore(t, s)
	do(t, s, settleWork(
		&recordv1.WorkItem{GroupId: g.ID, QueueId: 1, Epoch: g.Generation, Offset: 0, Count: 70},
		&recordv1.WorkItem{GroupId: g.ID, QueueId: 1, Epoch: g.Generation, Offset: 72, Count: 60},
		&recordv1.WorkItem{GroupId: g.ID, QueueId: 1, Epoch: g.Generation, Offset: 71, Attempts: 2, VisibleAtUnixMs: 1_700_000_000_000},
	))
	apply(t, s, Entry{Type: EntryCarried, Body: batchBody(t, batch.Stamp{Queue: 3}, 1, 1)},
		commandEntry(t, moveWork(g.ID, g.Generation, 2, &recordv1.WorkMove{Offset: 5, ToQueueId: 3, Back: 1})))
	got := strings.Join(dump(t, s), "\n") + "\n"
	path := filepath.Join("testdata", "work-v1.txt")
	if *rewriteGolden {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Fatalf("the layout of work-queue groups has changed (-golden +now):\n%s", diff)
	}
}

// TestNewerWorkCommandsStop: a field that this build does not know, however deep, stops the
// member instead of being skipped.
func TestNewerWorkCommandsStop(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	create, settle, move := createWorkGroup("a", &recordv1.WorkPolicy{}), settleWork(&recordv1.WorkItem{}), moveWork(1, 1, 1, &recordv1.WorkMove{})
	create.GetCreateGroup().GetWork().ProtoReflect().SetUnknown(unknown)
	settle.GetSettleWork().GetItems()[0].ProtoReflect().SetUnknown(unknown)
	move.GetMoveWork().GetMoves()[0].ProtoReflect().SetUnknown(unknown)
	for _, c := range []*recordv1.Command{create, settle, move} {
		s := open(t)
		_, err := s.Apply([]Entry{commandEntry(t, proto.CloneOf(c))})
		require.ErrorIs(t, err, ErrUnsupported, "%v", c)
	}
}

// TestNothingIsMovedIntoADeletedTopic: the copy would go with the topic when its grace is
// over, and the message is done where it was.
func TestNothingIsMovedIntoADeletedTopic(t *testing.T) {
	s := open(t)
	g := workStore(t, s)
	move := func(offset int64) CommitResult {
		copied := Entry{Type: EntryCarried, Body: batchBody(t, batch.Stamp{Queue: 3}, 1, 1)}
		m := &recordv1.WorkMove{Offset: offset, ToQueueId: 3, Back: 1}
		return apply(t, s, copied, commandEntry(t, moveWork(g.ID, g.Generation, 1, m)))[1].Progress[0]
	}
	require.Equal(t, Offset(0), move(7).Offset)
	apply(t, s, graceEntry(t, "dead", 1, 1_000))
	require.Equal(t, CodeTopicDeleted, move(8).Code)
	require.Equal(t, []WorkStanding{{Done: true}, {}}, s.Work(g.ID, 1, 7, 2))
	require.Equal(t, CommitResult{Offset: NoOffset, Epoch: g.Generation, End: 300}, move(7), "it was moved before")
	apply(t, s, undeleteEntry(t, "dead"))
	require.Equal(t, Offset(1), move(8).Offset)
}
