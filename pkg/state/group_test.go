package state

import (
	"fmt"
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

func createGroup(name string) *recordv1.Command {
	return &recordv1.Command{Kind: &recordv1.Command_CreateGroup{CreateGroup: &recordv1.CreateGroup{Name: name, Assignment: uint32(AssignSticky)}}}
}

func deleteGroup(name string) *recordv1.Command {
	return &recordv1.Command{Kind: &recordv1.Command_DeleteGroup{DeleteGroup: &recordv1.DeleteGroup{Name: name}}}
}

func grant(group uint64, owned bool, start int64, queues ...QueueID) *recordv1.Command {
	c := &recordv1.GrantQueues{GroupId: group}
	for _, q := range queues {
		c.Grants = append(c.Grants, &recordv1.QueueGrant{QueueId: uint32(q), Start: start, Owned: owned})
	}
	return &recordv1.Command{Kind: &recordv1.Command_GrantQueues{GrantQueues: c}}
}

// grantTo grants to the owner with that number.
func grantTo(group, owner uint64, queues ...QueueID) *recordv1.Command {
	c := grant(group, true, 0, queues...)
	for _, g := range c.GetGrantQueues().GetGrants() {
		g.Owner = owner
	}
	return c
}

func commit(now int64, commits ...*recordv1.ProgressCommit) *recordv1.Command {
	return &recordv1.Command{TimeUnixMs: now, Kind: &recordv1.Command_CommitProgress{CommitProgress: &recordv1.CommitProgress{Commits: commits}}}
}

func one(group uint64, q QueueID, epoch uint64, offset int64) *recordv1.ProgressCommit {
	return &recordv1.ProgressCommit{GroupId: group, QueueId: uint32(q), Epoch: epoch, Offset: offset}
}

func reset(group uint64, q QueueID, offset int64) *recordv1.Command {
	return &recordv1.Command{Kind: &recordv1.Command_ResetProgress{ResetProgress: &recordv1.ResetProgress{
		GroupId: group, Offsets: []*recordv1.QueueOffset{{QueueId: uint32(q), Offset: offset}},
	}}}
}

// do applies one command and returns its outcome.
func do(t testing.TB, s *Store, c *recordv1.Command) Outcome {
	t.Helper()
	return apply(t, s, commandEntry(t, c))[0]
}

// groupStore is a store with a topic of two queues of ten messages and a group.
func groupStore(t testing.TB) (*Store, *Group) {
	s := open(t)
	apply(t, s, createEntry(t, "orders", 2), batchEntry(t, batch.Stamp{Queue: 1}, 10), batchEntry(t, batch.Stamp{Queue: 2}, 10))
	o := do(t, s, createGroup("workers"))
	require.Empty(t, o.Code)
	return s, o.Group
}

func TestProgressNeverGoesBack(t *testing.T) {
	s, g := groupStore(t)
	first, second := g.Generation+1, g.Generation+2
	require.Equal(t, first, do(t, s, grant(g.ID, true, 3, 1)).Group.Generation)
	p, ok := s.Progress(g.ID, 1)
	require.True(t, ok)
	require.Equal(t, Progress{Offset: 3, Epoch: first, Owner: OwnerUnnamed}, p)

	o := do(t, s, commit(77, one(g.ID, 1, first, 7), one(g.ID, 1, first, 5), one(g.ID, 2, 0, 2), one(g.ID, 1, first, 11), one(g.ID, 9, first, 1), one(99, 1, first, 1), one(g.ID, 1, second, 9), one(g.ID, 1, 0, 9)))
	codes := make([]string, 0, len(o.Progress))
	for _, r := range o.Progress {
		codes = append(codes, r.Code)
	}
	require.Equal(t, []string{"", "", "", CodeOffsetTooHigh, CodeUnknownQueue, CodeUnknownGroup, CodeStaleGeneration, CodeStaleGeneration}, codes)
	require.Equal(t, Offset(7), o.Progress[1].Offset, "a late commit changes nothing")
	p, _ = s.Progress(g.ID, 1)
	require.Equal(t, Progress{Offset: 7, Epoch: first, Owner: OwnerUnnamed, CommittedUnixMs: 77}, p)

	// A new owner begins where the old one has come to, and the old one is fenced.
	do(t, s, grant(g.ID, true, 0, 1))
	o = do(t, s, commit(78, one(g.ID, 1, first, 9), one(g.ID, 1, second, 8)))
	require.Equal(t, CodeStaleGeneration, o.Progress[0].Code)
	require.Equal(t, Offset(8), o.Progress[1].Offset)
}

// TestResetFences: a commit that was on its way while the group was reset must not undo it.
func TestResetFences(t *testing.T) {
	s, g := groupStore(t)
	first, second := g.Generation+1, g.Generation+2
	do(t, s, grant(g.ID, true, 0, 1))
	do(t, s, commit(1, one(g.ID, 1, first, 9)))
	o := do(t, s, reset(g.ID, 1, 4))
	require.Equal(t, []CommitResult{{Offset: 4, Epoch: second, End: 10}}, o.Progress)
	require.Equal(t, CodeStaleGeneration, do(t, s, commit(2, one(g.ID, 1, first, 10))).Progress[0].Code)
	require.Equal(t, Offset(5), do(t, s, commit(2, one(g.ID, 1, second, 5))).Progress[0].Offset)
	require.Equal(t, CodeUnknownQueue, do(t, s, reset(g.ID, 5, 0)).Progress[0].Code)
	require.Equal(t, Offset(10), do(t, s, reset(g.ID, 1, 1_000)).Progress[0].Offset, "there is nothing above the end")
}

// TestOwnersAreKept: what a next leader is to know of an owner outlives commits, resets and
// a restart, and goes with the owner.
func TestOwnersAreKept(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	apply(t, s, createEntry(t, "orders", 2), batchEntry(t, batch.Stamp{Queue: 1}, 10))
	g := do(t, s, createGroup("workers")).Group
	owner := func(q QueueID) uint64 {
		p, _ := s.Progress(g.ID, q)
		return p.Owner
	}
	do(t, s, grantTo(g.ID, 1<<40, 1, 2))
	require.Equal(t, uint64(1<<40), owner(2))
	require.Empty(t, do(t, s, commit(1, one(g.ID, 1, g.Generation+1, 9))).Progress[0].Code)
	do(t, s, reset(g.ID, 1, 4))
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	defer s.Abandon()
	require.Equal(t, uint64(1<<40), owner(1))
	do(t, s, grantTo(g.ID, 7, 1))
	require.Equal(t, uint64(7), owner(1))
	nobody := grantTo(g.ID, 7, 1)
	nobody.GetGrantQueues().GetGrants()[0].Owned = false
	do(t, s, nobody)
	require.Equal(t, uint64(OwnerNobody), owner(1))
	require.Equal(t, uint64(1<<40), owner(2))
}

func TestGroupsComeAndGo(t *testing.T) {
	s, g := groupStore(t)
	require.Equal(t, CodeGroupExists, do(t, s, createGroup("workers")).Code)
	require.Equal(t, CodeInvalidGroupName, do(t, s, createGroup("no good")).Code)
	require.Equal(t, CodeUnknownGroup, do(t, s, grant(99, true, 0, 1)).Code)
	require.Equal(t, CodeUnknownGroup, do(t, s, reset(99, 1, 0)).Code)
	pause := &recordv1.Command{Kind: &recordv1.Command_PauseGroup{PauseGroup: &recordv1.PauseGroup{Name: "workers", Paused: true}}}
	require.True(t, do(t, s, pause).Group.Paused)
	do(t, s, grant(g.ID, true, 0, 1, 2))
	groups, records := s.GroupCounts()
	require.Equal(t, []int{1, 2}, []int{groups, records})

	apply(t, s, deleteEntry(t, "orders"))
	_, records = s.GroupCounts()
	require.Zero(t, records, "progress goes with its topic")
	require.Empty(t, do(t, s, deleteGroup("workers")).Code)
	require.Equal(t, CodeUnknownGroup, do(t, s, deleteGroup("workers")).Code)
	require.Empty(t, s.Groups())
	for _, line := range dump(t, s) {
		require.False(t, strings.HasPrefix(line, `"g`), "left behind: %s", line)
	}
	again := do(t, s, createGroup("workers")).Group
	require.NotEqual(t, g.ID, again.ID)
	require.Greater(t, again.Generation, g.Generation+1, "who was left behind is fenced")
}

// TestGroupRequestsAreRemembered: a retry of a reset that moves by so many messages must
// not move twice, and a restart in between makes no difference to the hash.
func TestGroupRequestsAreRemembered(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	apply(t, s, createEntry(t, "orders", 1), batchEntry(t, batch.Stamp{Queue: 1}, 10))
	create := createGroup("workers")
	create.RequestId = "c"
	g := do(t, s, create).Group
	first := reset(g.ID, 1, 7)
	first.RequestId = "r"
	require.Empty(t, do(t, s, first).Code)
	second := reset(g.ID, 1, 4)
	second.RequestId = "r"
	twin := openIn(t, vfs.NewMem())
	defer twin.Abandon()
	apply(t, twin, createEntry(t, "orders", 1), batchEntry(t, batch.Stamp{Queue: 1}, 10), commandEntry(t, create), commandEntry(t, first))
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	defer s.Abandon()
	for _, st := range []*Store{s, twin} {
		require.True(t, do(t, st, second).Duplicate)
		require.True(t, do(t, st, create).Duplicate)
		p, _ := st.Progress(g.ID, 1)
		require.Equal(t, Offset(7), p.Offset)
	}
	sameState(t, s, twin)
}

func sameState(t require.TestingT, a, b *Store) {
	hashA, _ := a.Hash()
	hashB, _ := b.Hash()
	require.Equal(t, hashA, hashB)
	fullA, _, err := a.FullHash()
	require.NoError(t, err)
	fullB, _, err := b.FullHash()
	require.NoError(t, err)
	require.Equal(t, fullA, fullB)
}

// groupModel is what groups must do, said as simply as possible.
type groupModel struct {
	groups map[string]*modelGroup
	queues map[QueueID]Offset // end of each
}

type modelGroup struct {
	id         uint64
	generation uint64
	progress   map[QueueID]Progress
}

func (m *groupModel) byID(id uint64) *modelGroup {
	for _, g := range m.groups {
		if g.id == id {
			return g
		}
	}
	return nil
}

func (m *groupModel) apply(index Index, c *recordv1.Command) {
	switch kind := c.GetKind().(type) {
	case *recordv1.Command_CreateGroup:
		if m.groups[kind.CreateGroup.GetName()] == nil {
			m.groups[kind.CreateGroup.GetName()] = &modelGroup{id: uint64(index) + 1, generation: uint64(index) + 1, progress: map[QueueID]Progress{}}
		}
	case *recordv1.Command_DeleteGroup:
		delete(m.groups, kind.DeleteGroup.GetName())
	case *recordv1.Command_DeleteTopic:
		for _, g := range m.groups {
			delete(g.progress, 3)
		}
		delete(m.queues, 3)
	case *recordv1.Command_GrantQueues:
		m.grant(kind.GrantQueues)
	case *recordv1.Command_ResetProgress:
		if g := m.byID(kind.ResetProgress.GetGroupId()); g != nil {
			g.generation++
			for _, to := range kind.ResetProgress.GetOffsets() {
				if end, ok := m.queues[QueueID(to.GetQueueId())]; ok {
					p := g.progress[QueueID(to.GetQueueId())]
					p.Offset, p.Epoch = min(Offset(to.GetOffset()), end), g.generation
					g.progress[QueueID(to.GetQueueId())] = p
				}
			}
		}
	case *recordv1.Command_CommitProgress:
		for _, c := range kind.CommitProgress.GetCommits() {
			m.commit(c, 0)
		}
	}
}

func (m *groupModel) grant(c *recordv1.GrantQueues) {
	g := m.byID(c.GetGroupId())
	if g == nil {
		return
	}
	g.generation++
	for _, grant := range c.GetGrants() {
		q := QueueID(grant.GetQueueId())
		end, ok := m.queues[q]
		if !ok {
			continue
		}
		p, known := g.progress[q]
		if (!known || p.Offset == NoOffset) && grant.GetOwned() {
			p.Offset = min(Offset(grant.GetStart()), end)
		} else if !known {
			p.Offset = NoOffset
		}
		p.Epoch, p.Owner = g.generation, 0
		if grant.GetOwned() {
			p.Owner = max(1, grant.GetOwner())
		}
		g.progress[q] = p
	}
}

func (m *groupModel) commit(c *recordv1.ProgressCommit, now int64) {
	g, q := m.byID(c.GetGroupId()), QueueID(c.GetQueueId())
	end, ok := m.queues[q]
	if g == nil || !ok {
		return
	}
	p, known := g.progress[q]
	if !known {
		p.Offset = NoOffset
	}
	if at := Offset(c.GetOffset()); c.GetEpoch() == p.Epoch && at <= end && at > p.Offset {
		p.Offset, p.CommittedUnixMs = at, now
		g.progress[q] = p
	}
}

// TestGroupsAgainstModel applies made-up histories of groups, compares all that can be read
// with the model, and checks that grouping and restarts leave no trace.
func TestGroupsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		s, twin := openIn(t, fs), openIn(t, vfs.NewMem())
		defer func() { s.Abandon(); twin.Abandon() }()
		m := &groupModel{groups: map[string]*modelGroup{}, queues: map[QueueID]Offset{1: 10, 2: 10, 3: 10}}
		entries := []Entry{createEntry(t, "orders", 2), createEntry(t, "logs", 1)}
		for q := uint32(1); q <= 3; q++ {
			entries = append(entries, batchEntry(t, batch.Stamp{Queue: q}, 10))
		}
		apply(t, s, entries...)
		for range rapid.IntRange(1, 8).Draw(rt, "calls") {
			var call []Entry
			for range rapid.IntRange(1, 12).Draw(rt, "call") {
				c := drawGroupCommand(rt, m)
				m.apply(s.Applied()+1+Index(len(call)), c)
				call = append(call, commandEntry(t, c))
			}
			apply(t, s, call...)
			entries = append(entries, call...)
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				require.NoError(rt, s.Close())
				s = openIn(t, fs)
			}
			compareGroups(rt, m, s)
		}
		for _, e := range entries {
			apply(t, twin, e)
		}
		sameState(rt, s, twin)
	})
}

func drawGroupCommand(rt *rapid.T, m *groupModel) *recordv1.Command {
	name := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "group")
	id, generation := uint64(77), uint64(0)
	if g := m.groups[name]; g != nil {
		id, generation = g.id, g.generation
	}
	q := QueueID(rapid.IntRange(1, 4).Draw(rt, "queue"))
	offset := int64(rapid.IntRange(0, 11).Draw(rt, "offset"))
	switch n := rapid.IntRange(0, 20).Draw(rt, "kind"); {
	case n < 3:
		return createGroup(name)
	case n == 3:
		return deleteGroup(name)
	case n == 4:
		return &recordv1.Command{Kind: &recordv1.Command_DeleteTopic{DeleteTopic: &recordv1.DeleteTopic{Name: "logs"}}}
	case n < 8:
		c := grant(id, rapid.Bool().Draw(rt, "owned"), offset, q)
		c.GetGrantQueues().GetGrants()[0].Owner = rapid.SampledFrom([]uint64{0, 1, 2, 1 << 63}).Draw(rt, "owner")
		return c
	case n < 10:
		return reset(id, q, offset)
	}
	var commits []*recordv1.ProgressCommit
	for range rapid.IntRange(1, 5).Draw(rt, "commits") {
		epoch := uint64(max(0, int(generation)-rapid.IntRange(0, 2).Draw(rt, "back")))
		commits = append(commits, one(id, QueueID(rapid.IntRange(1, 4).Draw(rt, "q")), epoch, int64(rapid.IntRange(0, 11).Draw(rt, "at"))))
	}
	return commit(0, commits...)
}

func compareGroups(t require.TestingT, m *groupModel, s *Store) {
	require.Len(t, s.Groups(), len(m.groups))
	for name, want := range m.groups {
		g, ok := s.Group(name)
		require.True(t, ok)
		require.Equal(t, want.generation, g.Generation)
		require.Len(t, s.GroupProgress(g.ID), len(want.progress))
		for q, p := range want.progress {
			got, ok := s.Progress(g.ID, q)
			require.True(t, ok)
			require.Equal(t, p, got, "queue %d", q)
		}
	}
}

// TestGoldenGroups holds the keys and values of consumer groups still.
func TestGoldenGroups(t *testing.T) {
	s, g := groupStore(t)
	first, second := g.Generation+1, g.Generation+2
	do(t, s, grant(g.ID, true, 3, 1))
	do(t, s, grant(g.ID, false, 0, 2))
	do(t, s, commit(1_700_000_000_000, one(g.ID, 1, first, 7), one(g.ID, 2, second, 10), one(g.ID, 2, first, 10)))
	do(t, s, createGroup("idle"))
	do(t, s, grantTo(g.ID, 0xaf63dc4c8601ec8c, 2))
	do(t, s, reset(g.ID, 2, 5))
	do(t, s, &recordv1.Command{Kind: &recordv1.Command_PauseGroup{PauseGroup: &recordv1.PauseGroup{Name: "idle", Paused: true}}})
	got := strings.Join(dump(t, s), "\n") + "\n"
	path := filepath.Join("testdata", "groups-v1.txt")
	if *rewriteGolden {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Fatalf("the layout of consumer groups has changed (-golden +now):\n%s", diff)
	}
}

// TestNewerGroupCommandsStop: a field that this build does not know, however deep, stops
// the member instead of being skipped.
func TestNewerGroupCommandsStop(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	for name, c := range map[string]*recordv1.Command{
		"create": createGroup("a"), "delete": deleteGroup("a"), "grant": grant(1, true, 0, 1), "commit": commit(1, one(1, 1, 1, 1)), "reset": reset(1, 1, 1),
		"pause": {Kind: &recordv1.Command_PauseGroup{PauseGroup: &recordv1.PauseGroup{Name: "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			c := proto.CloneOf(c)
			switch kind := c.GetKind().(type) {
			case *recordv1.Command_CreateGroup:
				kind.CreateGroup.ProtoReflect().SetUnknown(unknown)
			case *recordv1.Command_DeleteGroup:
				kind.DeleteGroup.ProtoReflect().SetUnknown(unknown)
			case *recordv1.Command_PauseGroup:
				kind.PauseGroup.ProtoReflect().SetUnknown(unknown)
			case *recordv1.Command_GrantQueues:
				kind.GrantQueues.GetGrants()[0].ProtoReflect().SetUnknown(unknown)
			case *recordv1.Command_CommitProgress:
				kind.CommitProgress.GetCommits()[0].ProtoReflect().SetUnknown(unknown)
			case *recordv1.Command_ResetProgress:
				kind.ResetProgress.GetOffsets()[0].ProtoReflect().SetUnknown(unknown)
			}
			e := commandEntry(t, c)
			_, err := s.Apply([]Entry{e})
			require.ErrorIs(t, err, ErrUnsupported)
		})
	}
}

func TestGroupLimits(t *testing.T) {
	s := open(t)
	var entries []Entry
	for i := range MaxGroups {
		entries = append(entries, commandEntry(t, createGroup(fmt.Sprint("g", i))))
	}
	apply(t, s, entries...)
	require.Equal(t, CodeLimitExceeded, do(t, s, createGroup("one-more")).Code)
}
